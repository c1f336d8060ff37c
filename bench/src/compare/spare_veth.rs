//! A spare veth in the client's namespace whose other end drops everything: the generator alone is measured on it.

use anyhow::Result;

use super::background_flood::FloodPath;
use super::netns_lab::{Lab, PATIENCE, Role};

/// Both ends.
pub(super) const SPARE: FloodPath<'_> = FloodPath {
    sent_on: "spare0",
    role: Role::Client,
    received_on: "spare1",
    mac: Some("02:53:57:00:00:0f"),
};

/// Creates it.
///
/// # Errors
/// The kernel refuses the veth or the program.
pub(super) fn add_spare_veth(lab: &Lab<'_>) -> Result<FloodPath<'static>> {
    let FloodPath {
        sent_on,
        received_on,
        ..
    } = SPARE;
    let link = [
        "link",
        "add",
        sent_on,
        "numrxqueues",
        "2",
        "numtxqueues",
        "2",
        "type",
        "veth",
        "peer",
        "name",
        received_on,
        "numrxqueues",
        "2",
        "numtxqueues",
        "2",
    ];
    lab.run(Role::Client, "ip", link, PATIENCE)?;
    for interface in [sent_on, received_on] {
        lab.run(
            Role::Client,
            "ip",
            ["link", "set", interface, "up"],
            PATIENCE,
        )?;
    }
    let drop_all = ["pass", "--interface", received_on, "--drop"];
    lab.run(Role::Client, lab.bench(), drop_all, PATIENCE)?;
    Ok(SPARE)
}

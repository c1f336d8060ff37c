//! Findings about what a NIC does to frames before XDP sees them.

use super::facts::{Interface, Read, State};
use super::finding::{Finding, Status};
use super::nic::without_native;
use super::setting::{Change, Setting};
use crate::kernel::Offload;

/// The kernel's names of features (net/ethtool/common.c).
const VLAN: &str = "rx-vlan-hw-parse";
const LRO: &str = "rx-lro";
const GRO_HW: &str = "rx-gro-hw";

pub(super) fn vlan(interface: &Interface, state: &State) -> Finding {
    const WHY: &str = "XDP does not see a tag that the NIC has removed: a client in a VLAN is answered without a tag, and \
                       does not get the answer";
    const ID: &str = "nic.vlan-offload";
    let offload = match find(&state.offloads, VLAN) {
        Ok(Some(offload)) if offload.on => offload,
        Ok(_) => {
            return Finding::new(ID, Status::Ok, "the NIC leaves VLAN tags in the frame", WHY)
                .on(&interface.name);
        }
        Err(error) => {
            return Finding::unread(ID, "the features", error, WHY).on(&interface.name);
        }
    };
    let peer = match state.kind.as_str() {
        "veth" => "; the other end of the veth needs `txvlan off` as well",
        _ => "",
    };
    let (status, what) = if state.vlans.is_empty() {
        let what = "the NIC removes VLAN tags; there is no VLAN device here now";
        (Status::Warn, format!("{what}{peer}"))
    } else {
        let vlans = state.vlans.join(", ");
        let what = "the NIC removes VLAN tags, and there are VLAN devices";
        (
            Status::Fail,
            format!("{what} ({vlans}): synward does not start{peer}"),
        )
    };
    turn_off(interface, ID, offload, status, what, WHY)
}

pub(super) fn lro(interface: &Interface, state: &State) -> Finding {
    const WHY: &str =
        "merged segments do not fit a frame of XDP: drivers refuse native XDP with LRO";
    finding(interface, state, "nic.lro", LRO, "LRO", WHY)
}

pub(super) fn gro_hw(interface: &Interface, state: &State) -> Finding {
    const WHY: &str = "merged segments do not fit a frame of XDP: drivers refuse native XDP with hardware GRO, or turn it off \
        themselves";
    finding(
        interface,
        state,
        "nic.gro-hw",
        GRO_HW,
        "GRO in hardware",
        WHY,
    )
}

/// A finding about a feature that must be off for native XDP.
fn finding(
    interface: &Interface,
    state: &State,
    id: &'static str,
    feature: &str,
    words: &str,
    why: &'static str,
) -> Finding {
    match find(&state.offloads, feature) {
        Err(error) => Finding::unread(id, "the features", error, why).on(&interface.name),
        Ok(Some(offload)) if offload.on && without_native(interface) != Status::Ok => {
            let status = without_native(interface);
            // virtnet_xdp_set, drivers/net/virtio_net.c.
            let host = match state.driver.as_deref() {
                Ok("virtio_net") if !offload.changeable => {
                    "; the hypervisor decides (qemu: ctrl_guest_offloads=on)"
                }
                _ => "",
            };
            let what = format!("{words} is on{host}");
            turn_off(interface, id, offload, status, what, why)
        }
        // The kernel turns both off for generic XDP (`generic_xdp_install`, net/core/dev.c).
        Ok(Some(offload)) if offload.on => Finding::new(
            id,
            Status::Ok,
            format!("{words} is on, and goes off with generic XDP"),
            why,
        )
        .on(&interface.name),
        Ok(_) => Finding::new(id, Status::Ok, format!("{words} is off"), why).on(&interface.name),
    }
}

fn turn_off(
    interface: &Interface,
    id: &'static str,
    offload: &Offload,
    status: Status,
    what: String,
    why: &'static str,
) -> Finding {
    if !offload.changeable {
        let what = format!("{what}; this driver cannot turn it off");
        return Finding::new(id, status, what, why).on(&interface.name);
    }
    let setting = Setting::Offload {
        interface: interface.name.clone(),
        feature: offload.name.clone(),
    };
    Finding::new(id, status, what, why)
        .on(&interface.name)
        .mend(Change {
            setting,
            to: "off".into(),
        })
}

fn find<'a>(
    offloads: &'a Read<Vec<Offload>>,
    name: &str,
) -> Result<Option<&'a Offload>, &'a super::facts::Unread> {
    let offloads = offloads.as_ref()?;
    Ok(offloads.iter().find(|offload| offload.name == name))
}

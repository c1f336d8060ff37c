//! synward: on the edge, or on the server.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::filling;
use crate::compare::defence::{Defence, Started};
use crate::compare::kernel_counters::passive_opens;
use crate::compare::memory_use::Memory;
use crate::compare::netns_lab::{Lab, PATIENCE, Role};
use crate::compare::process::Process;

/// Where the appliance runs, and how.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Between client and server, with handoff splice.
    Edge { responder: &'static str },
    /// Between client and server, and no attack: it challenges nobody.
    Inactive,
    /// On the server, with handoff local.
    Server,
}

/// The appliance, running while this lives.
pub(super) struct Synward<'a> {
    place: Place,
    process: Option<Process<'a>>,
}

impl Synward<'_> {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            process: None,
        }
    }
}

impl<'a> Defence<'a> for Synward<'a> {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        let file = configure(lab, self.place)?;
        let file = file.to_string_lossy();
        let check = Command::new(lab.synward())
            .args(["check", "--config", &file])
            .output()
            .with_context(|| started(lab))?;
        if !check.status.success() {
            return Ok(Started::Unavailable(complaint(&check)));
        }
        let role = match self.place {
            Place::Edge { .. } | Place::Inactive => Role::Edge,
            Place::Server => {
                // The appliance's program replaces the lab's; the frames that it transmits reach a veth only if that
                // has a program.
                let detach = ["pass", "--interface", "server0", "--detach"];
                lab.run(Role::Server, lab.bench(), detach, PATIENCE)?;
                lab.pass_through_edge()?;
                Role::Server
            }
        };
        let mut process = lab.start_inside(role, lab.synward(), ["run", "--config", &file])?;
        process.until("synward is ready", PATIENCE, |process| {
            Ok(process
                .printed()
                .split_whitespace()
                .any(|word| word.trim_end_matches(':') == "ready"))
        })?;
        self.process = Some(process);
        Ok(Started::Running)
    }

    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>> {
        if let Place::Inactive = self.place {
            return Ok(None);
        }
        let control = control(lab);
        let output = Command::new(lab.synward())
            .arg("--control")
            .arg(&control)
            .args(["status", "--json"])
            .output()
            .with_context(|| started(lab))?;
        ensure!(
            output.status.success(),
            "synward status: {}",
            complaint(&output)
        );
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let established = status
            .pointer("/services/0/handoffs/established")
            .and_then(Value::as_u64)
            .context("synward status does not say how many handoffs were established")?;
        match self.place {
            // It leaves SYNs that follow a connection in TIME_WAIT to the kernel.
            Place::Server if established > 0 => passive_opens(lab).map(Some),
            _ => Ok(Some(established)),
        }
    }

    fn fill(&self, lab: &Lab<'a>, flows: u32) -> Result<()> {
        // The file system that `start_inside` mounts for it at /sys/fs/bpf.
        filling::fill(&lab.folder().join("bpf/synward"), flows)
    }

    fn memory(&self, lab: &Lab<'a>) -> Result<Option<Memory>> {
        let process = lab
            .process(lab.synward())?
            .context("synward does not run")?;
        Memory::of(&process).map(Some)
    }
}

fn control(lab: &Lab<'_>) -> PathBuf {
    lab.folder().join("control.sock")
}

/// Writes secret and configuration; returns the configuration's path.
fn configure(lab: &Lab<'_>, place: Place) -> Result<PathBuf> {
    let (secret, file) = (
        lab.folder().join("secret"),
        lab.folder().join("synward.toml"),
    );
    let made = Command::new(lab.synward())
        .arg("secret")
        .output()
        .with_context(|| started(lab))?;
    ensure!(
        made.status.success(),
        "synward secret: {}",
        complaint(&made)
    );
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret)
        .and_then(|mut secret| secret.write_all(&made.stdout))
        .with_context(|| format!("{} cannot be written", secret.display()))?;
    fs::write(
        &file,
        configuration(place, lab.ports(), &control(lab), &secret),
    )?;
    Ok(file)
}

fn configuration(
    place: Place,
    ports: &[u16],
    control: &std::path::Path,
    secret: &std::path::Path,
) -> String {
    let (mode, responder, handoff) = match place {
        Place::Edge { responder } => ("always", responder, "splice"),
        Place::Inactive => ("auto", "xdp", "splice"),
        Place::Server => ("always", "xdp", "local"),
    };
    let interfaces: &[_] = match place {
        Place::Edge { .. } | Place::Inactive => &[("out0", "outside"), ("in0", "inside")],
        Place::Server => &[("server0", "outside")],
    };
    let mut text = format!(
        "[appliance]
control = \"{}\"
metrics = \"\"
responder = \"{responder}\"
adopt_seconds = 0

[cookie]
secret = \"{}\"
",
        control.display(),
        secret.display()
    );
    for (name, side) in interfaces {
        text += &format!("\n[[interface]]\nname = \"{name}\"\nside = \"{side}\"\n");
    }
    text += &format!(
        "\n[[service]]
name = \"web\"
addresses = [\"192.0.2.10\", \"2001:db8:5::10\"]
ports = {ports:?}
handoff = \"{handoff}\"
mode = \"{mode}\"
"
    );
    text
}

fn started(lab: &Lab<'_>) -> String {
    format!(
        "{} does not start: run cargo build --release, or give its path with --synward",
        lab.synward().display()
    )
}

/// A program's output, in one line.
fn complaint(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&said)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

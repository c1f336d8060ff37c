//! Each finding from facts that have its fault, and none from facts that have not. The findings of each part of the machine are
//! in a file of their own.
#![allow(clippy::unwrap_used)]

mod machine;
mod nic;
mod queues;

use std::time::Duration;

use super::facts::*;
use super::{Finding, Status, findings};
use crate::config::{Cores, Queues, Responder, XdpMode, ZeroCopy};
use crate::kernel::{ChannelCounts, ClockState, Count, Offload, XdpFeatures};
use crate::steering::{self, MissingBpffs};

/// A machine with four CPUs and one interface, to which nothing is to be said.
fn healthy() -> Facts {
    Facts {
        plan: Plan {
            configured: true,
            local: true,
            forwards_v4: true,
            forwards_v6: true,
            cores: Cores::Auto,
            responder: Responder::Auto,
            pin: Some("/sys/fs/bpf/synward".into()),
        },
        machine: Machine {
            cpus: 4,
            nodes: 1,
            release: Ok("6.12.9-amd64".into()),
            has_btf: true,
            jit: Ok(1),
            syncookies: Ok(1),
            forwarding_v4: Ok(1),
            forwarding_v6: Ok(1),
            missing_bpffs: None,
            memlock: Ok(None),
            capabilities: Ok(u64::MAX),
            is_root: true,
            huge_pages: Ok((0, 0)),
            clock: Ok(ClockState {
                synchronized: true,
                max_error: Duration::from_millis(3),
            }),
        },
        interfaces: vec![Interface {
            name: "eth0".into(),
            xdp_mode: XdpMode::Native,
            zero_copy: ZeroCopy::Auto,
            queues: Queues::All,
            state: Some(State {
                kind: String::new(),
                refusal: None,
                crash: None,
                up: true,
                carrier: true,
                mtu: 1500,
                peer: None,
                vlans: Vec::new(),
                driver: Ok("mlx5_core".into()),
                known: steering::facts_of("mlx5_core"),
                xdp: Ok(XdpFeatures(0x6f)),
                channels: Ok(combined(4, 8)),
                ring: Ok(Count {
                    used: 1024,
                    most: 8192,
                }),
                rss: Ok(vec![0, 1, 2, 3, 0, 1, 2, 3]),
                queues: 4,
                offloads: Ok(["rx-vlan-hw-parse", "rx-lro", "rx-gro-hw"].map(off).into()),
                node: Ok(None),
                irqs: Ok((0..4).map(irq).collect()),
                program: Program::None,
            }),
        }],
        links_error: None,
        local: Local {
            conntrack_loose: Some(1),
            rules: Some(Ok(Vec::new())),
            ..Local::default()
        },
    }
}

fn combined(used: u32, most: u32) -> ChannelCounts {
    ChannelCounts {
        combined: Count { used, most },
        ..ChannelCounts::default()
    }
}

fn off(name: &str) -> Offload {
    Offload {
        name: name.into(),
        on: false,
        changeable: true,
    }
}

fn irq(cpu: u32) -> Irq {
    Irq {
        queue: None,
        number: 30 + cpu,
        cpus: vec![cpu as usize],
    }
}

/// The findings that are not ok after a change of the healthy machine.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = healthy();
    change(&mut facts);
    let mut found = findings(&facts);
    found.retain(|finding| finding.status != Status::Ok);
    found
}

/// The one finding that is not ok: its id, its status and its command.
fn one(change: impl FnOnce(&mut Facts)) -> (&'static str, Status, Option<String>) {
    let found = found(change);
    assert_eq!(found.len(), 1, "{found:#?}");
    let first = found.into_iter().next().unwrap();
    (first.id, first.status, first.command)
}

/// As [`one`], after a change of the interface's state.
fn nic(change: impl FnOnce(&mut State)) -> (&'static str, Status, Option<String>) {
    one(|facts| change(facts.interfaces[0].state.as_mut().unwrap()))
}

fn command(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn nothing_is_said_of_a_healthy_machine() {
    assert_eq!(found(|_| {}), []);
    let all = findings(&healthy());
    assert!(all.iter().all(|finding| finding.command.is_none()));
}

#[test]
fn every_id_is_documented_and_explained() {
    let page = include_str!("../../../docs/doctor.md");
    for finding in findings(&healthy()) {
        assert!(
            page.contains(&format!("| `{}` |", finding.id)),
            "{}",
            finding.id
        );
        assert!(!finding.why.is_empty() && !finding.what.is_empty());
    }
    assert!(page.contains("| `nic.device` |"));
}

#[test]
fn what_cannot_be_read_is_a_finding() {
    let unread = || Unread::Failed("Permission denied".into());
    let found = found(|facts| {
        facts.machine.release = Err(unread());
        facts.machine.clock = Err(unread());
        let state = facts.interfaces[0].state.as_mut().unwrap();
        state.offloads = Err(unread());
        state.channels = Err(unread());
        state.rss = Err(unread());
        state.irqs = Err(unread());
    });
    let ids: Vec<_> = found.iter().map(|finding| finding.id).collect();
    assert_eq!(
        ids,
        [
            "kernel.version",
            "clock.sync",
            "nic.vlan-offload",
            "nic.lro",
            "nic.gro-hw",
            "nic.queues",
            "nic.rss",
            "nic.irq"
        ]
    );
    for finding in found {
        assert!(finding.what.contains("Permission denied"), "{finding:?}");
    }
}

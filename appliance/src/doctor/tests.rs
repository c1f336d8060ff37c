//! Each finding from facts that have its fault, and none from facts that have not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::facts::*;
use super::{Finding, Status, findings};
use crate::config::{Cores, Responder, XdpMode, ZeroCopy};
use crate::kernel::{ChannelCounts, ClockState, Count, Offload, XdpFeatures};
use crate::steering;

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
            bpffs: Bpffs {
                is_mounted: true,
                ..Bpffs::default()
            },
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
            all_queues: true,
            state: Some(State {
                kind: String::new(),
                refusal: None,
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

/// Turns a feature on.
fn on(state: &mut State, name: &str) {
    let offloads = state.offloads.as_mut().unwrap();
    let mut offloads = offloads.iter_mut();
    offloads.find(|offload| offload.name == name).unwrap().on = true;
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
fn offloads_that_hide_frames_from_xdp() {
    assert_eq!(
        nic(|state| on(state, "rx-vlan-hw-parse")),
        (
            "nic.vlan-offload",
            Status::Warn,
            command("ethtool -K eth0 rxvlan off")
        )
    );
    let (_, status, _) = nic(|state| {
        on(state, "rx-vlan-hw-parse");
        state.vlans = vec!["eth0.5".into()];
    });
    assert_eq!(status, Status::Fail, "synward does not start");
    assert_eq!(
        nic(|state| on(state, "rx-lro")),
        ("nic.lro", Status::Fail, command("ethtool -K eth0 lro off"))
    );
    assert_eq!(
        nic(|state| on(state, "rx-gro-hw")),
        (
            "nic.gro-hw",
            Status::Fail,
            command("ethtool -K eth0 rx-gro-hw off")
        )
    );
}

#[test]
fn a_fixed_offload_has_no_command() {
    let (id, _, none) = nic(|state| {
        on(state, "rx-lro");
        for offload in state.offloads.as_mut().unwrap() {
            offload.changeable = false;
        }
    });
    assert_eq!((id, none), ("nic.lro", None));
}

#[test]
fn generic_xdp_asks_less_of_the_driver() {
    let generic = |change: fn(&mut State)| {
        found(|facts| {
            facts.interfaces[0].xdp_mode = XdpMode::Generic;
            change(facts.interfaces[0].state.as_mut().unwrap());
        })
    };
    assert_eq!(generic(|state| on(state, "rx-lro")), []);
    assert_eq!(generic(|state| state.mtu = 9000), []);
    assert_eq!(generic(|state| state.xdp = Ok(XdpFeatures(0))), []);
}

#[test]
fn the_mtu_is_limited_by_the_driver() {
    assert_eq!(
        nic(|state| {
            state.mtu = 9000;
            state.xdp = Ok(XdpFeatures(0x0f));
        }),
        (
            "nic.mtu",
            Status::Fail,
            command("ip link set eth0 mtu 3498")
        )
    );
    let (id, status, advice) = one(|facts| {
        facts.interfaces[0].zero_copy = ZeroCopy::On;
        facts.interfaces[0].state.as_mut().unwrap().mtu = 9000;
    });
    assert_eq!(
        (id, status, advice),
        (
            "nic.mtu",
            Status::Fail,
            command("ip link set eth0 mtu 3818")
        )
    );
    assert_eq!(
        found(|facts| facts.interfaces[0].state.as_mut().unwrap().mtu = 9000),
        [],
        "the driver has frags"
    );
    let (id, _, advice) = nic(|state| {
        state.driver = Ok("veth".into());
        state.known = steering::facts_of("veth");
        state.peer = Some(("ve1".into(), 9000));
    });
    assert_eq!(
        (id, advice),
        ("nic.mtu", command("ip link set ve1 mtu 3506"))
    );
}

#[test]
fn drivers_without_what_is_demanded() {
    let (id, status, _) = nic(|state| state.xdp = Ok(XdpFeatures(0)));
    assert_eq!((id, status), ("nic.xdp", Status::Fail));
    let (id, status, _) = one(|facts| {
        facts.interfaces[0].zero_copy = ZeroCopy::On;
        facts.interfaces[0].state.as_mut().unwrap().xdp = Ok(XdpFeatures(7));
    });
    assert_eq!((id, status), ("nic.xdp", Status::Fail));
    let (id, status, _) = one(|facts| {
        facts.interfaces[0].zero_copy = ZeroCopy::On;
        let state = facts.interfaces[0].state.as_mut().unwrap();
        state.known = steering::facts_of("hv_netvsc");
    });
    assert_eq!((id, status), ("nic.driver", Status::Fail));
}

#[test]
fn channels_follow_cpus_and_driver() {
    assert_eq!(
        nic(|state| {
            state.channels = Ok(combined(2, 8));
            state.queues = 2;
        }),
        (
            "nic.queues",
            Status::Warn,
            command("ethtool -L eth0 combined 4")
        )
    );
    let ena = |state: &mut State, used| {
        state.driver = Ok("ena".into());
        state.known = steering::facts_of("ena");
        state.channels = Ok(combined(used, 4));
    };
    assert_eq!(
        nic(|state| ena(state, 4)),
        (
            "nic.queues",
            Status::Fail,
            command("ethtool -L eth0 combined 2")
        )
    );
    assert_eq!(
        nic(|state| {
            state.known = steering::facts_of("i40e");
            state.driver = Ok("i40e".into());
            state.kind = "emulated".into();
            state.channels = Ok(combined(1, 64));
        })
        .2,
        command("ethtool -L eth0 combined 4")
    );
    let separate = |used| Count { used, most: 4 };
    assert_eq!(
        nic(|state| {
            state.channels = Ok(ChannelCounts {
                rx: separate(1),
                tx: separate(1),
                combined: Count::default(),
            });
        })
        .2,
        command("ethtool -L eth0 rx 4 tx 4")
    );
}

#[test]
fn more_queues_than_can_be_steered() {
    let many = synward_core::layout::MAX_QUEUES + 1;
    let many_queues = |state: &mut State| {
        state.queues = many;
        state.channels = Ok(combined(many, many));
        state.rss = Err(Unread::Absent);
    };
    assert_eq!(
        nic(many_queues),
        (
            "nic.queues",
            Status::Fail,
            command("ethtool -L eth0 combined 4")
        )
    );
    let listed = found(|facts| {
        facts.interfaces[0].all_queues = false;
        many_queues(facts.interfaces[0].state.as_mut().unwrap());
    });
    assert_eq!(listed, []);
}

#[test]
fn the_queues_of_a_virtual_device_are_its_senders_decision() {
    let virtual_device = |state: &mut State| {
        state.kind = "veth".into();
        state.channels = Ok(combined(1, 4));
        state.queues = 1;
        state.rss = Err(Unread::Absent);
    };
    let found = found(|facts| virtual_device(facts.interfaces[0].state.as_mut().unwrap()));
    assert_eq!(found, []);
}

#[test]
fn packets_that_reach_only_some_queues() {
    assert_eq!(
        nic(|state| state.rss = Ok(vec![0, 1, 0, 1])),
        ("nic.rss", Status::Warn, command("ethtool -X eth0 equal 4"))
    );
    assert_eq!(
        nic(|state| state.ring = Ok(Count {
            used: 256,
            most: 4096
        })),
        ("nic.ring", Status::Warn, command("ethtool -G eth0 rx 1024"))
    );
    let longest = found(|facts| {
        facts.interfaces[0].state.as_mut().unwrap().ring = Ok(Count {
            used: 256,
            most: 256,
        });
    });
    assert_eq!(longest, []);
}

#[test]
fn interrupts_on_one_cpu_are_moved_one_by_one() {
    let moved = found(|facts| {
        let state = facts.interfaces[0].state.as_mut().unwrap();
        for irq in state.irqs.as_mut().unwrap() {
            irq.cpus = vec![0];
        }
    });
    let commands: Vec<_> = moved.iter().filter_map(|one| one.command.clone()).collect();
    assert_eq!(
        commands,
        [
            "echo 1 > /proc/irq/31/smp_affinity_list",
            "echo 2 > /proc/irq/32/smp_affinity_list",
            "echo 3 > /proc/irq/33/smp_affinity_list"
        ]
    );
    assert!(moved.iter().all(|one| one.id == "nic.irq" && one.by_tune));
}

#[test]
fn workers_belong_on_the_node_of_the_nic() {
    let two_nodes = |facts: &mut Facts| {
        facts.machine.nodes = 2;
        facts.interfaces[0].state.as_mut().unwrap().node = Ok(Some(Node {
            number: 1,
            cpus: vec![2, 3],
        }));
    };
    let warned = found(two_nodes);
    assert_eq!(warned[0].id, "numa");
    assert!(warned[0].what.contains("cores = [2, 3]"), "{warned:?}");
    let local = found(|facts| {
        two_nodes(facts);
        facts.plan.cores = Cores::List(vec![3]);
    });
    assert_eq!(local, []);
    let remote = found(|facts| {
        two_nodes(facts);
        facts.plan.cores = Cores::List(vec![0, 3]);
    });
    assert_eq!(remote[0].id, "numa");
}

#[test]
fn an_occupied_interface_is_freed_only_if_nobody_is_harmed() {
    let foreign = |command: Option<&str>| Program::Foreign {
        what: "eth0 runs XDP program guard (id 4)".into(),
        cure: "ask its owner".into(),
        command: command.map(str::to_owned),
    };
    let off = "ip link set eth0 xdp off";
    let found = found(|facts| {
        facts.interfaces[0].state.as_mut().unwrap().program = foreign(Some(off));
    });
    assert_eq!(found[0].id, "xdp.occupied");
    assert_eq!(found[0].command.as_deref(), Some(off));
    assert!(!found[0].by_tune, "what is detached cannot be restored");
    let held = nic(|state| state.program = foreign(None));
    assert_eq!(held, ("xdp.occupied", Status::Fail, None));
    let hidden = nic(|state| {
        state.program = Program::Hidden {
            what: "eth0 runs XDP program 4".into(),
        };
    });
    assert_eq!((hidden.0, hidden.1), ("xdp.occupied", Status::Warn));
    let own = super::tests::found(|facts| {
        facts.interfaces[0].state.as_mut().unwrap().program = Program::Own;
    });
    assert_eq!(own, []);
}

#[test]
fn interfaces_that_are_missing_down_or_of_the_wrong_kind() {
    let (id, status, _) = one(|facts| facts.interfaces[0].state = None);
    assert_eq!((id, status), ("nic.device", Status::Fail));
    let (id, status, _) = nic(|state| state.refusal = Some("eth0 is a bridge".into()));
    assert_eq!((id, status), ("nic.device", Status::Fail));
    let down = nic(|state| state.up = false);
    assert_eq!(
        down,
        ("nic.link", Status::Warn, command("ip link set eth0 up"))
    );
    let (id, _, none) = nic(|state| state.carrier = false);
    assert_eq!((id, none), ("nic.link", None));
}

#[test]
fn the_kernel_and_its_settings() {
    let old = |release: &'static str| one(|facts| facts.machine.release = Ok(release.into()));
    assert_eq!(old("5.10.0"), ("kernel.version", Status::Fail, None));
    assert_eq!(old("what").1, Status::Warn);
    let (id, status, _) = one(|facts| facts.machine.has_btf = false);
    assert_eq!((id, status), ("kernel.btf", Status::Fail));
    assert_eq!(
        one(|facts| facts.machine.jit = Ok(0)),
        (
            "kernel.jit",
            Status::Warn,
            command("sysctl -w net.core.bpf_jit_enable=1")
        )
    );
    assert_eq!(
        one(|facts| facts.machine.syncookies = Ok(0)),
        (
            "kernel.syncookies",
            Status::Fail,
            command("sysctl -w net.ipv4.tcp_syncookies=1")
        )
    );
    let spliced = one(|facts| {
        facts.plan.local = false;
        facts.machine.syncookies = Ok(0);
    });
    assert_eq!(spliced.1, Status::Warn);
}

#[test]
fn forwarding_is_demanded_by_family_and_left_to_people() {
    let found = found(|facts| {
        facts.machine.forwarding_v4 = Ok(0);
        facts.machine.forwarding_v6 = Ok(0);
        facts.plan.forwards_v6 = false;
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, "kernel.forwarding");
    assert_eq!(found[0].command, command("sysctl -w net.ipv4.ip_forward=1"));
    assert!(!found[0].by_tune);
}

#[test]
fn the_bpf_file_system_is_mounted_where_the_pins_are() {
    let missing = |exists| {
        one(|facts| {
            facts.machine.bpffs = Bpffs {
                is_mounted: false,
                at: "/run/bpf".into(),
                exists,
            };
        })
    };
    let mount = "mount -t bpf bpf /run/bpf";
    assert_eq!(missing(true), ("bpffs.mount", Status::Fail, command(mount)));
    assert_eq!(
        missing(false).2,
        command(&format!("mkdir -p /run/bpf && {mount}"))
    );
    let unpinned = found(|facts| {
        facts.plan.pin = None;
        facts.machine.bpffs = Bpffs::default();
    });
    assert_eq!(unpinned, []);
}

#[test]
fn limits_of_the_process() {
    const IPC_LOCK: u64 = 1 << 14;
    let limited = |bytes| {
        found(|facts| {
            facts.machine.capabilities = Ok(!IPC_LOCK);
            facts.machine.memlock = Ok(Some(bytes));
        })
    };
    assert_eq!(limited(64 << 20), []);
    assert_eq!(limited(8 << 20)[0].id, "memlock");
    let user = found(|facts| {
        facts.machine.capabilities = Ok(0);
        facts.machine.is_root = false;
    });
    assert_eq!((user[0].id, user[0].status), ("capabilities", Status::Warn));
    let root = one(|facts| facts.machine.capabilities = Ok(IPC_LOCK));
    assert_eq!((root.0, root.1), ("capabilities", Status::Fail));
    let clock = one(|facts| {
        facts.machine.clock = Ok(ClockState {
            synchronized: false,
            max_error: Duration::ZERO,
        });
    });
    assert_eq!((clock.0, clock.1), ("clock.sync", Status::Warn));
}

#[test]
fn local_services_and_their_firewall() {
    let (id, status, _) = one(|facts| facts.local.kernel = Some("too old".into()));
    assert_eq!((id, status), ("local.kernel", Status::Fail));
    let listener = found(|facts| {
        facts.local.listeners = vec![("web".into(), "uses Multipath TCP".into())];
    });
    assert_eq!(
        (listener[0].id, listener[0].service.as_deref()),
        ("local.listener", Some("web"))
    );
    let firewall = |loose, rules: &[&str]| {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        found(|facts| {
            facts.local.conntrack_loose = Some(loose);
            facts.local.rules = Some(Ok(rules));
        })
    };
    assert_eq!(firewall(1, &["ct state invalid drop"]), []);
    assert_eq!(firewall(0, &[]), []);
    let strict = firewall(0, &["ct state invalid drop"]);
    assert_eq!(
        (strict[0].id, strict[0].status, strict[0].command.clone()),
        (
            "local.firewall",
            Status::Fail,
            command("sysctl -w net.netfilter.nf_conntrack_tcp_loose=1")
        )
    );
    assert_eq!(
        firewall(1, &["ct state new tcp flags != syn drop"]).len(),
        1
    );
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

//! A NIC, its driver and its offloads.

use super::*;

/// Turns a feature on.
fn on(state: &mut State, name: &str) {
    let offloads = state.offloads.as_mut().unwrap();
    let mut offloads = offloads.iter_mut();
    offloads.find(|offload| offload.name == name).unwrap().on = true;
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
        state.peer = Some(Peer {
            name: "ve1".into(),
            mtu: 9000,
            sends_on: None,
        });
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
    let own = super::found(|facts| {
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

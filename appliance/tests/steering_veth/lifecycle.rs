//! Load, attach, stop: interfaces are steered between attach and stop, and nothing is left afterwards.

use synward::config::{Mode, Side};
use synward::maps::Times;
use synward::steering::{Mended, Steering};
use synward_core::counters::Counter;
use synward_core::queue_set::QueueSet;

use super::foreign_program;
use super::steering_lab::{HERE, Lab, THERE, inside, link_of, run};

#[test]
fn load_attach_stop_leaves_nothing() {
    let lab = Lab::new();
    let mut steering = lab.load(&[]).unwrap();
    assert_eq!(lab.xdp(HERE), None, "loading steers nothing");
    inside(&lab.here(), || steering.attach()).unwrap();

    let (id, native) = lab.xdp(HERE).unwrap();
    assert!(native, "veth does native XDP");
    let [interface] = steering.interfaces() else {
        panic!()
    };
    assert_eq!(
        (interface.name.as_str(), interface.slot, interface.side),
        (HERE, 0, Side::Both)
    );
    assert_eq!(
        (&interface.queues[..], interface.native),
        (&[0, 1][..], true)
    );
    assert_ne!(interface.mac, [0; 6]);
    assert_eq!(steering.taken_over(), None);
    let pinned = [
        "link-sw-here",
        "map-ATTACKS",
        "map-ENDPOINTS",
        "map-FLOWS",
        "map-GLOBALS",
        "map-HANDED_OVER",
        "map-NEXT",
        "map-OCCUPANCY",
        "map-PASSED",
        "map-REPLAY_CACHE",
        "map-TAGS",
        "map-WAITING",
        "schema",
    ];
    assert_eq!(lab.pinned(), pinned);

    steering.stop(false).unwrap();
    lab.assert_clean(Some(id));
}

#[test]
fn an_interface_that_is_down_deleted_or_recreated_is_reported() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    let mut faults = || inside(&lab.here(), || steering.find_faults(true)).unwrap();
    assert_eq!(faults(), [""; 0]);

    lab.ip(&["link", "set", HERE, "down"]);
    assert_eq!(
        faults(),
        ["sw-here is down: `ip link set sw-here up`".to_owned()]
    );
    lab.ip(&["link", "set", HERE, "up"]);
    assert_eq!(faults(), [""; 0], "a link that comes back is steered again");

    lab.ip(&["link", "del", HERE]);
    assert_eq!(
        faults(),
        ["sw-here is gone: create it again, and synward steers it".to_owned()]
    );
    lab.ip(&[
        "link", "add", HERE, "type", "veth", "peer", "name", "sw-other",
    ]);
    let [fault] = &faults()[..] else { panic!() };
    assert!(
        fault.starts_with("sw-here was deleted and created again"),
        "{fault}"
    );
}

#[test]
fn queues_that_appear_and_go_are_followed() {
    let lab = Lab::new();
    for (namespace, interface) in [(lab.here(), HERE), (lab.there(), THERE)] {
        ethtool(&namespace, &["-L", interface, "rx", "1", "tx", "1"]);
    }
    let mut steering = lab.steer(&[]).unwrap();
    assert_eq!(steering.interfaces()[0].queues, [0]);
    let attached = lab.xdp(HERE);
    let link = link_of(attached.as_ref().unwrap().0);
    let faults = |steering: &mut Steering, needs_workers| {
        inside(&lab.here(), || steering.find_faults(needs_workers)).unwrap()
    };
    assert_eq!(faults(&mut steering, true), [""; 0]);

    ethtool(&lab.here(), &["-L", HERE, "rx", "2"]);
    let only_splice = faults(&mut steering, false);
    assert_eq!(only_splice, [""; 0], "only `splice` needs workers");
    let unserved = "sw-here has 2 receive queues, 1 more than synward knows of: connections that arrive on queue 1 and above are \
                    not opened; `ethtool -L sw-here rx 1`";
    assert_eq!(faults(&mut steering, true), [unserved]);
    let changes = inside(&lab.here(), || steering.follow_queues());
    let [change] = &changes[..] else { panic!() };
    assert_eq!(change.appeared, 1..2);
    assert!(change.lost.is_empty());
    assert_eq!(steering.interfaces()[0].queues, [0, 1]);
    assert_eq!(lab.xdp(HERE), attached, "the same program");
    assert_ne!(
        link_of(attached.as_ref().unwrap().0),
        link,
        "attached anew: a veth runs it on no queue that is newer"
    );
    assert_eq!(faults(&mut steering, true), [""; 0]);
    let again = inside(&lab.here(), || steering.follow_queues());
    assert_eq!(again, [], "it is followed once");

    ethtool(&lab.here(), &["-L", HERE, "rx", "1"]);
    let changes = inside(&lab.here(), || steering.follow_queues());
    let [change] = &changes[..] else { panic!() };
    assert_eq!(change.lost, 1..2);
    assert!(change.appeared.is_empty());
    assert_eq!(steering.interfaces()[0].queues, [0]);
    assert_eq!(faults(&mut steering, true), [""; 0]);
}

#[test]
fn queues_that_appear_beside_a_list_are_named() {
    let lab = Lab::new();
    for (namespace, interface) in [(lab.here(), HERE), (lab.there(), THERE)] {
        ethtool(&namespace, &["-L", interface, "rx", "1", "tx", "1"]);
    }
    let listed = "side = \"both\"\nqueues = [0]";
    let mut steering = lab.steer(&[("side = \"both\"", listed)]).unwrap();
    ethtool(&lab.here(), &["-L", HERE, "rx", "2"]);
    assert_eq!(inside(&lab.here(), || steering.follow_queues()), []);
    let faults = inside(&lab.here(), || steering.find_faults(true)).unwrap();
    assert!(
        faults[0].contains("2 receive queues, 1 more than synward knows of"),
        "{faults:?}"
    );
}

fn ethtool(namespace: &str, arguments: &[&str]) {
    let net = format!("--net=/run/netns/{namespace}");
    run("nsenter", &[&[net.as_str(), "ethtool"], arguments].concat());
}

#[test]
fn dropping_detaches_too() {
    let lab = Lab::new();
    drop(lab.load(&[]).unwrap());
    lab.assert_clean(None);
    let steering = lab.steer(&[]).unwrap();
    let (id, _) = lab.xdp(HERE).unwrap();
    drop(steering);
    lab.assert_clean(Some(id));
}

#[test]
fn generic_xdp_without_pins() {
    let lab = Lab::new();
    let pin = format!("pin = {:?}", lab.pin());
    let steering = lab
        .steer(&[(&pin, "pin = \"\""), ("\"auto\"", "\"generic\"")])
        .unwrap();
    let (id, native) = lab.xdp(HERE).unwrap();
    assert!(!native && !steering.interfaces()[0].native);
    assert!(!lab.pin().exists());
    let refused = steering.stop(true).unwrap_err().to_string();
    assert_eq!(
        refused,
        "nothing is pinned, so nothing can be left in place: set pin in [appliance]"
    );
    lab.assert_clean(Some(id));
}

#[test]
fn a_device_without_native_xdp_falls_back_with_a_notice() {
    let lab = Lab::new();
    lab.ip(&["link", "add", "sw-other", "type", "ifb"]);
    let edit = [(HERE, "sw-other")];
    let steering = lab.steer(&edit).unwrap();
    let [interface] = steering.interfaces() else {
        panic!()
    };
    assert!(!interface.native);
    assert_eq!(
        interface.notices,
        [
            "sw-other refuses native XDP: its driver (ifb) has no XDP; XDP is generic there, which is slower"
        ]
    );
    assert_eq!(lab.xdp("sw-other").map(|(_, native)| native), Some(false));
    steering.stop(false).unwrap();
    assert_eq!(lab.xdp("sw-other"), None);

    let refused = lab
        .steer(&[edit[0], ("\"auto\"", "\"native\"")])
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "sw-other refuses native XDP: its driver (ifb) has no XDP; or set xdp = \"auto\" or \"generic\""
    );
    lab.assert_clean(None);
}

#[test]
fn modes_responders_clock_and_counters_are_accessible() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    assert_eq!(steering.mode(0).unwrap(), Mode::Always);
    steering.set_mode(0, Mode::Monitor).unwrap();
    assert_eq!(steering.mode(0).unwrap(), Mode::Monitor);
    assert!(steering.mode(1).is_err() && steering.set_mode(1, Mode::Off).is_err());
    assert_eq!(steering.counters(0).unwrap().value(Counter::Syn), 0);
    assert!(steering.counters(1).is_err());
    steering
        .set_responder(0, QueueSet::from_iter([0, 255]))
        .unwrap();
    assert!(steering.set_responder(1, QueueSet::default()).is_err());
    let refused = steering.set_socket(0, 256, 0).unwrap_err().to_string();
    assert_eq!(refused, "a slot is out of range: interface 0, queue 256");
    assert!(
        steering.set_socket(0, 0, 0).is_err(),
        "stdin is not an AF_XDP socket"
    );
    steering.refresh(&Times::now()).unwrap();
    steering.stop(false).unwrap();
}

#[test]
fn a_recreated_interface_is_steered_again() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    let before = steering.interfaces()[0].index;
    let mut mend = || {
        inside(&lab.here(), || {
            let mut mended = vec![];
            steering.mend_interfaces(&mut mended).unwrap();
            (mended, steering.find_faults(true).unwrap())
        })
    };
    assert_eq!(mend(), (vec![], vec![]), "nothing is lost");
    lab.ip(&["link", "del", HERE]);
    let (mended, faults) = mend();
    assert_eq!((mended.len(), faults.len()), (0, 1), "{faults:?}");
    lab.ip(&[
        "link", "add", HERE, "type", "veth", "peer", "name", "sw-other",
    ]);
    for end in [HERE, "sw-other"] {
        lab.ip(&["link", "set", end, "up"]);
    }
    let again = Mended {
        name: HERE.to_owned(),
        slot: 0,
        replaced: Some(before),
    };
    assert_eq!(mend(), (vec![again], vec![]));
    assert!(lab.xdp(HERE).is_some_and(|(_, native)| native));
    assert_eq!(mend(), (vec![], vec![]), "it is mended once");
    let (id, _) = lab.xdp(HERE).unwrap();
    steering.stop(false).unwrap();
    lab.assert_clean(Some(id));
}

/// Deletes the interface and creates it again with so many queues.
fn create_again(lab: &Lab, queues: &str) {
    lab.ip(&["link", "del", HERE]);
    let count = ["numrxqueues", queues, "numtxqueues", queues];
    let add = ["link", "add", HERE];
    let peer = ["type", "veth", "peer", "name", "sw-other"];
    lab.ip(&[&add[..], &count, &peer, &count].concat());
    for end in [HERE, "sw-other"] {
        lab.ip(&["link", "set", end, "up"]);
    }
}

#[test]
fn a_recreated_interface_has_the_queues_that_it_has() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    for (queues, expected) in [("4", 4), ("3", 3), ("2", 2)] {
        create_again(&lab, queues);
        inside(&lab.here(), || {
            steering.mend_interfaces(&mut vec![]).unwrap();
            assert_eq!(steering.interfaces()[0].queues.len(), expected);
            assert_eq!(steering.find_faults(true).unwrap(), [""; 0]);
            assert_eq!(steering.follow_queues(), []);
        });
    }
    steering.stop(false).unwrap();
}

#[test]
fn with_attach_none_a_recreated_interface_waits_for_its_program() {
    let lab = Lab::new();
    let other = foreign_program::load("other");
    let attach = || {
        let index = lab.index();
        inside(&lab.here(), || foreign_program::attach(&other, index))
    };
    let _first = attach();
    let called = "side = \"both\"\nattach = \"none\"";
    let mut steering = lab.steer(&[("side = \"both\"", called)]).unwrap();
    let before = steering.interfaces()[0].index;
    let mut mend = || {
        inside(&lab.here(), || {
            let mut mended = vec![];
            steering.mend_interfaces(&mut mended).unwrap();
            (mended, steering.find_faults(true).unwrap().concat())
        })
    };
    assert_eq!(mend(), (vec![], String::new()));
    create_again(&lab, "2");
    let (mended, fault) = mend();
    assert_eq!(mended, []);
    let expected = "sw-here has no XDP program, and with attach";
    assert!(fault.starts_with(expected), "{fault}");
    let _second = attach();
    let again = Mended {
        name: HERE.to_owned(),
        slot: 0,
        replaced: Some(before),
    };
    assert_eq!(mend(), (vec![again], String::new()));
    assert_eq!(mend(), (vec![], String::new()), "it is mended once");
    let interface = &steering.interfaces()[0];
    assert!(interface.native && interface.index == lab.index());
    let expected = steering.expected_callers().concat();
    assert!(
        expected.contains("waiting for the first packet"),
        "{expected}"
    );
    steering.stop(false).unwrap();
}

/// It is the same program again: its callers need not take it anew.
#[test]
fn the_program_that_others_call_is_pinned_again() {
    let lab = Lab::new();
    let other = foreign_program::load("other");
    let index = lab.index();
    let _link = inside(&lab.here(), || foreign_program::attach(&other, index));
    let called = ("side = \"both\"", "side = \"both\"\nattach = \"none\"");
    let id = || {
        let pinned = aya::programs::ProgramInfo::from_pin(lab.pin().join("entry"));
        pinned.unwrap().id()
    };
    let mut first = None;
    // The second process takes over what the first one pinned.
    for _ in 0..2 {
        let mut steering = lab.steer(&[called]).unwrap();
        let before = *first.get_or_insert_with(id);
        let pinned = lab.pinned();
        let mut repin = || inside(&lab.here(), || steering.mend_pins()).unwrap();
        assert_eq!(repin(), 0);
        for name in ["entry", "entry-steer", "entry-arrived"] {
            std::fs::remove_file(lab.pin().join(name)).unwrap();
            assert_eq!(repin(), 1, "{name}");
        }
        assert_eq!((lab.pinned(), id()), (pinned.clone(), before));
        std::fs::remove_dir_all(lab.pin()).unwrap();
        assert_eq!(repin(), pinned.len());
        assert_eq!((lab.pinned(), id()), (pinned, before));
        let faults = inside(&lab.here(), || steering.find_faults(true)).unwrap();
        assert_eq!(faults, [""; 0]);
        steering.stop(false).unwrap();
        assert_eq!(id(), before, "it stays for its callers");
    }
}

/// As `bpftool link detach` does.
#[test]
fn a_program_that_was_detached_is_attached_again() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    let (program, _) = lab.xdp(HERE).unwrap();
    super::steering_lab::detach_link_of(program);
    assert_eq!(lab.xdp(HERE), None);
    let mut mended = vec![];
    inside(&lab.here(), || steering.mend_interfaces(&mut mended)).unwrap();
    let again = Mended {
        name: HERE.to_owned(),
        slot: 0,
        replaced: None,
    };
    assert_eq!(mended, [again], "the sockets stay bound");
    assert_eq!(lab.xdp(HERE), Some((program, true)));
    steering.stop(false).unwrap();
    lab.assert_clean(Some(program));
}

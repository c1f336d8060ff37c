//! What people and other programs do to interfaces, programs and pins while the appliance serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use aya::programs::{SchedClassifier, TcAttachType};
use synward::steering::{Mended, Steering};

use super::foreign_program;
use super::steering_lab::{HERE, Lab, detach_link_of, inside, ip_in, run};

const TWO: &str = "sw-two";
const WITH_TWO: [(&str, &str); 2] = [
    ("side = \"both\"", "side = \"outside\""),
    (
        "[[service]]",
        "[[interface]]\nname = \"sw-two\"\nside = \"inside\"\n[[service]]",
    ),
];
const LOCAL: [(&str, &str); 2] = [
    ("side = \"both\"", "side = \"outside\""),
    ("ports = [80]", "ports = [80]\nhandoff = \"local\""),
];

fn add_two(lab: &Lab, queues: &str) {
    let count = ["numrxqueues", queues, "numtxqueues", queues];
    let (add, peer) = (
        ["link", "add", TWO],
        ["type", "veth", "peer", "name", "sw-two-peer"],
    );
    lab.ip(&[&add[..], &count, &peer, &count].concat());
    for end in [TWO, "sw-two-peer"] {
        lab.ip(&["link", "set", end, "up"]);
    }
}

/// What was mended, and all faults.
fn mend(lab: &Lab, steering: &mut Steering) -> (Vec<Mended>, String) {
    inside(&lab.here(), || {
        let mut mended = vec![];
        let error = steering.mend_interfaces(&mut mended).err();
        let error = error.map(|error| error.to_string());
        let faults = steering.find_faults(true).unwrap().join("; ");
        (mended, error.unwrap_or_default() + &faults)
    })
}

fn again(name: &str, slot: u32, replaced: Option<u32>) -> Mended {
    Mended {
        name: name.to_owned(),
        slot,
        replaced,
    }
}

/// The ids of the programs at TC of an interface of the appliance (tcx).
fn at_tc(lab: &Lab) -> Vec<u32> {
    let query = || {
        SchedClassifier::query_tcx(HERE, TcAttachType::Ingress)
            .unwrap()
            .1
    };
    let programs = inside(&lab.here(), query);
    programs.iter().map(|one| one.id()).collect()
}

/// A network namespace without interfaces.
struct Elsewhere(String);

impl Elsewhere {
    fn new(lab: &Lab) -> Self {
        let name = format!("{}-elsewhere", lab.here());
        run("ip", &["netns", "add", &name]);
        Self(name)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // A panic here would hide that of the test.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// The sockets and the program at TC of an interface go when it leaves the network namespace. The XDP program stays.
#[test]
fn an_interface_that_was_elsewhere_is_steered_again() {
    let lab = Lab::new();
    let elsewhere = Elsewhere::new(&lab);
    for edits in [&[][..], &LOCAL] {
        let mut steering = lab.steer(edits).unwrap();
        let index = lab.index();
        let tc = at_tc(&lab);
        assert_eq!(tc.len(), usize::from(!edits.is_empty()));
        // Longer than a round, and between two rounds.
        for is_noticed in [true, false] {
            lab.ip(&["link", "set", HERE, "netns", &elsewhere.0]);
            if is_noticed {
                let (mended, fault) = mend(&lab, &mut steering);
                assert_eq!(mended, []);
                assert!(fault.starts_with("sw-here is gone"), "{fault}");
            }
            ip_in(&elsewhere.0, &["link", "set", HERE, "netns", &lab.here()]);
            lab.ip(&["link", "set", HERE, "up"]);
            assert_eq!(lab.index(), index, "it keeps its index");
            let expected = vec![again(HERE, 0, Some(index))];
            assert_eq!(mend(&lab, &mut steering), (expected, String::new()));
            assert_eq!(at_tc(&lab), tc);
            assert_eq!(mend(&lab, &mut steering), (vec![], String::new()), "once");
        }
        let (id, native) = lab.xdp(HERE).unwrap();
        assert!(native);
        steering.stop(false).unwrap();
        lab.assert_clean(Some(id));
        assert!(at_tc(&lab).is_empty());
        lab.ip(&["addr", "add", "192.0.2.1/24", "dev", HERE]);
        lab.ip(&["addr", "add", "192.0.2.10/24", "dev", HERE]);
        lab.ip(&["addr", "add", "2001:db8::10/64", "nodad", "dev", HERE]);
    }
}

#[test]
fn a_recreated_interface_with_the_same_index_is_another_one() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    let index = lab.index();
    let create = |name, index: &str| {
        lab.ip(&["link", "del", HERE]);
        lab.ip(&[
            "link", "add", name, "index", index, "type", "veth", "peer", "name", "sw-other",
        ]);
        for end in [name, "sw-other"] {
            lab.ip(&["link", "set", end, "up"]);
        }
    };
    create(HERE, &index.to_string());
    let (mended, _) = mend(&lab, &mut steering);
    assert_eq!(mended, [again(HERE, 0, Some(index))]);
    assert!(lab.xdp(HERE).is_some());
    // An interface of another name that has the index is none of ours.
    create("sw-new", &index.to_string());
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(mended, []);
    assert!(fault.starts_with("sw-here is gone"), "{fault}");
    assert_eq!(lab.xdp("sw-new"), None);
    steering.stop(false).unwrap();
}

#[test]
fn a_renamed_interface_goes_on_and_its_namesake_is_named() {
    let lab = Lab::new();
    let mut steering = lab.steer(&LOCAL).unwrap();
    let (id, _) = lab.xdp(HERE).unwrap();
    let tc = at_tc(&lab);
    let rename = |from, to| {
        lab.ip(&["link", "set", from, "down"]);
        lab.ip(&["link", "set", from, "name", to]);
        lab.ip(&["link", "set", to, "up"]);
    };
    rename(HERE, "sw-lan");
    assert_eq!(mend(&lab, &mut steering), (vec![], String::new()));
    assert_eq!(lab.xdp("sw-lan"), Some((id, true)));
    // What it loses under its new name is attached again.
    detach_link_of(id);
    detach_link_of(tc[0]);
    assert_eq!(lab.xdp("sw-lan"), None);
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(
        (mended, fault),
        (vec![again("sw-lan", 0, None)], String::new())
    );
    assert_eq!(lab.xdp("sw-lan"), Some((id, true)));
    lab.ip(&[
        "link", "add", HERE, "type", "veth", "peer", "name", "sw-other",
    ]);
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(mended, []);
    assert!(fault.starts_with("sw-here is another interface"), "{fault}");
    lab.ip(&["link", "del", HERE]);
    rename("sw-lan", HERE);
    assert_eq!(mend(&lab, &mut steering), (vec![], String::new()));
    assert_eq!(at_tc(&lab), tc);
    steering.stop(false).unwrap();
    lab.assert_clean(Some(id));
}

/// `ip link set dev X xdp off` and another program are refused while the link is attached.
#[test]
fn the_program_is_not_taken_off_by_hand() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[]).unwrap();
    let ours = lab.xdp(HERE);
    let net = format!("--net=/run/netns/{}", lab.here());
    // Nothing is attached in generic mode, so that nothing is refused there.
    for (word, is_refused) in [("xdp", true), ("xdpdrv", true), ("xdpgeneric", false)] {
        let arguments = [&net, "ip", "link", "set", "dev", HERE, word, "off"];
        let ended = Command::new("nsenter").args(arguments).output().unwrap();
        assert_eq!(ended.status.success(), !is_refused, "{word}: {ended:?}");
        assert_eq!(lab.xdp(HERE), ours, "{word}");
        assert_eq!(mend(&lab, &mut steering), (vec![], String::new()));
    }
    // Nor is it replaced by another program.
    let other = foreign_program::load("other");
    let index = lab.index();
    let refused = inside(&lab.here(), || foreign_program::try_attach(&other, index));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    assert_eq!(lab.xdp(HERE), ours);
    // A link can be detached nevertheless. Then another program may come before we notice.
    let (id, _) = ours.unwrap();
    detach_link_of(id);
    let link = inside(&lab.here(), || foreign_program::attach(&other, index));
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(mended, []);
    assert!(fault.starts_with("sw-here runs XDP program"), "{fault}");
    drop(link);
    assert_eq!(
        mend(&lab, &mut steering),
        (vec![again(HERE, 0, None)], String::new())
    );
    steering.stop(false).unwrap();
    lab.assert_clean(Some(id));
}

#[test]
fn the_program_at_tc_is_attached_again() {
    let lab = Lab::new();
    let pin = format!("pin = {:?}", lab.pin());
    let not_pinned = [LOCAL[0], LOCAL[1], (pin.as_str(), "pin = \"\"")];
    for edits in [&LOCAL[..], &not_pinned] {
        let mut steering = lab.steer(edits).unwrap();
        let tc = at_tc(&lab);
        assert_eq!(tc.len(), 1);
        // `tc filter del` and `tc qdisc del` do not concern it.
        lab.tc(&["qdisc", "add", "dev", HERE, "clsact"]);
        let _ = lab.try_tc(&["filter", "del", "dev", HERE, "ingress"]);
        lab.tc(&["qdisc", "del", "dev", HERE, "clsact"]);
        assert_eq!(at_tc(&lab), tc);
        assert_eq!(mend(&lab, &mut steering), (vec![], String::new()));
        detach_link_of(tc[0]);
        assert!(at_tc(&lab).is_empty());
        assert_eq!(
            mend(&lab, &mut steering),
            (vec![again(HERE, 0, None)], String::new())
        );
        assert_eq!(at_tc(&lab), tc);
        steering.stop(false).unwrap();
        assert!(at_tc(&lab).is_empty());
    }
}

#[test]
fn an_interface_that_cannot_be_steered_again_does_not_delay_another() {
    let lab = Lab::new();
    add_two(&lab, "2");
    let needs_both = ("xdp = \"auto\"", "xdp = \"auto\"\nqueues = [0, 1]");
    let mut steering = lab.steer(&[WITH_TWO[0], WITH_TWO[1], needs_both]).unwrap();
    let before = [HERE, TWO].map(|name| lab.xdp(name));
    lab.ip(&["link", "del", HERE]);
    lab.ip(&["link", "del", TWO]);
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(mended, []);
    assert_eq!(
        fault.matches(" is gone: create it again").count(),
        2,
        "{fault}"
    );
    // The first comes back with too few queues.
    lab.ip(&[
        "link", "add", HERE, "type", "veth", "peer", "name", "sw-other",
    ]);
    add_two(&lab, "2");
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!(mended.len(), 1, "{fault}");
    assert_eq!((mended[0].name.as_str(), mended[0].slot), (TWO, 1));
    assert!(fault.contains("queue"), "{fault}");
    assert_eq!(lab.xdp(TWO), before[1]);
    lab.ip(&["link", "del", HERE]);
    let count = ["numrxqueues", "2", "numtxqueues", "2"];
    let peer = ["type", "veth", "peer", "name", "sw-other"];
    lab.ip(&[&["link", "add", HERE][..], &count, &peer, &count].concat());
    for end in [HERE, "sw-other"] {
        lab.ip(&["link", "set", end, "up"]);
    }
    let (mended, fault) = mend(&lab, &mut steering);
    assert_eq!((mended.len(), fault.as_str()), (1, ""));
    assert_eq!(lab.xdp(HERE), before[0]);
    steering.stop(false).unwrap();
}

#[test]
fn pins_that_are_removed_are_made_again() {
    let lab = Lab::new();
    for edits in [&[][..], &LOCAL] {
        let mut steering = lab.steer(edits).unwrap();
        let (id, _) = lab.xdp(HERE).unwrap();
        let tc = at_tc(&lab);
        let pinned = lab.pinned();
        // The look at the programs may come before the one at the pins.
        if !edits.is_empty() {
            fs::remove_file(lab.pin().join("tcx-sw-here")).unwrap();
            assert_eq!(mend(&lab, &mut steering), (vec![], String::new()));
            assert_eq!(at_tc(&lab), tc);
            assert_eq!(inside(&lab.here(), || steering.mend_pins()).unwrap(), 1);
        }
        let mut repin = || inside(&lab.here(), || steering.mend_pins()).unwrap();
        assert_eq!(repin(), 0);
        for name in ["map-FLOWS", "link-sw-here"] {
            fs::remove_file(lab.pin().join(name)).unwrap();
        }
        assert_eq!(repin(), 2);
        assert_eq!(lab.pinned(), pinned);
        fs::remove_dir_all(lab.pin()).unwrap();
        assert_eq!(repin(), pinned.len());
        assert_eq!(lab.pinned(), pinned);
        assert_eq!(repin(), 0);
        assert_eq!(
            (lab.xdp(HERE), at_tc(&lab)),
            (Some((id, true)), tc),
            "without a gap"
        );
        let held = lab.load(edits).unwrap_err().to_string();
        assert!(
            held.contains("another synward"),
            "the folder is locked again: {held}"
        );
        steering.stop(false).unwrap();
        lab.assert_clean(Some(id));
        assert!(at_tc(&lab).is_empty());
    }
}

/// The programs stay attached, and one that is lost meanwhile is attached again.
#[test]
fn a_pin_that_cannot_be_made_again_ends_nothing() {
    let lab = Lab::new();
    let mut steering = lab.steer(&LOCAL).unwrap();
    let (id, _) = lab.xdp(HERE).unwrap();
    let tc = at_tc(&lab);
    let pinned = lab.pinned();
    let links = ["link-sw-here", "tcx-sw-here"].map(|name| lab.pin().join(name));
    for link in &links {
        fs::remove_file(link).unwrap();
        // It leads nowhere: nothing is there, and nothing can be pinned there.
        symlink(lab.pin().join("nothing"), link).unwrap();
    }
    fs::remove_file(lab.pin().join("map-FLOWS")).unwrap();
    for is_lost in [false, true] {
        let error = inside(&lab.here(), || steering.mend_pins()).unwrap_err();
        assert!(error.to_string().contains("link-sw-here"), "{error}");
        assert!(lab.pin().join("map-FLOWS").exists(), "others are pinned");
        assert_eq!((lab.xdp(HERE), at_tc(&lab)), (Some((id, true)), tc.clone()));
        if is_lost {
            detach_link_of(id);
            detach_link_of(tc[0]);
        }
        let expected = if is_lost {
            vec![again(HERE, 0, None)]
        } else {
            vec![]
        };
        assert_eq!(mend(&lab, &mut steering), (expected, String::new()));
        assert_eq!((lab.xdp(HERE), at_tc(&lab)), (Some((id, true)), tc.clone()));
    }
    for link in &links {
        fs::remove_file(link).unwrap();
    }
    let mut repin = || inside(&lab.here(), || steering.mend_pins()).unwrap();
    assert_eq!((repin(), repin()), (2, 0));
    assert_eq!(lab.pinned(), pinned);
    assert_eq!((lab.xdp(HERE), at_tc(&lab)), (Some((id, true)), tc));
    steering.stop(false).unwrap();
    lab.assert_clean(Some(id));
}

//! Frames of VLANs: those that this machine has a device for are looked through, those that it ignores are left to it.

use synward_core::counters::Counter;

use crate::frame_builder::{ACK, SYN, Segment, stack};
use crate::steer::{Side, Steer, in_namespace};
use crate::{Case, PASS, TX, needs_root};

const CUSTOMER: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

fn syn(family: usize, tags: &[(u16, u16)]) -> Vec<u8> {
    let segment = Segment {
        options: stack::linux(),
        tags: tags.to_vec(),
        ..Segment::from_client(family, SYN)
    };
    segment.bytes()
}

fn assert_answered(steer: &mut Steer, tags: &[(u16, u16)]) {
    for family in [0, 1] {
        let before = steer.counters();
        assert_eq!(
            steer.run(Side::Outside, &syn(family, tags)).verdict,
            TX,
            "{tags:x?}"
        );
        steer.assert_counted(&before, &[Counter::Syn, Counter::AnsweredXdp], "answered");
    }
}

fn assert_ignored(steer: &mut Steer, tags: &[(u16, u16)]) {
    for family in [0, 1] {
        let ack = Segment {
            acknowledgement: 9,
            tags: tags.to_vec(),
            ..Segment::from_client(family, ACK)
        };
        let frames = [("SYN", syn(family, tags)), ("ACK", ack.bytes())];
        steer.check(
            frames
                .map(|(what, frame)| Case {
                    what,
                    frame,
                    side: Side::Outside,
                    verdict: PASS,
                    counted: &[],
                })
                .into(),
        );
    }
}

#[test]
fn only_vlans_with_a_device_are_served() {
    needs_root!();
    in_namespace(|steer| {
        let (seven, eight, outer) = ((CUSTOMER, 7), (CUSTOMER, 8), (SERVICE_TAG, 100));
        steer.vlan_device(&[seven]);
        steer.vlan_device(&[outer]);
        steer.vlan_device(&[outer, seven]);
        for served in [
            &[][..],
            &[(CUSTOMER, 0xe000)],
            &[seven],
            &[(CUSTOMER, 0xe007)],
            &[(CUSTOMER, 0), seven],
            &[outer, seven],
        ] {
            assert_answered(steer, served);
        }
        for ignored in [
            &[eight][..],
            &[(SERVICE_TAG, 7)],
            &[outer, eight],
            &[seven, eight],
            &[(CUSTOMER, 0), eight],
        ] {
            assert_ignored(steer, ignored);
        }
    });
}

#[test]
fn a_port_of_a_bridge_looks_through_any_tag() {
    needs_root!();
    in_namespace(|steer| {
        assert_ignored(steer, &[(CUSTOMER, 9)]);
        steer.vlan_device(&[]);
        assert_answered(steer, &[(CUSTOMER, 9)]);
    });
}

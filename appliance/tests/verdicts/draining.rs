//! While the appliance drains, SYNs are dropped, and everything that exists already goes on.

use synward_core::counters::Counter;
use synward_core::layout::handoff;

use crate::frame_builder::{ACK, Segment, syns_of_both_paths};
use crate::spliced_flows::flow;
use crate::steer::{Side, in_namespace};
use crate::{DROP, PASS, TX, needs_root, outside};

#[test]
fn syns_are_dropped_for_every_handoff() {
    needs_root!();
    in_namespace(|steer| {
        for handoff in [handoff::SPLICE, handoff::LOCAL, handoff::FORWARD] {
            for syn in syns_of_both_paths() {
                steer.policy(|service| (service.handoff, service.draining) = (handoff, 1));
                let counted = &[Counter::Syn, Counter::DropDraining];
                steer.check(vec![outside("draining", &syn, DROP, counted)]);
                // Nothing listens there: the kernel refuses the connection of a local service.
                let expected = if handoff == handoff::LOCAL { PASS } else { TX };
                steer.policy(|service| service.handoff = handoff);
                let seen = steer.run(Side::Outside, &syn.bytes());
                assert_eq!(seen.verdict, expected, "after the drain");
            }
        }
    });
}

#[test]
fn allowed_clients_open_no_connection_either() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| (service.listed, service.draining) = (1, 1));
        steer.list("0.0.0.0/0", 1);
        let syn = &syns_of_both_paths()[0];
        let counted = &[Counter::Syn, Counter::DropDraining];
        steer.check(vec![outside("allowed", syn, DROP, counted)]);
        let ack = Segment::from_client(0, ACK);
        steer.check(vec![outside("allowed", &ack, PASS, &[Counter::Passed])]);
    });
}

#[test]
fn cookies_that_are_out_stay_good() {
    needs_root!();
    in_namespace(|steer| {
        for syn in syns_of_both_paths() {
            let ack = steer.shake_hands(&syn);
            steer.policy(|service| service.draining = 1);
            // No worker is there that would open the connection.
            let counted = &[Counter::CookieValid, Counter::Waiting];
            steer.check(vec![outside("a cookie", &ack, DROP, counted)]);
            steer.policy(|_| {});
        }
    });
}

#[test]
fn flows_go_on() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.draining = 1);
        for family in [0, 1] {
            steer.place(flow(family));
            let before = steer.counters();
            let segment = Segment {
                acknowledgement: 9,
                ..Segment::from_client(family, ACK)
            };
            let seen = steer.run(Side::Outside, &segment.bytes());
            assert_ne!(seen.verdict, DROP);
            steer.assert_counted(&before, &[Counter::ToServer], "a flow");
        }
    });
}

//! Without a worker for some seconds, SYNs of spliced services are not answered any more: nobody could open the connection.

use synward_core::counters::Counter;
use synward_core::layout::{ABSENT_AFTER, HEARTBEAT_TIMEOUT, when_absent};

use crate::frame_builder::{Segment, syns_of_both_paths};
use crate::steer::{Side, Steer, in_namespace, now};
use crate::{Case, DROP, PASS, TX, needs_root, outside_frame};

fn outside(frame: Vec<u8>, verdict: u32, counted: &'static [Counter]) -> Case {
    outside_frame("without a worker", frame, verdict, counted)
}

fn beat(steer: &mut Steer, ago: u64) {
    steer.set("HEARTBEATS", 0, now() - ago);
}

#[test]
fn syns_are_answered_until_the_worker_was_absent_for_long() {
    needs_root!();
    in_namespace(|steer| {
        for (policy, ago, answered) in [
            (when_absent::ANSWER, ABSENT_AFTER, true),
            (when_absent::DROP, HEARTBEAT_TIMEOUT, true),
            (when_absent::PASS, HEARTBEAT_TIMEOUT, true),
            (when_absent::DROP, ABSENT_AFTER, false),
            (when_absent::PASS, ABSENT_AFTER, false),
        ] {
            steer.policy(|service| service.when_absent = policy);
            beat(steer, ago);
            for syn in syns_of_both_paths() {
                let seen = steer.run(Side::Outside, &syn.bytes());
                assert_eq!(seen.verdict == TX, answered, "policy {policy}, {ago} ns");
            }
        }
    });
}

#[test]
fn what_has_no_flow_is_dropped_or_passes() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.when_absent = when_absent::DROP);
        beat(steer, ABSENT_AFTER);
        for syn in syns_of_both_paths() {
            steer.check(vec![outside(
                syn.bytes(),
                DROP,
                &[Counter::Syn, Counter::DropNoWorker],
            )]);
        }
        steer.policy(|service| service.when_absent = when_absent::PASS);
        beat(steer, ABSENT_AFTER);
        for syn in syns_of_both_paths() {
            steer.check(vec![outside(
                syn.bytes(),
                PASS,
                &[Counter::Syn, Counter::Passed],
            )]);
        }
        for family in [0, 1] {
            steer.check(vec![outside(
                Segment::ack_without_cookie(family).bytes(),
                PASS,
                &[Counter::Passed],
            )]);
        }
        beat(steer, 0);
        let counted = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
        steer.check(vec![outside(
            Segment::ack_without_cookie(0).bytes(),
            DROP,
            counted,
        )]);
    });
}

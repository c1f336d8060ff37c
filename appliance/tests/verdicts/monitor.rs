//! Mode `monitor`: everything passes, and what mode `always` would have done is counted.

use std::net::SocketAddr;

use synward_core::counters::Counter;
use synward_core::layout::{handoff, mode, plain_cookies};

use crate::frame_builder::{ACK, FIN, RST, Segment, stack};
use crate::steer::{Side, in_namespace, now};
use crate::{DROP, PASS, TX, needs_root, outside};

fn from(segment: &Segment, source: &str) -> Segment {
    Segment {
        source: SocketAddr::new(source.parse().unwrap(), 40_001),
        ..segment.clone()
    }
}

#[test]
fn what_always_would_have_done_is_counted() {
    needs_root!();
    in_namespace(|steer| {
        for (family, denied, allowed, impossible) in [
            (0, "198.51.101.1", "198.51.102.1", "224.0.0.1"),
            (1, "2001:db8:d::1", "2001:db8:a::1", "ff02::1"),
        ] {
            for (source, verdict) in [(denied, 2), (allowed, 1)] {
                let all = if family == 0 { 32 } else { 128 };
                steer.list(&format!("{source}/{all}"), verdict);
            }
            let monitored = |service: &mut synward_core::layout::Service| {
                (service.mode, service.listed) = (mode::MONITOR, 1);
                service.plain_cookies = plain_cookies::REFUSE;
            };
            let plain = Segment {
                options: stack::windows(),
                ..Segment::linux_syn(family)
            };
            let with = |flags| Segment::from_client(family, flags);
            steer.policy(monitored);
            steer.check(vec![
                outside(
                    "a SYN",
                    &Segment::linux_syn(family),
                    PASS,
                    &[Counter::Syn, Counter::WouldAnswer, Counter::Passed],
                ),
                outside(
                    "a SYN without timestamps",
                    &plain,
                    PASS,
                    &[
                        Counter::Syn,
                        Counter::WouldDropPlainRefused,
                        Counter::Passed,
                    ],
                ),
                outside(
                    "a denied SYN",
                    &from(&Segment::linux_syn(family), denied),
                    PASS,
                    &[Counter::Syn, Counter::WouldDropDenied, Counter::Passed],
                ),
                outside(
                    "a denied ACK",
                    &from(&with(ACK), denied),
                    PASS,
                    &[Counter::WouldDropDenied, Counter::Passed],
                ),
                outside(
                    "an allowed SYN",
                    &from(&Segment::linux_syn(family), allowed),
                    PASS,
                    &[Counter::Syn, Counter::Passed],
                ),
                outside(
                    "an impossible source",
                    &from(&Segment::linux_syn(family), impossible),
                    PASS,
                    &[
                        Counter::Syn,
                        Counter::WouldDropImpossibleSource,
                        Counter::Passed,
                    ],
                ),
                outside(
                    "an ACK, which may end a handshake",
                    &with(ACK),
                    PASS,
                    &[Counter::Passed],
                ),
                outside(
                    "an allowed RST",
                    &from(&with(RST), allowed),
                    PASS,
                    &[Counter::Passed],
                ),
                outside(
                    "a RST",
                    &with(RST),
                    PASS,
                    &[Counter::WouldDropUnknown, Counter::Passed],
                ),
                outside(
                    "a FIN without ACK",
                    &with(FIN),
                    PASS,
                    &[Counter::WouldDropUnknown, Counter::Passed],
                ),
            ]);
            steer.policy(|service| {
                monitored(service);
                service.handoff = handoff::FORWARD;
            });
            steer.check(vec![outside(
                "an edge",
                &with(RST),
                PASS,
                &[Counter::Passed],
            )]);
            steer.policy(|service| {
                monitored(service);
                service.adopt_until = now() + 60_000_000_000;
            });
            steer.check(vec![outside(
                "adopted",
                &with(RST),
                PASS,
                &[Counter::Passed],
            )]);
            steer.policy(monitored);
        }
        let fragment = Segment {
            extensions: vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])],
            ..Segment::linux_syn(1)
        };
        let would = &[Counter::WouldDropFragment];
        steer.check(vec![outside("a fragment", &fragment, PASS, would)]);
        steer.policy(|service| (service.mode, service.pass_fragments) = (mode::MONITOR, 1));
        steer.check(vec![outside("fragments pass", &fragment, PASS, &[])]);
    });
}

/// Beyond the budget of replies to one prefix most SYNs would have got no answer.
#[test]
fn a_budget_that_would_be_spent_is_counted() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| (service.mode, service.replies) = (mode::MONITOR, 100));
        let moved = steer.run_often(&Segment::linux_syn(0).bytes(), 20_000);
        let [answered, dropped] = [Counter::WouldAnswer, Counter::WouldDropReplyBudget].map(&moved);
        assert_eq!(answered + dropped, 20_000);
        assert!(answered > 0 && dropped > 1000, "{answered}, {dropped}");
        assert_eq!(moved(Counter::Passed), 20_000);
    });
}

/// In the other modes nothing would have been: it is.
#[test]
fn other_modes_count_nothing_of_it() {
    needs_root!();
    in_namespace(|steer| {
        steer.list("198.51.101.1/32", 2);
        for (mode, verdict, denied) in [(mode::OFF, PASS, DROP), (mode::ALWAYS, TX, DROP)] {
            steer.policy(|service| (service.mode, service.listed) = (mode, 1));
            let before = steer.counters();
            let seen = steer.run(Side::Outside, &Segment::linux_syn(0).bytes());
            assert_eq!(seen.verdict, verdict);
            let seen = steer.run(
                Side::Outside,
                &from(&Segment::linux_syn(0), "198.51.101.1").bytes(),
            );
            assert_eq!(seen.verdict, denied, "mode auto drops the denied ones, too");
            let after = steer.counters();
            let first = Counter::WouldAnswer as usize;
            assert_eq!(before[first..], after[first..]);
        }
    });
}

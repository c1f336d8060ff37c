//! Connections that were quiet while the appliance adopted those that it found: their server judges a few segments.

use synward_core::counters::Counter;
use synward_core::flow_time::FlowTime;
use synward_core::layout::JUDGED_PER_PREFIX;

use crate::frame_builder::{ACK, FIN, PSH, RST, SYN, Segment};
use crate::steer::{Side, Steer, in_namespace, now};
use crate::{Case, DROP, PASS, assert_observed, needs_root, outside};

const JUDGED: &[Counter] = &[Counter::CookieInvalid, Counter::Passed];
const REFUSED: &[Counter] = &[Counter::CookieInvalid, Counter::DropInvalidCookie];

/// An ACK from another address of the client's prefix, or of another prefix.
fn ack(family: usize, host: u8, prefix: u8) -> Segment {
    let mut segment = Segment {
        acknowledgement: 9,
        ..Segment::from_client(family, ACK)
    };
    let address = match family {
        0 => format!("198.51.{prefix}.{host}"),
        _ => format!("2001:db8:{prefix}:{host}::2"),
    };
    segment.source.set_ip(address.parse().unwrap());
    segment
}

/// Runs a table within a unit of flow time, in which budgets hold: again, with the prefixes of `ack` one higher, if this machine
/// stopped until the next unit.
fn check_in_a_unit(steer: &mut Steer, cases: impl Fn(u8) -> Vec<Case>) {
    for prefix in 100..=u8::MAX {
        while now() % FlowTime::UNIT_NS > FlowTime::UNIT_NS / 4 {
            std::thread::yield_now();
        }
        let (cases, unit) = (cases(prefix), now() / FlowTime::UNIT_NS);
        let observed = steer.observe(&cases);
        if now() / FlowTime::UNIT_NS == unit {
            return assert_observed(&cases, &observed);
        }
    }
    panic!("this machine never runs the table within a unit of flow time");
}

#[test]
fn each_prefix_has_a_small_budget() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.judge_until = u64::MAX);
        for family in [0, 1] {
            check_in_a_unit(steer, |prefix| {
                let within = |host| ack(family, host, prefix);
                let mut cases: Vec<_> = (1..=JUDGED_PER_PREFIX as u8)
                    .map(|host| outside("within the budget", &within(host), PASS, JUDGED))
                    .collect();
                cases.extend([
                    outside("beyond it", &within(99), DROP, REFUSED),
                    outside("another prefix", &ack(family, 1, prefix / 2), PASS, JUDGED),
                ]);
                cases
            });
        }
        steer.policy(|service| service.judge_until = now());
        steer.check(vec![outside("later", &ack(0, 1, 99), DROP, REFUSED)]);
    });
}

#[test]
fn only_acks_are_judged() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.judge_until = u64::MAX);
        let with = |flags| Segment {
            flags,
            ..ack(0, 1, 100)
        };
        for flags in [RST, RST | ACK, SYN | ACK, FIN, 0] {
            steer.check(vec![outside(
                "no ACK",
                &with(flags),
                DROP,
                &[Counter::DropUnknown],
            )]);
        }
        steer.check(vec![outside("FIN-ACK", &with(FIN | ACK), PASS, JUDGED)]);
    });
}

/// The server's answer teaches the connection, however many segments follow. Its RST does not.
#[test]
fn the_server_decides() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.judge_until = u64::MAX);
        for family in [0, 1] {
            check_in_a_unit(steer, |prefix| {
                let client = ack(family, 1, prefix);
                let answer = |flags| Segment {
                    destination: client.source,
                    acknowledgement: 10,
                    ..Segment::from_server(family, flags)
                };
                let inside = |what, flags, counted| Case {
                    what,
                    frame: answer(flags).bytes(),
                    side: Side::Inside,
                    verdict: PASS,
                    counted,
                };
                let judged = || outside("judged", &client, PASS, JUDGED);
                let mut cases: Vec<_> = (0..JUDGED_PER_PREFIX).map(|_| judged()).collect();
                cases.extend([
                    inside("RST", RST, &[]),
                    outside("refused", &client, DROP, REFUSED),
                    inside("data", ACK | PSH, &[Counter::Learned]),
                    outside("learned", &client, PASS, &[Counter::Passed]),
                    outside("learned", &client, PASS, &[Counter::Passed]),
                ]);
                cases
            });
        }
    });
}

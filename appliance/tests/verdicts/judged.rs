//! Connections that were quiet while the appliance adopted those that it found: their server judges a few segments.

use synward_core::counters::Counter;
use synward_core::flow_time::FlowTime;
use synward_core::layout::JUDGED_PER_PREFIX;

use crate::frame_builder::{ACK, FIN, PSH, RST, SYN, Segment};
use crate::steer::{Side, in_namespace, now};
use crate::{Case, DROP, PASS, needs_root, outside};

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

/// Waits for the beginning of a unit of flow time, so that what follows lies in one.
fn begin_unit() {
    while now() % FlowTime::UNIT_NS > FlowTime::UNIT_NS / 4 {
        std::thread::yield_now();
    }
}

#[test]
fn each_prefix_has_a_small_budget() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.judge_until = u64::MAX);
        for family in [0, 1] {
            begin_unit();
            for host in 1..=JUDGED_PER_PREFIX as u8 {
                steer.check(vec![outside(
                    "within the budget",
                    &ack(family, host, 100),
                    PASS,
                    JUDGED,
                )]);
            }
            steer.check(vec![
                outside("beyond it", &ack(family, 99, 100), DROP, REFUSED),
                outside("another prefix", &ack(family, 1, 101), PASS, JUDGED),
            ]);
        }
        steer.policy(|service| service.judge_until = now());
        steer.check(vec![outside("later", &ack(0, 1, 102), DROP, REFUSED)]);
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
        begin_unit();
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
            let client = ack(family, 1, 100);
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
            begin_unit();
            for _ in 0..JUDGED_PER_PREFIX {
                steer.check(vec![outside("judged", &client, PASS, JUDGED)]);
            }
            steer.check(vec![
                inside("RST", RST, &[]),
                outside("refused", &client, DROP, REFUSED),
                inside("data", ACK | PSH, &[Counter::Learned]),
                outside("learned", &client, PASS, &[Counter::Passed]),
                outside("learned", &client, PASS, &[Counter::Passed]),
            ]);
        }
    });
}

//! Segments that match no flow: what the policy does with them, and how connections older than the appliance are adopted.

use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Passed, unknown_policy};

use crate::frame_builder::{ACK, CLIENT_MAC, FIN, OUT_MAC, PSH, RST, SYN, Segment};
use crate::frame_reader::read;
use crate::policy::{PASSED, ack, syn};
use crate::steer::{Shared, Side, in_namespace, now};
use crate::{Case, DROP, PASS, TX, needs_root, outside};

const CHECKED: &[Counter] = &[Counter::CookieInvalid, Counter::Passed];

/// Segments that match no flow, and the reason of their drop.
fn strangers(family: usize) -> Vec<(&'static str, Segment, &'static [Counter])> {
    let invalid: &[Counter] = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
    let unknown: &[Counter] = &[Counter::DropUnknown];
    let with = |flags| Segment {
        flags,
        ..ack(family)
    };
    vec![
        ("ACK", with(ACK), invalid),
        (
            "ACK with data",
            Segment {
                payload: b"data".to_vec(),
                flags: ACK | PSH,
                ..ack(family)
            },
            invalid,
        ),
        ("FIN-ACK", with(ACK | FIN), invalid),
        ("SYN-ACK", with(SYN | ACK), unknown),
        ("RST", with(RST), unknown),
        ("RST-ACK", with(RST | ACK), unknown),
        ("FIN without ACK", with(FIN), unknown),
        ("no flags at all", with(0), unknown),
        ("SYN-FIN", with(SYN | FIN), unknown),
        ("SYN-RST", with(SYN | RST), unknown),
    ]
}

#[test]
fn unknown_segments_are_dropped_and_counted_by_reason() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            for (what, segment, counted) in strangers(family) {
                steer.check(vec![outside(what, &segment, DROP, counted)]);
            }
        }
    });
}

#[test]
fn unknown_segments_pass_if_the_policy_is_pass() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.unknown_policy = unknown_policy::PASS);
        for family in [0, 1] {
            for (what, segment, counted) in strangers(family) {
                let counted: &[Counter] = match counted {
                    [first, _] if *first == Counter::CookieInvalid => {
                        &[Counter::CookieInvalid, Counter::Passed]
                    }
                    _ => PASSED,
                };
                steer.check(vec![outside(what, &segment, PASS, counted)]);
            }
        }
    });
}

/// RFC 9293 §3.10.7.1: "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN>
/// <CTL=RST,ACK>; if the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>". Never in answer to a RST.
#[test]
fn unknown_segments_are_reset_if_the_policy_is_reset() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.unknown_policy = unknown_policy::RESET);
        for family in [0, 1] {
            for (what, segment, _) in strangers(family) {
                let before = steer.counters();
                let seen = steer.run(Side::Outside, &segment.bytes());
                if segment.flags & RST != 0 {
                    assert_eq!(seen.verdict, DROP, "{what}");
                    steer.assert_counted(&before, &[Counter::DropUnknown], what);
                    continue;
                }
                assert_eq!(seen.verdict, TX, "{what}");
                let reset = read(&seen.frame);
                assert_eq!((reset.to, reset.from), (CLIENT_MAC, OUT_MAC));
                assert_eq!(
                    (reset.source, reset.destination),
                    (segment.destination, segment.source)
                );
                assert!(
                    reset.tcp.rst && !reset.tcp.syn && !reset.tcp.fin && reset.payload.is_empty()
                );
                assert_eq!(reset.trailing, 0, "{what}");
                let marks = [SYN, FIN]
                    .into_iter()
                    .filter(|mark| segment.flags & mark != 0)
                    .count();
                let length = (segment.payload.len() + marks) as u32;
                let (sequence, acknowledgement) = if segment.flags & ACK != 0 {
                    (segment.acknowledgement, 0)
                } else {
                    (0, segment.sequence.wrapping_add(length))
                };
                assert_eq!(reset.tcp.sequence_number, sequence, "{what}");
                assert_eq!(reset.tcp.acknowledgment_number, acknowledgement, "{what}");
                assert_eq!(reset.tcp.ack, segment.flags & ACK == 0, "{what}");
            }
        }
    });
}

#[test]
fn older_connections_are_learned_only_from_the_server() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let from_server = |flags, port: u16| {
                let mut segment = Segment {
                    acknowledgement: 9,
                    ..Segment::from_server(family, flags)
                };
                segment.destination.set_port(port);
                segment
            };
            let from_client = |flags, port: u16| {
                let mut segment = Segment {
                    flags,
                    ..ack(family)
                };
                segment.source.set_port(port);
                segment
            };
            let inside = |what, segment: Segment, counted| Case {
                what,
                frame: segment.bytes(),
                side: Side::Inside,
                verdict: PASS,
                counted,
            };
            let invalid: &[Counter] = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
            steer.check(vec![
                outside("not known yet", &from_client(ACK, 5001), DROP, invalid),
                inside(
                    "the server's data",
                    from_server(ACK | PSH, 5001),
                    &[Counter::Learned],
                ),
                inside("more of it", from_server(ACK | PSH, 5001), &[]),
                outside("learned", &from_client(ACK, 5001), PASS, PASSED),
            ]);
            // Seen last by a CPU whose clock is one unit of flow time ahead.
            let segment = from_client(ACK, 5001);
            let key = FlowKey::new(
                segment.source.ip().into(),
                segment.source.port(),
                segment.destination.ip().into(),
                segment.destination.port(),
            );
            let mut passed = steer.hash_map::<_, Shared<Passed>>("PASSED");
            let mut ahead = passed.get(&Shared(key), 0).unwrap();
            ahead.0.last_seen = ahead.0.last_seen.wrapping_add(1);
            passed.insert(Shared(key), ahead, 0).unwrap();
            steer.check(vec![
                outside("seen in the next unit of flow time", &segment, PASS, PASSED),
                outside("its FIN", &from_client(ACK | FIN, 5001), PASS, PASSED),
                outside("its last ACK", &from_client(ACK, 5001), PASS, CHECKED),
                inside(
                    "a SYN of the server's own",
                    from_server(SYN, 5002),
                    &[Counter::Learned],
                ),
                outside(
                    "and its SYN-ACK",
                    &from_client(SYN | ACK, 5002),
                    PASS,
                    PASSED,
                ),
                inside(
                    "a server's SYN-ACK teaches nothing",
                    from_server(SYN | ACK, 5003),
                    &[],
                ),
                outside(
                    "so the ACK is unknown",
                    &from_client(ACK, 5003),
                    DROP,
                    invalid,
                ),
                inside("nor does its RST", from_server(RST, 5004), &[]),
                outside(
                    "so the ACK is unknown",
                    &from_client(ACK, 5004),
                    DROP,
                    invalid,
                ),
            ]);
            // A new SYN on an ended connection is answered with a cookie, on a live one it passes to the server.
            let mut again = syn(family);
            again.source.set_port(5001);
            assert_eq!(steer.run(Side::Outside, &again.bytes()).verdict, TX);
            again.source.set_port(5002);
            assert_eq!(steer.run(Side::Outside, &again.bytes()).verdict, PASS);
        }
    });
}

#[test]
fn while_connections_are_adopted_only_syns_are_answered() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.adopt_until = now() + 60_000_000_000);
        for family in [0, 1] {
            for (what, segment, _) in strangers(family) {
                // A SYN-ACK answers a SYN of the server, from which the connection was learned.
                if segment.flags & SYN == 0 {
                    // An ACK is checked for a cookie first: a new client's must be served.
                    let checked = segment.flags & (ACK | RST) == ACK;
                    let counted = if checked { CHECKED } else { PASSED };
                    steer.check(vec![outside(what, &segment, PASS, counted)]);
                }
            }
            assert_eq!(steer.run(Side::Outside, &syn(family).bytes()).verdict, TX);
        }
        steer.policy(|service| service.adopt_until = now());
        let before = steer.counters();
        assert_eq!(steer.run(Side::Outside, &ack(0).bytes()).verdict, DROP);
        let counted = [Counter::CookieInvalid, Counter::DropInvalidCookie];
        steer.assert_counted(&before, &counted, "afterwards");
        // Nothing is learned from segments that passed.
        let reply = Segment {
            acknowledgement: 9,
            ..Segment::from_server(0, RST)
        };
        let before = steer.counters();
        assert_eq!(steer.run(Side::Inside, &reply.bytes()).verdict, PASS);
        steer.assert_counted(&before, &[], "a RST that a spoofed ACK provoked");
    });
}

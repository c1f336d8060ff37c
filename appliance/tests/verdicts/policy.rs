//! Modes, lists, prefixes, unknown segments, and connections older than the appliance.

use aya::maps::lpm_trie::Key as Prefix;
use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{
    ANY_PORT, Endpoint, NO_PORT, Passed, PrefixPort, Service, handoff, mode, unknown_policy,
};
use synward_core::wire::Address;

use crate::frame_builder::{ACK, CLIENT_MAC, FIN, OUT_MAC, PSH, RST, SYN, Segment, read, stack};
use crate::steer::{PROFILE, SERVICE, Shared, Side, Steer, in_namespace, now};
use crate::{Case, DROP, PASS, TX, needs_root, outside};

const CHECKED: &[Counter] = &[Counter::CookieInvalid, Counter::Passed];
const PASSED: &[Counter] = &[Counter::Passed];

fn syn(family: usize) -> Segment {
    Segment {
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

fn ack(family: usize) -> Segment {
    Segment {
        acknowledgement: 77,
        ..Segment::from_client(family, ACK)
    }
}

#[test]
fn off_touches_nothing() {
    needs_root!();
    in_namespace(|steer| {
        let (what, mode) = ("off", mode::OFF);
        for family in [0, 1] {
            let valid = steer.shake_hands(&syn(family));
            steer.policy(|service| service.mode = mode);
            steer.check(vec![
                outside(what, &syn(family), PASS, &[Counter::Syn, Counter::Passed]),
                outside(what, &ack(family), PASS, PASSED),
                outside(what, &valid, PASS, PASSED),
                outside(
                    what,
                    &Segment {
                        flags: RST,
                        ..ack(family)
                    },
                    PASS,
                    PASSED,
                ),
            ]);
            steer.policy(|_| {});
        }
        steer.policy(|service| service.mode = mode);
        let extensions = vec![(44, vec![0, 0, 0, 1, 0, 0, 0, 9])];
        steer.check(vec![outside(
            "a fragment",
            &Segment {
                extensions,
                ..syn(1)
            },
            PASS,
            &[],
        )]);
        steer.policy(|_| {});
    });
}

/// A service that has ended to challenge: the cookies that are out open their connections for as long as they are good.
#[test]
fn cookies_outlive_the_challenge() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let valid = steer.shake_hands(&syn(family));
            let with_data = Segment {
                payload: b"data".to_vec(),
                flags: ACK | PSH,
                ..valid.clone()
            };
            let ended = |service: &mut Service| {
                service.mode = mode::OFF;
                service.cookies_until = u64::MAX;
            };
            steer.policy(ended);
            // The request for a worker: there is none in this test.
            let opens = &[Counter::CookieValid, Counter::Waiting];
            steer.check(vec![
                outside(
                    "a SYN",
                    &syn(family),
                    PASS,
                    &[Counter::Syn, Counter::Passed],
                ),
                outside("an ACK without cookie", &ack(family), PASS, PASSED),
                outside("a cookie", &valid, DROP, opens),
                outside("a cookie with data", &with_data, DROP, opens),
                outside(
                    "a RST",
                    &Segment {
                        flags: RST,
                        ..valid.clone()
                    },
                    PASS,
                    PASSED,
                ),
            ]);
            // The kernels of other handoffs verify cookies themselves.
            steer.policy(|service| {
                ended(service);
                service.handoff = handoff::FORWARD;
            });
            steer.check(vec![outside("an edge", &valid, PASS, PASSED)]);
            steer.policy(|service| {
                ended(service);
                service.cookies_until = now();
            });
            steer.check(vec![outside("later", &valid, PASS, PASSED)]);
            steer.policy(|_| {});
        }
    });
}

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
fn lists_decide_before_cookies() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.listed = 1);
        for (allowed, denied) in [
            ("198.51.100.0/24", "198.51.100.128/25"),
            ("2001:db8:c::/48", "2001:db8:c:8000::/49"),
        ] {
            steer.list(allowed, 1);
            steer.list(denied, 2);
        }
        for (family, good, bad, neither) in [
            (
                0,
                "198.51.100.2:40001",
                "198.51.100.200:40001",
                "203.0.113.9:40001",
            ),
            (
                1,
                "[2001:db8:c::2]:40001",
                "[2001:db8:c:ffff::2]:40001",
                "[2001:db8:d::2]:40001",
            ),
        ] {
            let from = |segment: Segment, source: &str| Segment {
                source: source.parse().unwrap(),
                ..segment
            };
            steer.check(vec![
                outside(
                    "allowed",
                    &from(syn(family), good),
                    PASS,
                    &[Counter::Syn, Counter::Passed],
                ),
                outside("allowed", &from(ack(family), good), PASS, PASSED),
                outside(
                    "denied",
                    &from(syn(family), bad),
                    DROP,
                    &[Counter::Syn, Counter::DropDenied],
                ),
                outside(
                    "denied",
                    &from(ack(family), bad),
                    DROP,
                    &[Counter::DropDenied],
                ),
            ]);
            let before = steer.counters();
            assert_eq!(
                steer
                    .run(Side::Outside, &from(syn(family), neither).bytes())
                    .verdict,
                TX
            );
            steer.assert_counted(&before, &[Counter::Syn, Counter::AnsweredXdp], "on no list");
        }
        // A hole in a prefix: as on no list.
        steer.list("198.51.100.192/26", 0);
        let hole = Segment {
            source: "198.51.100.200:40001".parse().unwrap(),
            ..syn(0)
        };
        assert_eq!(steer.run(Side::Outside, &hole.bytes()).verdict, TX);
        // Lists apply only to services that have them.
        steer.policy(|_| {});
        let segment = Segment {
            source: "198.51.100.200:40001".parse().unwrap(),
            ..syn(0)
        };
        assert_eq!(steer.run(Side::Outside, &segment.bytes()).verdict, TX);
    });
}

#[test]
fn prefixes_and_any_port_are_looked_up_after_exact_addresses() {
    needs_root!();
    in_namespace(|steer| {
        let mut at = |prefix: &str, length: u32, index: u32| {
            let address: Address = prefix.parse::<std::net::IpAddr>().unwrap().into();
            let length = length + if address.is_v4() { 96 } else { 0 };
            steer
                .trie("PREFIXES")
                .insert(&Prefix::new(length, address.0), index, 0)
                .unwrap();
        };
        at("10.1.0.0", 16, 1);
        at("10.1.2.0", 24, 2);
        at("2001:db8:99::", 48, 3);
        let port = |steer: &mut Steer, prefix: u32, port: u32, mss: u16| {
            let profile = synward_core::layout::Profile { mss, ..PROFILE };
            let endpoint = Endpoint {
                service: SERVICE,
                policy: SERVICE,
                since: 0,
                now: profile,
                before: profile,
            };
            let mut map = steer.hash_map("PREFIX_PORTS");
            map.insert(Shared(PrefixPort { prefix, port }), Shared(endpoint), 0)
                .unwrap();
        };
        port(steer, 1, ANY_PORT, 1001);
        port(steer, 1, 443, 1002);
        port(steer, 2, 80, 1003);
        port(steer, 2, NO_PORT, 1003);
        port(steer, 3, ANY_PORT, 1004);
        let table: [(&str, Option<u16>); 7] = [
            ("10.1.9.9:22", Some(1001)),
            ("10.1.9.9:443", Some(1002)),
            ("10.1.2.9:80", Some(1003)),
            ("10.1.2.9:81", None),
            ("10.2.0.1:80", None),
            ("[2001:db8:99:1::7]:5", Some(1004)),
            ("[2001:db8:98::7]:5", None),
        ];
        for (destination, _) in table {
            let destination: std::net::SocketAddr = destination.parse().unwrap();
            let segment = Segment {
                destination,
                ..syn(usize::from(destination.is_ipv6()))
            };
            steer.check(vec![outside("prefixes are off", &segment, PASS, &[])]);
        }
        let globals = synward_core::layout::Globals {
            prefixes: 1,
            ..steer.globals()
        };
        steer.set("GLOBALS", 0, Shared(globals));
        for (destination, mss) in table {
            let destination: std::net::SocketAddr = destination.parse().unwrap();
            let segment = Segment {
                destination,
                ..syn(usize::from(destination.is_ipv6()))
            };
            let seen = steer.run(Side::Outside, &segment.bytes());
            let promised = (seen.verdict == TX).then(|| {
                let answer = read(&seen.frame);
                crate::frame_builder::options(&answer.tcp)
                    .into_iter()
                    .find_map(|option| match option {
                        etherparse::TcpOptionElement::MaximumSegmentSize(mss) => Some(mss),
                        _ => None,
                    })
            });
            assert_eq!(promised.flatten(), mss, "{destination}");
            assert_eq!(
                seen.verdict,
                if mss.is_some() { TX } else { PASS },
                "{destination}"
            );
        }
        let fragment = |destination: &str| {
            let segment = Segment {
                destination: destination.parse().unwrap(),
                ..syn(0)
            };
            let mut packet = segment.packet(6, &segment.segment());
            packet[6] = 0x20;
            segment.frame(&packet)
        };
        for (destination, verdict) in [("10.1.2.9:81", DROP), ("10.2.0.1:81", PASS)] {
            let seen = steer.run(Side::Outside, &fragment(destination));
            assert_eq!(seen.verdict, verdict, "a fragment to {destination}");
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

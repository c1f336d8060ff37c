//! Modes, lists, prefixes and ports.

use aya::maps::lpm_trie::Key as Prefix;
use synward_core::counters::Counter;
use synward_core::layout::{ANY_PORT, Endpoint, NO_PORT, PrefixPort, Service, handoff, mode};
use synward_core::wire::Address;

use crate::frame_builder::{ACK, PSH, RST, SYN, Segment, stack};
use crate::frame_reader::read;
use crate::steer::{PROFILE, SERVICE, Shared, Side, Steer, in_namespace, now};
use crate::{DROP, PASS, TX, needs_root, outside};
pub(crate) const PASSED: &[Counter] = &[Counter::Passed];

pub(crate) fn syn(family: usize) -> Segment {
    Segment {
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

pub(crate) fn ack(family: usize) -> Segment {
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

/// A service that has stopped challenging: cookies that were issued open their connections for as long as they are valid.
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
                crate::frame_reader::options(&answer.tcp)
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

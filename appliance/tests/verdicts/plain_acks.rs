//! Wrong cookies without timestamps: how many are checked, and whom that concerns.

use std::net::{IpAddr, Ipv4Addr};

use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Flow, flow_flags, handoff, mode, plain_cookies, state, unknown_policy};
use synward_core::plain_ack_limit::BUDGET;

use crate::frame_builder::{ACK, PSH, Segment, stack};
use crate::local_services::locally;
use crate::spliced_flows::flow;
use crate::steer::{Side, Steer, in_namespace};
use crate::{DROP, PASS, TX, needs_root};

/// Wrong ACKs of one test.
const SENT: u32 = 200_000;

/// An ACK without timestamps whose cookie is wrong, in the name of the client.
fn wrong(family: usize) -> Segment {
    Segment {
        acknowledgement: 77,
        ..Segment::from_client(family, ACK)
    }
}

fn limit(steer: &mut Steer) {
    steer.policy(|service| service.plain_cookies = plain_cookies::LIMIT);
}

/// What of many wrong ACKs was checked.
fn flood(steer: &mut Steer, family: usize, unchecked: Counter) -> u64 {
    let moved = steer.run_often(&wrong(family).bytes(), SENT);
    let checked = moved(Counter::CookieInvalid);
    assert_eq!(checked + moved(unchecked), u64::from(SENT));
    checked
}

/// BUDGET · (1 + ln(sent / BUDGET)), with room for chance: the standard deviation is below the root.
fn assert_limited(checked: u64) {
    let budget = f64::from(BUDGET);
    let expected = budget * (1.0 + (f64::from(SENT) / budget).ln());
    let off = (checked as f64 - expected).abs();
    assert!(
        off < 6.0 * expected.sqrt(),
        "{checked} checked, {expected} expected"
    );
}

/// Whether the cookie of a client's handshake is valid.
fn connects(steer: &mut Steer, syn: &Segment) -> bool {
    let ack = steer.shake_hands(syn);
    let before = steer.counters();
    steer.run(Side::Outside, &ack.bytes());
    let valid = Counter::CookieValid as usize;
    steer.counters()[valid] == before[valid] + 1
}

/// Whether SYNs of a service were noted.
fn has_noted(steer: &Steer) -> bool {
    steer
        .elements::<u64>("NOTED_UNTIL")
        .iter()
        .any(|until| *until > 0)
}

/// A client in another prefix.
fn neighbour(family: usize) -> IpAddr {
    match family {
        0 => IpAddr::from([198, 51, 100, 3]),
        _ => IpAddr::from([0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 2]),
    }
}

#[test]
fn wrong_plain_cookies_of_a_prefix_are_checked_within_the_limit() {
    needs_root!();
    in_namespace(|steer| {
        limit(steer);
        for family in [0, 1] {
            assert_limited(flood(steer, family, Counter::DropPlainLimit));
            assert!(has_noted(steer), "SYNs are noted");
            // Nobody else is concerned: another prefix, and timestamps in the same one.
            let mut other = Segment::syn(family, stack::windows());
            other.source.set_ip(neighbour(family));
            assert!(connects(steer, &other), "another prefix");
            assert!(
                connects(steer, &Segment::syn(family, stack::linux())),
                "timestamps"
            );
        }
    });
}

/// A server that repeats its last data gets many ACKs for it after both sides have ended.
#[test]
fn acks_of_an_old_connection_count_for_nothing() {
    needs_root!();
    in_namespace(|steer| {
        limit(steer);
        for family in [0, 1] {
            let handshakes = handshakes(steer, family, 50_000..50_020);
            let closing = Flow {
                state: state::CLOSING,
                flags: flow_flags::CLIENT_FIN | flow_flags::SERVER_FIN,
                ..flow(family)
            };
            steer.place(closing);
            let repeated = Segment {
                sequence: closing.client_sequence + 5,
                acknowledgement: closing.server_sequence.wrapping_add(closing.sequence_delta),
                ..Segment::from_client(family, ACK)
            };
            let before = steer.counters()[Counter::ToServer as usize];
            for _ in 0..500 {
                steer.run(Side::Outside, &repeated.bytes());
            }
            let passed = steer.counters()[Counter::ToServer as usize] - before;
            assert_eq!(passed, 500);
            assert_valid(steer, handshakes, "beside an old connection");
            // Noted SYNs would leave the fast path.
            assert!(!has_noted(steer), "SYNs are not noted");
        }
    });
}

/// Connections that have ended, on whose addresses and ports cookies are guessed.
const ENDED: std::ops::Range<u16> = 40_000..40_200;

/// A sender that knows the numbers of a connection that has ended gains no more by that: its guesses are counted, too.
#[test]
fn guesses_in_the_window_of_an_old_connection_are_limited() {
    needs_root!();
    in_namespace(|steer| {
        limit(steer);
        for family in [0, 1] {
            let right = handshakes(steer, family, ENDED);
            for ack in &right {
                let template = flow(family);
                let key = FlowKey::new(
                    ack.source.ip().into(),
                    ack.source.port(),
                    ack.destination.ip().into(),
                    ack.destination.port(),
                );
                steer.place(Flow {
                    key,
                    state: state::CLOSING,
                    flags: flow_flags::CLIENT_FIN | flow_flags::SERVER_FIN,
                    client_sequence: ack.sequence.wrapping_sub(5),
                    server_sequence: ack.acknowledgement.wrapping_sub(template.sequence_delta),
                    ..template
                });
            }
            let wrong = Segment {
                acknowledgement: right[0].acknowledgement.wrapping_add(9),
                ..right[0].clone()
            };
            let before = steer.counters();
            for _ in 0..20_000 {
                steer.run(Side::Outside, &wrong.bytes());
            }
            for ack in &right {
                steer.run(Side::Outside, &ack.bytes());
            }
            let valid = Counter::CookieValid as usize;
            let found = steer.counters()[valid] - before[valid];
            assert!(found < 20, "{found} of {} were checked", right.len());
        }
    });
}

/// Handshakes of clients without timestamps whose last ACK is still on its way.
fn handshakes(steer: &mut Steer, family: usize, ports: std::ops::Range<u16>) -> Vec<Segment> {
    ports
        .map(|port| {
            let mut client = Segment::syn(family, stack::windows());
            client.source.set_port(port);
            steer.shake_hands(&client)
        })
        .collect()
}

fn assert_valid(steer: &mut Steer, acks: Vec<Segment>, what: &str) {
    for ack in acks {
        let before = steer.counters()[Counter::CookieValid as usize];
        steer.run(Side::Outside, &ack.bytes());
        let valid = steer.counters()[Counter::CookieValid as usize];
        assert_eq!(valid, before + 1, "{what}: {}", ack.source);
    }
}

/// After an attack, cookies are good for a while. Connections that were not challenged meanwhile say nothing against their
/// clients: neither the handshakes that are on their way then nor those of the next attack suffer.
#[test]
fn acks_of_connections_that_were_not_challenged_count_for_nothing() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            limit(steer);
            let on_their_way = handshakes(steer, family, 50_000..50_020);
            steer.policy(|service| {
                service.plain_cookies = plain_cookies::LIMIT;
                service.mode = mode::MONITOR;
                service.cookies_until = u64::MAX;
            });
            // A connection that the server has spoken on.
            let from_server = Segment {
                acknowledgement: 9,
                ..Segment::from_server(family, ACK | PSH)
            };
            steer.run(Side::Inside, &from_server.bytes());
            let passed = steer.run_often(&wrong(family).bytes(), 500)(Counter::Passed);
            assert_eq!(passed, 500);
            assert_valid(steer, on_their_way, "after the attack");
            // Many on which no server has spoken yet.
            for port in 41_000..41_200 {
                let mut ack = wrong(family);
                ack.source.set_port(port);
                assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, PASS);
            }
            limit(steer);
            let next = handshakes(steer, family, 51_000..51_020);
            assert_valid(steer, next, "in the next attack");
        }
    });
}

/// Nor do connections that are adopted, while that goes on and afterwards.
#[test]
fn acks_of_adopted_connections_count_for_nothing() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            steer.policy(|service| {
                service.plain_cookies = plain_cookies::LIMIT;
                service.adopt_until = u64::MAX;
            });
            let on_their_way = handshakes(steer, family, 50_000..50_020);
            let passed = steer.run_often(&wrong(family).bytes(), 500)(Counter::Passed);
            assert_eq!(passed, 500);
            assert_valid(steer, on_their_way, "while connections are adopted");
            limit(steer);
            let next = handshakes(steer, family, 51_000..51_020);
            assert_valid(steer, next, "afterwards");
        }
    });
}

#[test]
fn local_services_have_the_limit_too() {
    needs_root!();
    locally(|steer, family| {
        steer.policy(|service| {
            (service.handoff, service.plain_cookies) = (handoff::LOCAL, plain_cookies::LIMIT);
        });
        assert_limited(flood(steer, family, Counter::DropPlainLimit));
    });
}

/// The program at TC takes it that XDP has checked a cookie. What XDP has not checked must not get there either while ACKs of
/// older connections pass.
#[test]
fn local_services_have_the_limit_while_connections_are_adopted() {
    needs_root!();
    locally(|steer, family| {
        for judged in [false, true] {
            for plain in [plain_cookies::LIMIT, plain_cookies::REFUSE] {
                steer.policy(|service| {
                    (service.handoff, service.plain_cookies) = (handoff::LOCAL, plain);
                    if judged {
                        service.judge_until = u64::MAX;
                    } else {
                        service.adopt_until = u64::MAX;
                    }
                });
                let moved = steer.run_often(&wrong(family).bytes(), 10_000);
                let dropped = match plain {
                    plain_cookies::LIMIT => Counter::DropPlainLimit,
                    _ => Counter::DropPlainRefused,
                };
                let unchecked = 10_000 - moved(Counter::CookieInvalid);
                assert!(unchecked > 8_000, "{unchecked}");
                assert_eq!(moved(dropped), unchecked, "judged: {judged}");
            }
        }
    });
}

/// While some ACKs are not checked, SYNs are noted: ACKs out of nowhere then do not count against real clients, not even
/// against those in whose names they come.
#[test]
fn acks_whose_syn_was_answered_are_counted_apart_from_the_others() {
    needs_root!();
    in_namespace(|steer| {
        limit(steer);
        for family in [0, 1] {
            flood(steer, family, Counter::DropPlainLimit);
            for port in 50_000..50_020 {
                let mut client = Segment::syn(family, stack::windows());
                client.source.set_port(port);
                assert!(connects(steer, &client), "port {port}, family {family}");
            }
        }
    });
}

#[test]
fn floods_in_thousands_of_names_leave_other_prefixes_alone() {
    needs_root!();
    in_namespace(|steer| {
        limit(steer);
        for number in 0..3_000u32 {
            let mut ack = wrong(0);
            let source = Ipv4Addr::from(0x0b00_0000 + number * 977);
            ack.source.set_ip(source.into());
            let _ = steer.run_often(&ack.bytes(), 40);
        }
        let connected = (0..200u32)
            .filter(|number| {
                let mut client = Segment::syn(0, stack::windows());
                client
                    .source
                    .set_ip(Ipv4Addr::from(0x3300_0000 + number * 7919).into());
                connects(steer, &client)
            })
            .count();
        assert_eq!(connected, 200);
    });
}

/// The kernel must not see what was not checked, and a RST would end a real client's connection.
#[test]
fn what_is_not_checked_is_dropped_whatever_the_policy_for_unknown_segments() {
    needs_root!();
    in_namespace(|steer| {
        for (policy, last) in [(unknown_policy::PASS, 2), (unknown_policy::RESET, 3)] {
            for family in [0, 1] {
                steer.policy(|service| {
                    (service.unknown_policy, service.plain_cookies) =
                        (policy, plain_cookies::LIMIT);
                });
                let mut ack = wrong(family);
                ack.source.set_ip(match family {
                    0 => IpAddr::from([198, 51, 100, last]),
                    _ => IpAddr::from([0x2001, 0xdb8, 0xc, last.into(), 0, 0, 0, 2]),
                });
                let frame = ack.bytes();
                let mut dropped = 0;
                for _ in 0..400 {
                    let before = steer.counters();
                    let seen = steer.run(Side::Outside, &frame);
                    let at = Counter::DropPlainLimit as usize;
                    let is_unchecked = steer.counters()[at] > before[at];
                    assert_eq!(seen.verdict == DROP, is_unchecked);
                    dropped += u32::from(is_unchecked);
                }
                assert!(dropped > 200, "{dropped}");
            }
        }
    });
}

#[test]
fn accept_checks_all_and_refuse_none() {
    needs_root!();
    in_namespace(|steer| {
        for handoff in [handoff::SPLICE, handoff::FORWARD] {
            for family in [0, 1] {
                steer.policy(|service| {
                    (service.handoff, service.plain_cookies) = (handoff, plain_cookies::REFUSE);
                });
                let before = steer.counters();
                let seen = steer.run(
                    Side::Outside,
                    &Segment::syn(family, stack::windows()).bytes(),
                );
                assert_eq!(seen.verdict, DROP);
                let counted = [Counter::Syn, Counter::DropPlainRefused];
                steer.assert_counted(&before, &counted, "no timestamps");
                let seen = steer.run(Side::Outside, &Segment::syn(family, stack::linux()).bytes());
                assert_eq!(seen.verdict, TX, "timestamps");
            }
        }
        steer.policy(|service| service.plain_cookies = plain_cookies::REFUSE);
        let moved = steer.run_often(&wrong(0).bytes(), 1000);
        assert_eq!(moved(Counter::DropPlainRefused), 1000);
        steer.policy(|service| service.plain_cookies = plain_cookies::ACCEPT);
        assert_eq!(u64::from(SENT), flood(steer, 0, Counter::DropPlainLimit));
    });
}

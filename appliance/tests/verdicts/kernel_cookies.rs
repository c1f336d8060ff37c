//! Local services whose clients get the kernel's own cookies.

use std::net::{TcpListener, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};
use synward_core::counters::Counter;
use synward_core::layout::{Service, cookies, handoff, plain_cookies, unknown_policy};
use synward_core::plain_ack_limit::BUDGET;

use crate::frame_builder::{ACK, CLIENTS, PSH, SERVERS, Segment, padded_timestamps};
use crate::local_services::{INVALID, ack, case, locally};
use crate::steer::{Side, Steer};
use crate::{DROP, PASS, TX, needs_root};

/// The kernel makes a connection for it only from its own cookie, which offers nothing but the MSS.
#[test]
fn an_mptcp_listener_gets_the_kernels_own_cookie() {
    needs_root!();
    locally(|steer, family| {
        let stream = (Domain::for_address(SERVERS[family]), Type::STREAM);
        let Ok(listener) = Socket::new(stream.0, stream.1, Some(Protocol::MPTCP)) else {
            eprintln!("this kernel has no MPTCP");
            return;
        };
        listener.set_reuse_address(true).unwrap();
        listener.bind(&SERVERS[family].into()).unwrap();
        listener.listen(9).unwrap();

        // The kernel makes cookies only when it is flooded: the SYN passes to it.
        syncookies(1);
        let counted = &[Counter::Syn, Counter::Passed];
        steer.check(vec![case(
            "tcp_syncookies=1",
            &Segment::linux_syn(family),
            PASS,
            counted,
        )]);

        syncookies(2);
        let seen = steer.run(Side::Outside, &Segment::linux_syn(family).bytes());
        assert_eq!(seen.verdict, TX);
        assert_eq!(
            crate::frame_reader::read(&seen.frame).tcp.options.len(),
            4,
            "MSS"
        );
        let validated = steer.shake_hands(&Segment::linux_syn(family));
        let wrong = Segment {
            // The lowest bits are the MSS; other values of it are valid, too.
            acknowledgement: validated.acknowledgement ^ 1 << 16,
            ..validated.clone()
        };
        steer.check(vec![
            case("its cookie", &validated, PASS, &[Counter::CookieValid]),
            case("another number", &wrong, DROP, INVALID),
            case("a random ACK", &ack(family), DROP, INVALID),
        ]);

        // The low bits of TSval hold the options that the ISN cannot hold, if the kernel's timestamps have no random offset.
        steer.policy(|service| {
            service.handoff = handoff::LOCAL;
            service.cookies = cookies::TIMES;
        });
        let seen = steer.run(Side::Outside, &Segment::linux_syn(family).bytes());
        let options = crate::frame_reader::read(&seen.frame).tcp.options;
        assert_eq!(options[4..8], [4, 2, 8, 10]);
        assert_eq!(options[11] & 0x3f, 0x17, "SACK, shift 7");
    });
}

/// As with a kernel that takes no connection from us.
#[test]
fn a_service_may_use_the_kernels_cookies() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        let ours = steer.shake_hands(&Segment::linux_syn(family));
        steer.policy(|service| {
            service.handoff = handoff::LOCAL;
            service.cookies = cookies::KERNEL;
        });
        syncookies(2);
        let validated = steer.shake_hands(&Segment::linux_syn(family));
        steer.check(vec![
            case("its cookie", &validated, PASS, &[Counter::CookieValid]),
            case("a random ACK", &ack(family), DROP, INVALID),
            case("one of synward's", &ours, PASS, &[Counter::CookieValid]),
        ]);
    });
}

/// Has the kernel issue the cookies, with a low limit for wrong ones.
fn limited(service: &mut Service) {
    service.handoff = handoff::LOCAL;
    service.cookies = cookies::KERNEL;
    service.plain_cookies = plain_cookies::LIMIT;
}

/// It is checked for the kernel's cookie and for one of synward's, and counts as one.
#[test]
fn a_wrong_one_is_counted_once() {
    needs_root!();
    for options in [vec![], padded_timestamps(7, 9)] {
        locally(|steer, family| {
            let _listener = TcpListener::bind(SERVERS[family]).unwrap();
            syncookies(2);
            steer.policy(limited);
            let wrong = Segment {
                options: options.clone(),
                ..ack(family)
            };
            let budget = u64::from(BUDGET);
            let moved = steer.run_often(&wrong.bytes(), BUDGET);
            let seen = [Counter::CookieInvalid, Counter::DropPlainLimit].map(moved);
            assert_eq!(seen, [budget, 0], "{options:?}");
        });
    }
}

/// Right ones that are sent in the flood, each once.
const GUESSES: u16 = 1000;

/// As many wrong ACKs as a blind sender sends, with timestamps and without: few are checked, so that a right one among them is
/// hardly ever found. Nobody else is concerned.
#[test]
fn wrong_ones_of_a_prefix_are_checked_within_the_limit() {
    needs_root!();
    for options in [vec![], padded_timestamps(7, 9)] {
        locally(|steer, family| {
            let _listener = TcpListener::bind(SERVERS[family]).unwrap();
            syncookies(2);
            steer.policy(limited);
            // One of each connection: what follows a right one passes unchecked.
            let guessed: Vec<Segment> = (0..GUESSES)
                .map(|number| {
                    let mut syn = Segment::linux_syn(family);
                    syn.source.set_port(10_000 + number);
                    steer.shake_hands(&syn)
                })
                .collect();
            let wrong = Segment {
                options: options.clone(),
                ..ack(family)
            };
            let moved = steer.run_often(&wrong.bytes(), 20_000);
            let unchecked = moved(Counter::DropPlainLimit);
            assert!(unchecked > 15_000, "{unchecked}");
            let before = steer.counters();
            for one in &guessed {
                steer.run(Side::Outside, &one.bytes());
            }
            let after = steer.counters();
            let found = [Counter::CookieValid, Counter::Passed].map(|counter| {
                let counter = counter as usize;
                after[counter] - before[counter]
            });
            let found: u64 = found.iter().sum();
            assert!(found < 100, "{found} of {GUESSES} guesses were checked");
            // SYNs are noted now: their senders are distinguished from those that guess, in the same prefix and in others.
            let elsewhere: [std::net::IpAddr; 2] = [
                [198, 51, 100, 77].into(),
                [0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 2].into(),
            ];
            for address in [CLIENTS[family].ip(), elsewhere[family]] {
                let mut syn = Segment::linux_syn(family);
                syn.source = (address, 50_000).into();
                let handshake = steer.shake_hands(&syn);
                let behind = Segment {
                    sequence: handshake.sequence.wrapping_add(1400),
                    flags: ACK | PSH,
                    payload: b"POST /".to_vec(),
                    ..handshake.clone()
                };
                steer.check(vec![
                    case("a client", &handshake, PASS, &[Counter::CookieValid]),
                    case("its data", &behind, PASS, &[Counter::Passed]),
                ]);
            }
        });
    }
}

/// Ports of clients that have a cookie before the flood.
const PORTS: std::ops::Range<u16> = 10_000..10_050;

/// The kernel may answer what passes to it by a cookie of its own: while it makes none for XDP, for clients of the allow-list, and
/// for those with a small MSS. Their ACKs are distinguished from guessed ones as well, in the same prefix.
#[test]
fn clients_whose_syn_passes_are_apart_from_acks_out_of_nowhere() {
    needs_root!();
    for (way, small) in [
        ("no cookies for XDP", false),
        ("allowed", false),
        ("small MSS", true),
    ] {
        locally(|steer, family| {
            let _listener = TcpListener::bind(SERVERS[family]).unwrap();
            syncookies(2);
            let policy = |steer: &mut Steer, listed| {
                steer.policy(|service| {
                    limited(service);
                    service.listed = listed;
                });
            };
            policy(steer, 0);
            let syn = |port| {
                let mut syn = Segment::linux_syn(family);
                syn.source.set_port(port);
                syn
            };
            let handshakes: Vec<Segment> =
                PORTS.map(|port| steer.shake_hands(&syn(port))).collect();
            let moved = steer.run_often(&ack(family).bytes(), 20_000);
            assert!(moved(Counter::DropPlainLimit) > 15_000);
            match way {
                "allowed" => {
                    policy(steer, 1);
                    steer.list(["198.51.100.0/24", "2001:db8:c::/48"][family], 1);
                }
                "small MSS" => {}
                _ => syncookies(1),
            }
            let ports = if small { 10_000..10_008 } else { PORTS };
            let count = ports.len();
            let before = steer.counters();
            for (port, handshake) in ports.zip(&handshakes) {
                let mut syn = syn(port);
                if small {
                    syn.options = vec![2, 4, 1, 0];
                }
                let verdict = steer.run(Side::Outside, &syn.bytes()).verdict;
                assert_eq!(verdict, PASS, "{way}, port {port}");
                steer.run(Side::Outside, &handshake.bytes());
            }
            let valid = Counter::CookieValid as usize;
            let found = steer.counters()[valid] - before[valid];
            assert_eq!(found, count as u64, "{way}, family {family}");
        });
    }
}

/// The kernel drops the ACK, and takes the client's next one once there is room.
#[test]
fn a_full_accept_queue_says_nothing_against_its_clients() {
    needs_root!();
    for kind in [Protocol::TCP, Protocol::MPTCP] {
        locally(|steer, family| {
            let domain = Domain::for_address(SERVERS[family]);
            let Ok(listener) = Socket::new(domain, Type::STREAM, Some(kind)) else {
                eprintln!("this kernel has no MPTCP");
                return;
            };
            listener.set_reuse_address(true).unwrap();
            listener.bind(&SERVERS[family].into()).unwrap();
            listener.listen(0).unwrap();
            syncookies(2);
            steer.policy(|service| {
                service.handoff = handoff::LOCAL;
                if kind == Protocol::TCP {
                    service.cookies = cookies::KERNEL;
                }
                service.unknown_policy = unknown_policy::RESET;
            });
            let validated = steer.shake_hands(&Segment::linux_syn(family));
            let _waiting = TcpStream::connect(SERVERS[family]).unwrap();
            steer.check(vec![
                case(
                    "SYN",
                    &Segment::linux_syn(family),
                    DROP,
                    &[Counter::Syn, Counter::DropQueueFull],
                ),
                case("its cookie", &validated, PASS, &[Counter::CookieValid]),
            ]);
        });
    }
}

/// As one of synward's does.
#[test]
fn a_valid_one_makes_the_budget_of_replies_larger() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        syncookies(2);
        steer.policy(|service| {
            service.handoff = handoff::LOCAL;
            service.cookies = cookies::KERNEL;
            service.replies = 2000;
        });
        let handshakes: Vec<Segment> = (10_000..10_400)
            .map(|port| {
                let mut syn = Segment::linux_syn(family);
                syn.source.set_port(port);
                steer.shake_hands(&syn)
            })
            .collect();
        let flood = Segment::linux_syn(family).bytes();
        let before = steer.counters();
        for valid in &handshakes {
            for _ in 0..50 {
                steer.run(Side::Outside, &flood);
            }
            steer.run(Side::Outside, &valid.bytes());
        }
        let at = Counter::DropReplyBudget as usize;
        assert_eq!(steer.counters()[at] - before[at], 0, "family {family}");
    });
}

/// Sets `tcp_syncookies` of this thread's network namespace.
pub(crate) fn syncookies(value: u8) {
    std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", value.to_string()).unwrap();
}

//! Services of this machine: the kernel's sockets decide about a segment.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use synward_core::counters::Counter;
use synward_core::layout::{cookies, handoff, unknown_policy};

use crate::frame_builder::{ACK, FIN, PSH, RST, SERVERS, SYN, Segment};
use crate::steer::{Side, Steer, in_namespace};
use crate::test_network::ip;
use crate::{Case, DROP, PASS, TX, needs_root};

pub(crate) const PASSED: &[Counter] = &[Counter::Passed];
pub(crate) const INVALID: &[Counter] = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
/// Addresses of this machine from which its own connections come.
const HERE: [&str; 2] = ["198.51.100.1", "2001:db8:c::1"];

/// A budget of replies, and the SYNs that are sent in a test of it.
const REPLIES: u32 = 100;
const ANSWERED: u32 = 50_000;

/// The kernel answers them with a RST or a challenge, to the address that they claim to come from.
#[test]
fn syns_that_the_kernel_answers_are_within_the_budget_of_replies() {
    needs_root!();
    locally(|steer, family| {
        steer.policy(|service| (service.handoff, service.replies) = (handoff::LOCAL, REPLIES));
        let assert_bounded = |steer: &mut Steer, syn: &Segment, what: &str| {
            let moved = steer.run_often(&syn.bytes(), ANSWERED);
            let [passed, dropped] = [Counter::Passed, Counter::DropReplyBudget].map(moved);
            assert_eq!(passed + dropped, u64::from(ANSWERED), "{what}");
            assert!(dropped > u64::from(ANSWERED / 2), "{what}: {dropped}");
        };
        assert_bounded(steer, &Segment::linux_syn(family), "closed port");
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        steer.policy(|service| {
            (service.handoff, service.replies) = (handoff::LOCAL, REPLIES);
            service.cookies = cookies::KERNEL;
        });
        crate::kernel_cookies::syncookies(1);
        assert_bounded(steer, &Segment::linux_syn(family), "no cookies for XDP");
    });
}

/// Makes the service one of this machine and runs `test` for each family.
pub(crate) fn locally(test: impl Fn(&mut Steer, usize) + Send + Sync) {
    for family in [0, 1] {
        in_namespace(|steer| {
            ip("link set lo up");
            ip("address add 192.0.2.10/32 dev sw-out");
            ip("address add 2001:db8:5::10/128 dev sw-out nodad");
            steer.policy(|service| service.handoff = handoff::LOCAL);
            test(steer, family);
        });
    }
}

pub(crate) fn ack(family: usize) -> Segment {
    Segment {
        acknowledgement: 77,
        ..Segment::from_client(family, ACK)
    }
}

pub(crate) fn case(
    what: &'static str,
    segment: &Segment,
    verdict: u32,
    counted: &'static [Counter],
) -> Case {
    Case {
        what,
        frame: segment.bytes(),
        side: Side::Outside,
        verdict,
        counted,
    }
}

/// Checks that a SYN is answered, and that its sender's ACK passes.
fn completes_handshake(steer: &mut Steer, family: usize) {
    let ack = steer.shake_hands(&Segment::linux_syn(family));
    steer.check(vec![
        case("a valid cookie", &ack, PASS, &[Counter::CookieValid]),
        case(
            "the same with data",
            &Segment {
                flags: ACK | PSH,
                payload: b"GET /".to_vec(),
                ..ack.clone()
            },
            PASS,
            &[Counter::CookieValid],
        ),
        case(
            "another number",
            &Segment {
                acknowledgement: ack.acknowledgement ^ 1,
                ..ack
            },
            DROP,
            INVALID,
        ),
    ]);
}

#[test]
fn only_acks_with_a_valid_cookie_reach_a_listener() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        completes_handshake(steer, family);
        let with = |flags| Segment {
            flags,
            ..ack(family)
        };
        steer.check(vec![
            case("a random ACK", &ack(family), DROP, INVALID),
            case("RST", &with(RST), DROP, &[Counter::DropUnknown]),
            case("SYN-ACK", &with(SYN | ACK), DROP, &[Counter::DropUnknown]),
            case("FIN", &with(FIN), DROP, &[Counter::DropUnknown]),
        ]);
        steer.policy(|service| {
            service.handoff = handoff::LOCAL;
            service.unknown_policy = unknown_policy::PASS;
        });
        let checked = &[Counter::CookieInvalid, Counter::Passed];
        steer.check(vec![case("unknown = pass", &ack(family), PASS, checked)]);
    });
}

#[test]
fn a_syn_to_a_closed_port_passes_to_the_kernel() {
    needs_root!();
    locally(|steer, family| {
        steer.check(vec![
            case(
                "SYN",
                &Segment::linux_syn(family),
                PASS,
                &[Counter::Syn, Counter::Passed],
            ),
            case("a random ACK", &ack(family), DROP, INVALID),
        ]);
    });
}

#[test]
fn segments_of_a_connection_pass() {
    needs_root!();
    locally(|steer, family| {
        let listener = TcpListener::bind(SERVERS[family]).unwrap();
        let client = connect(family);
        let (server, _) = listener.accept().unwrap();
        let from = client.local_addr().unwrap();
        let assert_passes = |steer: &mut Steer| {
            for flags in [ACK, ACK | PSH, ACK | FIN, RST, RST | ACK] {
                let segment = Segment {
                    source: from,
                    flags,
                    ..ack(family)
                };
                steer.check(vec![case("a segment of its own", &segment, PASS, PASSED)]);
            }
            let syn = Segment {
                source: from,
                ..Segment::linux_syn(family)
            };
            // RFC 5961 §4: a challenge ACK; RFC 9293 §3.10.7.4 in TIME_WAIT: perhaps a new connection.
            let counted = &[Counter::Syn, Counter::Passed];
            steer.check(vec![case("a SYN on it", &syn, PASS, counted)]);
        };
        assert_passes(steer);
        close(server);
        assert_passes(steer);
        close(client);
        assert_passes(steer);
    });
}

/// Many more SYNs, one right after the other, than are looked up in a jiffy.
const FLOOD: u32 = 200_000;

#[test]
fn in_a_flood_a_syn_on_a_connection_is_answered() {
    needs_root!();
    locally(|steer, family| {
        let listener = TcpListener::bind(SERVERS[family]).unwrap();
        let client = connect(family);
        let _server = listener.accept().unwrap();
        let syn = Segment {
            source: client.local_addr().unwrap(),
            ..Segment::linux_syn(family)
        };
        // The first SYNs pass to the kernel. The answer overwrites the first SYN that is answered, so no SYN is left to run.
        let moved = steer.run_often(&syn.bytes(), FLOOD);
        assert!(moved(Counter::Passed) >= 32, "{}", moved(Counter::Passed));
        assert_eq!(moved(Counter::AnsweredXdp), 1);
    });
}

#[test]
fn in_a_flood_sockets_are_looked_up_before_a_syn_is_refused() {
    needs_root!();
    locally(|steer, family| {
        let syn = Segment::linux_syn(family).bytes();
        let closed = steer.run_often(&syn, FLOOD);
        assert_eq!(closed(Counter::Passed), u64::from(FLOOD));

        let listener = listener(family, |_| {});
        listener.listen(0).unwrap();
        let _waiting = connect(family);
        let full = steer.run_often(&syn, FLOOD);
        assert_eq!(full(Counter::DropQueueFull), u64::from(FLOOD));

        listener.accept().unwrap();
        let room = steer.run_often(&syn, FLOOD);
        assert_eq!(room(Counter::AnsweredXdp), 1);
    });
}

#[test]
fn syns_for_a_full_accept_queue_are_dropped() {
    needs_root!();
    locally(|steer, family| {
        let listener = listener(family, |_| {});
        listener.listen(0).unwrap();
        let validated = steer.shake_hands(&Segment::linux_syn(family));
        // One more than the backlog waits; then it is full (`sk_acceptq_is_full`).
        let _waiting = connect(family);
        steer.check(vec![
            case(
                "SYN",
                &Segment::linux_syn(family),
                DROP,
                &[Counter::Syn, Counter::DropQueueFull],
            ),
            case(
                "validated before",
                &validated,
                PASS,
                &[Counter::CookieValid],
            ),
        ]);
        listener.accept().unwrap();
        completes_handshake(steer, family);
    });
}

#[test]
fn listeners_of_every_kind_are_found() {
    needs_root!();
    locally(|steer, family| {
        let anywhere: IpAddr = "::".parse().unwrap();
        let dual = TcpListener::bind(SocketAddr::new(anywhere, SERVERS[family].port())).unwrap();
        completes_handshake(steer, family);
        close(dual);

        let bound = listener(family, |socket| {
            socket.bind_device(Some(b"sw-out")).unwrap();
        });
        bound.listen(9).unwrap();
        completes_handshake(steer, family);
        close(bound);

        let elsewhere = listener(family, |socket| {
            socket.bind_device(Some(b"sw-in")).unwrap();
        });
        elsewhere.listen(9).unwrap();
        let counted = &[Counter::Syn, Counter::Passed];
        steer.check(vec![case(
            "bound to another",
            &Segment::linux_syn(family),
            PASS,
            counted,
        )]);
        close(elsewhere);

        let group: Vec<_> = (0..3)
            .map(|_| listener(family, |socket| socket.set_reuse_port(true).unwrap()))
            .collect();
        group.iter().for_each(|one| one.listen(9).unwrap());
        completes_handshake(steer, family);
    });
}

#[test]
fn segments_from_the_servers_address_are_not_learned() {
    needs_root!();
    locally(|steer, family| {
        let segment = Segment::from_server(family, ACK);
        steer.check(vec![Case {
            what: "as if from inside",
            frame: segment.bytes(),
            side: Side::Inside,
            verdict: PASS,
            counted: &[],
        }]);
        let syn = Segment::linux_syn(family);
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, TX);
    });
}

/// A socket bound to the service's address that does not listen yet.
pub(crate) fn listener(family: usize, prepare: impl FnOnce(&Socket)) -> Socket {
    let socket = Socket::new(Domain::for_address(SERVERS[family]), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    prepare(&socket);
    socket.bind(&SERVERS[family].into()).unwrap();
    socket
}

/// Closes it at once: a process that another test has just forked may have it open too, until its exec.
pub(crate) fn close(socket: impl std::os::fd::AsFd) {
    let _ = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Both);
}

/// A connection to the service from this machine. It takes the kernel a moment until a new interface's IPv6 address has its
/// route.
pub(crate) fn connect(family: usize) -> TcpStream {
    let from = SocketAddr::new(HERE[family].parse().unwrap(), 0);
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let socket = Socket::new(Domain::for_address(SERVERS[family]), Type::STREAM, None).unwrap();
        let connected = socket
            .bind(&from.into())
            .and_then(|()| socket.connect(&SERVERS[family].into()));
        match connected {
            Ok(()) => return socket.into(),
            Err(error) => assert!(Instant::now() < patience, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

//! The fast path saves work and decides nothing by itself: every frame has the verdict, the bytes and the counters that the
//! general path gives it.

use std::net::TcpListener;

use socket2::{Domain, Protocol, Socket, Type};
use synward_core::counters::{Counter, SLOTS};
use synward_core::layout::{
    Flow, KeySlot, cookies, handoff, key_slot, mode, state, unknown_policy,
};

use crate::frame_builder::{ACK, CWR, ECE, FIN, PSH, SERVERS, SYN, Segment, hex};
use crate::kernel_cookies::syncookies;
use crate::local_services::{connect, listener, locally};
use crate::own_sources::{LIKE_OWN, OWN};
use crate::spliced_flows::flow;
use crate::steer::{
    ATTEMPTS, EPOCH, SERVICE, SPARSE, Seen, Shared, Side, Steer, in_namespace, key, now,
};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

/// Bytes behind the IP packet. They carry nothing, but the fast path takes only frames without them.
const PADDING: usize = 6;

/// A SYN that the fast path takes, over IPv4.
/// SYNs that differ in what the answer depends on, and in what it must not depend on.
fn syns(family: usize) -> Vec<Segment> {
    let plain = Segment::linux_syn(family);
    vec![
        Segment {
            flags: SYN | ECE | CWR,
            ..plain.clone()
        },
        Segment {
            flags: SYN | ECE | CWR,
            accurate_ecn: true,
            ..plain.clone()
        },
        Segment {
            ttl: 1,
            dont_fragment: false,
            sequence: 0,
            ..plain.clone()
        },
        Segment {
            // The least MSS that the kernel takes over IPv6, and more than it needs over IPv4.
            options: [&[2, 4, 4, 196, 4, 2, 8, 10][..], &[0xff; 8], &[1, 3, 3, 14]].concat(),
            ..plain.clone()
        },
        plain,
    ]
}

/// What the program does with a frame, and by how much each counter moves.
fn run(steer: &mut Steer, side: Side, segment: &Segment) -> (Seen, [u64; SLOTS]) {
    steer.forget_answer(segment);
    let before = steer.counters();
    let seen = steer.run(side, &segment.bytes());
    let mut moved = steer.counters();
    moved
        .iter_mut()
        .zip(before)
        .for_each(|(now, before)| *now -= before);
    (seen, moved)
}

/// Runs a segment by both paths, which must decide the same, and checks that it is this verdict.
fn decides_the_same(steer: &mut Steer, what: &str, side: Side, segment: &Segment, verdict: u32) {
    let padded = Segment {
        padding: PADDING,
        ..segment.clone()
    };
    assert_eq!(
        segment.bytes().len(),
        if segment.source.is_ipv4() { 74 } else { 94 },
        "Ethernet, IP, TCP and 20 bytes of options"
    );
    // The kernel's own cookies depend on the time: compare only what falls into the same moment.
    let attempt = |_| {
        let fast = run(steer, side, segment);
        let general = run(steer, side, &padded);
        let is_moment = run(steer, side, segment).0.frame == fast.0.frame;
        is_moment.then_some((fast, general))
    };
    let (fast, general) = (0..ATTEMPTS)
        .find_map(attempt)
        .expect("three runs in one moment");
    assert_eq!(fast.0.verdict, verdict, "{what}");
    assert_eq!(general.0.verdict, verdict, "by the general path: {what}");
    assert_eq!(fast.0.meta, general.0.meta, "request to the worker: {what}");
    assert_eq!(fast.1, general.1, "counters: {what}");
    // An answer has no padding; everything else keeps what it came with.
    let padding = if verdict == TX { 0 } else { PADDING };
    let expected = [&fast.0.frame[..], &vec![0; padding]].concat();
    assert_eq!(hex(&general.0.frame), hex(&expected), "frame: {what}");
}

/// Runs every SYN by both paths.
fn all_the_same(steer: &mut Steer, what: &str, family: usize, verdict: u32) {
    for segment in syns(family) {
        decides_the_same(steer, what, Side::Outside, &segment, verdict);
    }
}

#[test]
fn fast_path_and_general_path_decide_the_same() {
    needs_root!();
    for family in [0, 1] {
        in_namespace(|steer| {
            policies(steer, family);
            workers(steer, family);
            flows(steer, family);
            passed_connections(steer, family);
            keys(steer, family);
            impossible_sources(steer, family);
        });
        in_namespace(|steer| lists(steer, family));
        in_namespace(|steer| endpoints(steer, family));
    }
    locally(listeners);
    locally(kernel_cookies);
}

/// Modes, handoffs, the policy for unknown segments, adopted connections.
fn policies(steer: &mut Steer, family: usize) {
    all_the_same(steer, "splice", family, TX);
    for (what, mode) in [("off", mode::OFF), ("monitor", mode::MONITOR)] {
        for handoff in [handoff::SPLICE, handoff::FORWARD, handoff::LOCAL] {
            steer.policy(|service| (service.mode, service.handoff) = (mode, handoff));
            all_the_same(steer, what, family, PASS);
        }
    }
    steer.policy(|service| service.handoff = handoff::FORWARD);
    all_the_same(steer, "forward", family, TX);
    for policy in [unknown_policy::PASS, unknown_policy::RESET] {
        steer.policy(|service| service.unknown_policy = policy);
        all_the_same(steer, "unknown segments pass or are reset", family, TX);
    }
    steer.policy(|service| service.adopt_until = now() + 60_000_000_000);
    all_the_same(steer, "connections are adopted", family, TX);
    steer.policy(|_| {});
}

/// A worker that answers SYNs, dead and alive.
fn workers(steer: &mut Steer, family: usize) {
    steer.answer_by_worker();
    for handoff in [handoff::SPLICE, handoff::FORWARD] {
        steer.policy(|service| service.handoff = handoff);
        steer.set("HEARTBEATS", 0, 0u64);
        all_the_same(steer, "no worker alive", family, TX);
        // There is no socket in the map.
        steer.beat();
        all_the_same(steer, "a worker without a socket", family, DROP);
    }
    steer.set("HEARTBEATS", 0, 0u64);
    steer.policy(|_| {});
}

/// A flow in each state.
fn flows(steer: &mut Steer, family: usize) {
    for (what, state, verdict) in [
        ("an opening", state::OPENING, TX),
        ("an established flow", state::ESTABLISHED, REDIRECT),
        ("a closing flow", state::CLOSING, TX),
        ("an empty entry", state::EMPTY, TX),
    ] {
        steer.place(Flow {
            state,
            ..flow(family)
        });
        decides_the_same(
            steer,
            what,
            Side::Outside,
            &Segment::linux_syn(family),
            verdict,
        );
    }
    for line in 0..steer.hint_lines() {
        steer.set("OCCUPANCY", line, [0u64; 8]);
    }
    all_the_same(steer, "an empty occupancy filter", family, TX);
    for line in 0..steer.hint_lines() {
        steer.set("OCCUPANCY", line, [u64::MAX; 8]);
    }
}

/// A connection that passes through, and one that has ended.
fn passed_connections(steer: &mut Steer, family: usize) {
    let from_server = Segment {
        acknowledgement: 9,
        ..Segment::from_server(family, ACK | PSH)
    };
    steer.run(Side::Inside, &from_server.bytes());
    decides_the_same(
        steer,
        "a passed connection",
        Side::Outside,
        &Segment::linux_syn(family),
        PASS,
    );
    let fin = Segment {
        flags: ACK | FIN,
        ..from_server
    };
    steer.run(Side::Inside, &fin.bytes());
    decides_the_same(
        steer,
        "one that has ended",
        Side::Outside,
        &Segment::linux_syn(family),
        TX,
    );
}

/// No key of this epoch.
fn keys(steer: &mut Steer, family: usize) {
    let place = key_slot(SERVICE, EPOCH);
    let slot = |epoch| {
        Shared(KeySlot {
            epoch,
            keys: [key(EPOCH, 0); 4],
        })
    };
    steer.set("KEYS", place, slot(EPOCH - 256));
    all_the_same(steer, "no key", family, DROP);
    steer.set("KEYS", place, slot(EPOCH));
    all_the_same(steer, "a key", family, TX);
}

/// Sources that no client has, for each handoff. Monitored services leave them to the kernel.
fn impossible_sources(steer: &mut Steer, family: usize) {
    let of = |source: std::net::SocketAddr| Segment {
        source,
        ..Segment::linux_syn(family)
    };
    let server = SERVERS[family];
    let mut impossible = vec![of(server), of((server.ip(), 40_001).into())];
    let texts: [&[&str]; 2] = [
        &[
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.255",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "254.255.255.255",
            "255.255.255.255",
        ],
        &["::", "::1", "ff02::1", "ff0e::1", "fe80::2"],
    ];
    steer.own_sources(OWN[family]);
    impossible.extend(
        (texts[family].iter().chain(OWN[family]))
            .map(|text| of((text.parse::<std::net::IpAddr>().unwrap(), 40_001).into())),
    );
    let unusual: [&[&str]; 2] = [&["1.0.0.1", "223.0.0.1", "128.0.0.1"], &["::2", "fec0::2"]];
    for handoff in [handoff::SPLICE, handoff::FORWARD, handoff::LOCAL] {
        // Adoption does not let an impossible source pass.
        steer.policy(|service| {
            service.handoff = handoff;
            service.adopt_until = now() + 60_000_000_000;
        });
        for segment in &impossible {
            let what = format!("{} to handoff {handoff}", segment.source);
            decides_the_same(steer, &what, Side::Outside, segment, DROP);
            for flags in [ACK, ACK | PSH, FIN | ACK, SYN | ACK] {
                let segment = Segment {
                    flags,
                    acknowledgement: 9,
                    ..segment.clone()
                };
                let (seen, moved) = run(steer, Side::Outside, &segment);
                assert_eq!(seen.verdict, DROP, "flags {flags:#x}, {what}");
                let mut expected = [0; SLOTS];
                expected[Counter::DropImpossibleSource as usize] = 1;
                assert_eq!(moved, expected, "flags {flags:#x}, {what}");
            }
            let moved = run(steer, Side::Outside, segment).1;
            assert_eq!(moved[Counter::DropImpossibleSource as usize], 1, "{what}");
        }
        if handoff != handoff::LOCAL {
            for text in unusual[family].iter().chain(LIKE_OWN[family]) {
                let segment = of((text.parse::<std::net::IpAddr>().unwrap(), 40_001).into());
                decides_the_same(steer, text, Side::Outside, &segment, TX);
            }
        }
    }
    for mode in [mode::OFF, mode::MONITOR] {
        steer.policy(|service| service.mode = mode);
        decides_the_same(steer, "LAND, monitored", Side::Outside, &of(server), PASS);
    }
    steer.policy(|_| {});
}

/// Allow and deny lists.
fn lists(steer: &mut Steer, family: usize) {
    let (net, all) = [
        ("198.51.100.0/24", "0.0.0.0/0"),
        ("2001:db8:c::/48", "::/0"),
    ][family];
    for handoff in [handoff::SPLICE, handoff::FORWARD] {
        steer.policy(|service| (service.listed, service.handoff) = (1, handoff));
        all_the_same(steer, "on no list", family, TX);
    }
    steer.list(all, 2);
    all_the_same(steer, "denied", family, DROP);
    steer.list(net, 1);
    all_the_same(steer, "allowed", family, PASS);
    steer.policy(|_| {});
    all_the_same(steer, "lists of other services", family, TX);
}

/// Profiles of the server; addresses and interfaces that are not protected.
fn endpoints(steer: &mut Steer, family: usize) {
    let elsewhere = Segment {
        destination: (SERVERS[family].ip(), 97).into(),
        ..Segment::linux_syn(family)
    };
    decides_the_same(steer, "another port", Side::Outside, &elsewhere, PASS);
    for side in [Side::Inside, Side::Elsewhere] {
        decides_the_same(
            steer,
            "another interface",
            side,
            &Segment::linux_syn(family),
            PASS,
        );
    }
    steer.endpoint(SERVERS[family], SPARSE);
    for handoff in [handoff::SPLICE, handoff::FORWARD] {
        steer.policy(|service| service.handoff = handoff);
        all_the_same(steer, "a server with few options", family, TX);
    }
}

/// Services of this machine: no listener, one with room, one that is full, a connection.
fn listeners(steer: &mut Steer, family: usize) {
    all_the_same(steer, "a closed port", family, PASS);
    let listener = listener(family, |_| {});
    listener.listen(0).unwrap();
    all_the_same(steer, "a listener", family, TX);
    steer.answer_by_worker();
    steer.beat();
    all_the_same(steer, "a worker without a socket", family, DROP);
    steer.set("HEARTBEATS", 0, 0u64);
    all_the_same(steer, "no worker alive", family, TX);

    // One more than the backlog waits; then it is full (`sk_acceptq_is_full`).
    let client = connect(family);
    all_the_same(steer, "a full accept queue", family, DROP);
    let of_connection = Segment {
        source: client.local_addr().unwrap(),
        ..Segment::linux_syn(family)
    };
    decides_the_same(steer, "a connection", Side::Outside, &of_connection, PASS);
    let _server = listener.accept().unwrap();
    all_the_same(steer, "room again", family, TX);
}

/// Listeners that take only the kernel's cookies.
fn kernel_cookies(steer: &mut Steer, family: usize) {
    let ours = TcpListener::bind(SERVERS[family]).unwrap();
    for (count, verdict) in [(1, PASS), (2, TX)] {
        syncookies(count);
        for more in [0, cookies::TIMES] {
            steer.policy(|service| {
                service.handoff = handoff::LOCAL;
                service.cookies = cookies::KERNEL | more;
            });
            all_the_same(steer, "a service with kernel cookies", family, verdict);
        }
    }
    crate::local_services::close(&ours);
    drop(ours);

    let Ok(mptcp) = Socket::new(
        Domain::for_address(SERVERS[family]),
        Type::STREAM,
        Some(Protocol::MPTCP),
    ) else {
        eprintln!("this kernel has no MPTCP");
        return;
    };
    mptcp.set_reuse_address(true).unwrap();
    mptcp.bind(&SERVERS[family].into()).unwrap();
    mptcp.listen(9).unwrap();
    for (count, verdict) in [(1, PASS), (2, TX)] {
        syncookies(count);
        for cookies in [0, cookies::TIMES] {
            steer.policy(|service| (service.handoff, service.cookies) = (handoff::LOCAL, cookies));
            all_the_same(steer, "an MPTCP listener", family, verdict);
        }
    }
}

//! Where a translated segment goes: the kernel refuses it or forwards it, or it leaves by the interface that it came by.

use std::net::IpAddr;

use synward_core::counters::Counter;
use synward_core::layout::{Flow, Interface, NextHop, handoff, side, state};
use synward_core::queue_set::QueueSet;

use crate::frame_builder::{self, ACK, CLIENT_MAC, OUT_MAC, RST, SERVER_MAC, SYN, Segment, hex};
use crate::frame_reader::read;
use crate::spliced_flows::flow;
use crate::steer::{PROFILE, Shared, Side, Steer, in_namespace};
use crate::test_network::ip;
use crate::translation::segments;
use crate::{PASS, REDIRECT, TX, needs_root};

/// Segments of both directions, each with its translation as the kernel gets it to forward.
fn pairs(family: usize, change: impl Fn(Segment) -> Segment) -> Vec<(Side, Vec<u8>, Vec<u8>)> {
    [Side::Outside, Side::Inside]
        .into_iter()
        .map(|side| {
            let mut numbers = segments(family, side).swap_remove(0);
            numbers.segment = change(numbers.segment);
            numbers.times = Some((1, 2));
            (
                side,
                numbers.build().bytes(),
                numbers.translated(&flow(family), side).build().bytes(),
            )
        })
        .collect()
}

#[test]
fn segments_that_the_kernel_refuses_pass_untranslated() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            steer.place(flow(family));
            for ttl in [0, 1] {
                for (side, frame, _) in pairs(family, |segment| Segment { ttl, ..segment }) {
                    let seen = steer.run(side, &frame);
                    assert_eq!(
                        (seen.verdict, hex(&seen.frame)),
                        (PASS, hex(&frame)),
                        "TTL {ttl} {side:?}"
                    );
                }
            }
        }
        for interface in ["sw-in", "sw-out"] {
            ip(&format!("link set {interface} mtu 1280"));
        }
        for family in [0, 1] {
            let big = |segment| Segment {
                payload: vec![7; 1300],
                ..segment
            };
            for (side, frame, _) in pairs(family, big) {
                let seen = steer.run(side, &frame);
                assert_eq!(
                    (seen.verdict, hex(&seen.frame)),
                    (PASS, hex(&frame)),
                    "too big, {side:?}"
                );
            }
        }
        for (side, frame, translated) in pairs(0, |segment| Segment {
            payload: vec![7; 1300],
            dont_fragment: false,
            ..segment
        }) {
            let seen = steer.run(side, &frame);
            assert_eq!(
                (seen.verdict, hex(&seen.frame)),
                (PASS, hex(&translated)),
                "to be fragmented, {side:?}"
            );
        }
        for (address, family) in [("192.0.2.10/32", 0), ("2001:db8:5::10/128", 1)] {
            ip(&format!("route add unreachable {address}"));
            let (side, frame, _) = pairs(family, |segment| segment).swap_remove(0);
            let seen = steer.run(side, &frame);
            assert_eq!(
                (seen.verdict, hex(&seen.frame)),
                (PASS, hex(&frame)),
                "no way to {address}"
            );
        }
    });
}

#[test]
fn segments_that_the_kernel_forwards_pass_translated() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            steer.place(flow(family));
            for (side, frame, translated) in pairs(family, |segment| Segment {
                tags: vec![(0x8100, 7)],
                ..segment
            }) {
                let seen = steer.run(side, &frame);
                assert_eq!(
                    (seen.verdict, hex(&seen.frame)),
                    (PASS, hex(&translated)),
                    "tagged, {side:?}"
                );
            }
        }
        for address in ["192.0.2.10", "2001:db8:5::10"] {
            ip(&format!("neighbour delete {address} dev sw-in"));
        }
        for family in [0, 1] {
            let (side, frame, translated) = pairs(family, |segment| segment).swap_remove(0);
            let seen = steer.run(side, &frame);
            assert_eq!(
                (seen.verdict, hex(&seen.frame)),
                (PASS, hex(&translated)),
                "neighbour unknown"
            );
        }
    });
}

/// As by a driver whose receive buffers are too small.
#[test]
fn a_segment_that_was_cut_short_passes() {
    needs_root!();
    in_namespace(|steer| {
        for handoff in [handoff::SPLICE, handoff::FORWARD] {
            steer.policy(|service| service.handoff = handoff);
            for family in [0, 1] {
                steer.place(flow(family));
                let full = |segment| Segment {
                    payload: vec![7; 1300],
                    ..segment
                };
                for (side, frame, _) in pairs(family, full) {
                    assert_eq!(steer.run(side, &frame).verdict, REDIRECT, "{side:?}");
                    let cut = steer.run(side, &frame[..frame.len() - 1]);
                    assert_eq!(cut.verdict, PASS, "{side:?}");
                }
            }
        }
    });
}

#[test]
fn in_one_arm_a_segment_leaves_by_the_interface_it_came_by() {
    needs_root!();
    in_namespace(|steer| {
        make_one_arm(steer);
        for family in [0, 1] {
            steer.place(flow(family));
            for (side, frame, translated) in pairs(family, |segment| segment) {
                let seen = steer.run(Side::Outside, &frame);
                assert_eq!(seen.verdict, TX, "{side:?}");
                let (seen, expected) = (read(&seen.frame), read(&translated));
                assert_eq!(seen.tcp, expected.tcp);
                let to = if side == Side::Outside {
                    SERVER_MAC
                } else {
                    CLIENT_MAC
                };
                assert_eq!(
                    (seen.to, seen.from, seen.ttl),
                    (to, OUT_MAC, expected.ttl - 1)
                );
            }
        }
    });
}

/// Has the servers on the interface of the clients, which then faces both.
fn make_one_arm(steer: &mut Steer) {
    for address in ["192.0.2.10", "2001:db8:5::10"] {
        ip(&format!("route add {address} dev sw-out"));
        ip(&format!(
            "neighbour replace {address} lladdr 02:00:00:00:00:04 dev sw-out nud permanent"
        ));
    }
    let both = Interface {
        side: side::OUTSIDE | side::INSIDE,
        slot: 0,
        afxdp: QueueSet::default(),
    };
    steer.steered(0, both);
}

/// One protected host is the client of another: both directions of its flow are translated.
#[test]
fn in_one_arm_a_client_may_be_protected_itself() {
    needs_root!();
    in_namespace(|steer| {
        make_one_arm(steer);
        for family in [0, 1] {
            let client = frame_builder::CLIENTS[family];
            steer.protect(client.ip(), client.port().into(), PROFILE);
            steer.place(flow(family));
            for (side, frame, translated) in pairs(family, |segment| segment) {
                let seen = steer.run(Side::Outside, &frame);
                assert_eq!(seen.verdict, TX, "{side:?}");
                assert_eq!(read(&seen.frame).tcp, read(&translated).tcp, "{side:?}");
            }
        }
    });
}

/// The program reports to the control thread which neighbour is unknown: the server itself, or the router to it.
#[test]
fn unknown_neighbours_are_reported() {
    needs_root!();
    in_namespace(|steer| {
        let servers = frame_builder::SERVERS.map(|server| server.ip());
        for (family, router) in ["192.0.2.99", "2001:db8:5::99"].into_iter().enumerate() {
            steer.place(flow(family));
            let frame = pairs(family, |segment| segment).swap_remove(0).1;
            let reported = |steer: &mut Steer| {
                steer.run(Side::Outside, &frame);
                let mut map = steer.hash_map::<Shared<NextHop>, u32>("UNRESOLVED");
                let found: Vec<_> = map.keys().map(Result::unwrap).collect();
                for hop in &found {
                    map.remove(hop).unwrap();
                }
                found
                    .into_iter()
                    .map(|hop| hop.0.address.into())
                    .collect::<Vec<IpAddr>>()
            };
            let server = servers[family];
            assert_eq!(reported(steer), [server; 0], "it is known");
            ip(&format!("neighbour delete {server} dev sw-in"));
            assert_eq!(reported(steer), [server]);
            ip(&format!("route add {server} via {router} dev sw-in"));
            assert_eq!(reported(steer), [router.parse::<IpAddr>().unwrap()]);
        }
    });
}

/// Whoever is outside cannot teach the program a connection in a server's name: the frame's sender is not the server.
#[test]
fn in_one_arm_only_the_server_teaches_connections() {
    needs_root!();
    in_namespace(|steer| {
        make_one_arm(steer);
        let routers = [
            ("192.0.2.10", "198.51.100.77"),
            ("2001:db8:5::10", "2001:db8:c::77"),
        ];
        let teaches = |steer: &mut Steer, family: usize, port: u16, flags: u8, mac: [u8; 6]| {
            let mut segment = Segment::from_server(family, flags);
            segment.destination.set_port(port);
            let mut frame = segment.bytes();
            frame[6..12].copy_from_slice(&mac);
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &frame).verdict, PASS);
            steer.counters()[Counter::Learned as usize] > before[Counter::Learned as usize]
        };
        let other_router = [2, 0, 0, 0, 0, 0x78];
        for (family, (server, router)) in routers.into_iter().enumerate() {
            for (port, flags) in [(7001, ACK), (7002, SYN)] {
                assert!(!teaches(steer, family, port, flags, CLIENT_MAC));
                assert!(!teaches(steer, family, port, flags, other_router));
                assert!(teaches(steer, family, port, flags, SERVER_MAC));
            }
            ip(&format!("neighbour delete {server} dev sw-out"));
            assert!(
                !teaches(steer, family, 7003, ACK, SERVER_MAC),
                "nobody knows the server's MAC"
            );
            ip(&format!("route replace {server} via {router} dev sw-out"));
            ip(&format!(
                "neighbour replace {router} lladdr 02:00:00:00:00:77 dev sw-out nud permanent"
            ));
            assert!(!teaches(steer, family, 7004, ACK, CLIENT_MAC));
            assert!(
                teaches(steer, family, 7004, ACK, other_router),
                "of the router's group"
            );
        }
    });
}

/// Nor can it answer an opening in a server's name: its SYN-ACK would say what the server supports. The server's own may have
/// any MAC but that of the way to the client.
#[test]
fn in_one_arm_a_client_answers_no_opening_in_a_servers_name() {
    needs_root!();
    in_namespace(|steer| {
        make_one_arm(steer);
        steer.beat();
        for family in [0, 1] {
            steer.place(Flow {
                state: state::OPENING,
                ..flow(family)
            });
            for flags in [SYN | ACK, ACK, RST | ACK] {
                let mut frame = Segment::from_server(family, flags).bytes();
                for (mac, is_delivered) in [
                    (CLIENT_MAC, false),
                    (SERVER_MAC, true),
                    ([2, 0, 0, 0, 0, 0x78], true),
                ] {
                    frame[6..12].copy_from_slice(&mac);
                    let before = steer.counters();
                    let seen = steer.run(Side::Outside, &frame);
                    assert_eq!(seen.meta.is_some(), is_delivered, "{mac:x?}");
                    if !is_delivered {
                        steer.assert_counted(&before, &[Counter::DropImpossibleSource], "refused");
                    }
                }
            }
        }
    });
}

//! Frames that concern no service pass to the kernel unchanged.

use std::net::SocketAddr;

use synward_core::counters::Counter;

use crate::frame_builder::{ACK, SYN, Segment};
use crate::steer::{Side, in_namespace};
use crate::{Case, DROP, PASS, needs_root};

const UDP: u8 = 17;
const ICMP_ECHO: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];

#[test]
fn frames_for_no_service_pass_unchanged() {
    needs_root!();
    let syn = |family| Segment::from_client(family, SYN);
    let mut frames: Vec<(&str, Side, Vec<u8>)> = vec![
        (
            "nothing but a destination",
            Side::Outside,
            vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0],
        ),
        ("ARP", Side::Outside, arp()),
        (
            "an unknown EtherType",
            Side::Outside,
            [&arp()[..12], &[0x88, 0xcc], &[0; 46]].concat(),
        ),
    ];
    for family in [0, 1] {
        let mut to = |what, side, segment: Segment| frames.push((what, side, segment.bytes()));
        let other_port = SocketAddr::new(syn(family).destination.ip(), 22);
        let other_address = if family == 0 {
            "192.0.2.11:80"
        } else {
            "[2001:db8:5::11]:80"
        };
        to(
            "a SYN to another port",
            Side::Outside,
            Segment {
                destination: other_port,
                ..syn(family)
            },
        );
        to(
            "a SYN to another address",
            Side::Outside,
            Segment {
                destination: other_address.parse().unwrap(),
                ..syn(family)
            },
        );
        to(
            "a SYN at an interface that is not steered",
            Side::Elsewhere,
            syn(family),
        );
        to("a client's SYN from inside", Side::Inside, syn(family));
        to(
            "a server's ACK from outside",
            Side::Outside,
            Segment::from_server(family, ACK),
        );
        to(
            "multicast",
            Side::Outside,
            Segment {
                to: [0x01, 0, 0x5e, 0, 0, 1],
                ..syn(family)
            },
        );
        to(
            "broadcast",
            Side::Outside,
            Segment {
                to: [0xff; 6],
                ..syn(family)
            },
        );
        let udp = [&[0, 80, 0, 80, 0, 12, 0, 0][..], b"word"].concat();
        let frame = syn(family).frame(&syn(family).packet(UDP, &udp));
        frames.push(("UDP to the service's port", Side::Outside, frame));
    }
    let echo = Segment::from_client(0, 0);
    frames.push((
        "an ICMP echo",
        Side::Outside,
        echo.frame(&echo.packet(1, &ICMP_ECHO)),
    ));
    let mut echo6 = ICMP_ECHO;
    echo6[0] = 128;
    let from = Segment::from_client(1, 0);
    frames.push((
        "an ICMPv6 echo",
        Side::Outside,
        from.frame(&from.packet(58, &echo6)),
    ));
    let mut packet = echo.packet(UDP, &[0; 64]);
    packet[6] = 0x20;
    frames.push((
        "a fragment of UDP, IPv4",
        Side::Outside,
        echo.frame(&packet),
    ));

    in_namespace(|steer| {
        steer.check(
            frames
                .into_iter()
                .map(|(what, side, frame)| Case {
                    what,
                    frame,
                    side,
                    verdict: PASS,
                    counted: &[],
                })
                .collect(),
        );
    });
}

/// The fragment header names the protocol of the whole packet, in every fragment unless further extension headers follow
/// (RFC 8200 §4.5).
#[test]
fn fragments_of_udp_pass() {
    needs_root!();
    in_namespace(|steer| {
        for offset in [1, 9] {
            let mut fragment = Segment::from_client(1, 0);
            fragment.extensions = vec![(44, vec![0, 0, 0, offset, 0, 0, 0, 9])];
            let packet = |protocol| fragment.frame(&fragment.packet(protocol, &[0; 64]));
            for (what, protocol, verdict, counted) in [
                ("UDP", UDP, PASS, &[][..]),
                ("further options", 60, DROP, &[Counter::DropFragment]),
                (
                    "a fragment of a fragment",
                    44,
                    DROP,
                    &[Counter::DropFragment],
                ),
            ] {
                steer.check(vec![Case {
                    what,
                    frame: packet(protocol),
                    side: Side::Outside,
                    verdict,
                    counted,
                }]);
            }
        }
    });
}

/// Who has 198.51.100.1?
fn arp() -> Vec<u8> {
    let head = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1],
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
    ]
    .concat();
    let body = [
        &[2, 0, 0, 0, 0, 1, 198, 51, 100, 2][..],
        &[0; 6],
        &[198, 51, 100, 1],
        &[0; 18],
    ]
    .concat();
    [head, body].concat()
}

//! ICMP errors that quote a segment of a spliced flow.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use synward_core::counters::{Counter, SLOTS};
use synward_core::flow::FlowKey;
use synward_core::layout::{Flow, state};
use synward_core::worker_request::Request;

use crate::frame_builder::{ACK, CLIENTS, SERVERS, SYN, Segment, hex};
use crate::steer::{SERVICE, Side, Steer, in_namespace};
use crate::{DROP, PASS, needs_root};

const DELTA: u32 = 0x9000_0001;

fn flow(family: usize) -> Flow {
    let (client, server) = (CLIENTS[family], SERVERS[family]);
    Flow {
        key: FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        ),
        sequence_delta: DELTA,
        state: state::ESTABLISHED,
        service: SERVICE as u16,
        ..Flow::default()
    }
}

/// An error of this type and code that quotes the first `quoted` bytes of a segment's packet, on its way from a
/// router to the segment's sender. The checksum is right.
fn error(kind: u8, code: u8, about: &Segment, quoted: usize) -> Vec<u8> {
    let packet = about.packet(6, &about.segment());
    let mut message = [
        &[kind, code, 0, 0, 0, 0, 5, 0][..],
        &packet[..quoted.min(packet.len())],
    ]
    .concat();
    let router = ["203.0.113.7", "2001:db8:ffff::7"][usize::from(about.source.is_ipv6())]
        .parse()
        .unwrap();
    let envelope = Segment {
        destination: about.source,
        source: std::net::SocketAddr::new(router, 0),
        ..Segment::from_client(0, 0)
    };
    let sum = checksum(&message, router, about.source.ip());
    message[2..4].copy_from_slice(&sum);
    envelope.frame(&envelope.packet(if about.source.is_ipv4() { 1 } else { 58 }, &message))
}

/// The checksum of a message whose own field is zero.
fn checksum(message: &[u8], source: IpAddr, destination: IpAddr) -> [u8; 2] {
    let mut sum = Sum16BitWords::new();
    let sum = match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => sum
            .add_16bytes(source.octets())
            .add_16bytes(destination.octets())
            .add_4bytes((message.len() as u32).to_be_bytes())
            .add_4bytes([0, 0, 0, 58]),
        _ => sum,
    };
    // It is in memory order.
    sum.add_slice(message).ones_complement().to_ne_bytes()
}

/// Runs an error; returns what comes out, and whether it was counted as translated.
fn run(steer: &mut Steer, frame: &[u8], what: &str) -> (Vec<u8>, bool) {
    let before = steer.counters();
    let seen = steer.run(Side::Outside, frame);
    assert_eq!(seen.verdict, PASS, "the kernel delivers errors: {what}");
    let moved: [u64; SLOTS] = std::array::from_fn(|index| steer.counters()[index] - before[index]);
    let translated = moved[Counter::IcmpTranslated as usize] == 1;
    assert_eq!(moved.iter().sum::<u64>(), u64::from(translated), "{what}");
    (seen.frame, translated)
}

/// Errors of both families that routers send.
fn kinds(family: usize) -> &'static [(&'static str, u8, u8)] {
    if family == 0 {
        &[
            ("fragmentation needed", 3, 4),
            ("host unreachable", 3, 1),
            ("time exceeded", 11, 0),
            ("parameter problem", 12, 0),
            ("source quench", 4, 0),
        ]
    } else {
        &[
            ("packet too big", 2, 0),
            ("unreachable", 1, 0),
            ("time exceeded", 3, 0),
            ("parameter problem", 4, 0),
        ]
    }
}

#[test]
fn the_quoted_sequence_number_is_the_servers_own() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            steer.place(flow(family));
            // The client's side saw K-space; the server wrote 0x7000_0000.
            for (sequence, own) in [
                (0x0000_0001, 0x7000_0000),
                (0x9000_0000, u32::MAX),
                (DELTA, 0),
            ] {
                let about = Segment {
                    sequence,
                    ttl: 1,
                    payload: vec![3; 200],
                    options: crate::frame_builder::padded_timestamps(1, 2),
                    ..Segment::from_server(family, ACK)
                };
                let mut wanted = about.segment();
                wanted[4..8].copy_from_slice(&own.to_be_bytes());
                for (what, kind, code) in kinds(family) {
                    let ip = [20, 40][family];
                    for quoted in [ip + 8, ip + 20, ip + 60, 1000] {
                        let frame = error(*kind, *code, &about, quoted);
                        let (out, translated) = run(steer, &frame, what);
                        assert!(translated, "{what}, {quoted} bytes quoted");
                        // Only the quoted number and the checksum differ, and the checksum is right.
                        let mut expected = frame.clone();
                        let message = 14 + ip;
                        let at = message + 8 + ip + 4;
                        expected[at..at + 4].copy_from_slice(&own.to_be_bytes());
                        expected[message + 2..message + 4].fill(0);
                        let router = ["203.0.113.7", "2001:db8:ffff::7"][family].parse().unwrap();
                        let sum = checksum(&expected[message..], router, about.source.ip());
                        expected[message + 2..message + 4].copy_from_slice(&sum);
                        assert_eq!(hex(&out), hex(&expected), "{what}, {quoted} bytes quoted");
                    }
                }
            }
        }
    });
}

#[test]
fn no_other_error_is_changed() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let from_server = Segment {
                sequence: 5,
                ..Segment::from_server(family, ACK)
            };
            let (_, kind, code) = kinds(family)[0];
            let mut untouched = vec![("no such flow", error(kind, code, &from_server, 100))];
            steer.place(flow(family));
            let echo = if family == 0 { 0 } else { 129 };
            untouched.push(("an echo reply", error(echo, 0, &from_server, 100)));
            untouched.push((
                "about the client's segment",
                error(kind, code, &Segment::from_client(family, ACK), 100),
            ));
            let ip = [20, 40][family];
            untouched.push(("quotes too little", error(kind, code, &from_server, ip + 7)));
            untouched.push(("quotes nothing", error(kind, code, &from_server, 0)));
            let mut other_port = from_server.clone();
            other_port.source.set_port(22);
            untouched.push((
                "another port of the server",
                error(kind, code, &other_port, 100),
            ));
            let mut other_client = from_server.clone();
            other_client.destination.set_port(1);
            untouched.push(("another connection", error(kind, code, &other_client, 100)));
            for (what, frame) in untouched {
                if what == "no such flow" {
                    let entry = Flow {
                        state: state::EMPTY,
                        ..flow(family)
                    };
                    steer.place(entry);
                }
                let (out, translated) = run(steer, &frame, what);
                steer.place(flow(family));
                assert!(!translated, "{what}, family {family}");
                assert_eq!(hex(&out), hex(&frame), "{what}, family {family}");
            }
        }
    });
}

#[test]
fn an_error_about_the_syn_of_an_opening_goes_to_its_worker() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let entry = steer.place(Flow {
                state: state::OPENING,
                ..flow(family)
            });
            let syn = Segment::from_client(family, SYN);
            let unreachable: &[(u8, u8)] = [
                &[(3, 0), (3, 1), (3, 3), (3, 13), (11, 0)][..],
                &[(1, 0), (1, 1), (1, 3), (1, 4), (3, 0)],
            ][family];
            for (kind, code) in unreachable {
                let frame = error(*kind, *code, &syn, [20, 40][family] + 8);
                steer.set("HEARTBEATS", 0, 0u64);
                let before = steer.counters();
                assert_eq!(steer.run(Side::Inside, &frame).verdict, DROP);
                steer.assert_counted(&before, &[Counter::DropNoWorker], "no worker");
                steer.beat();
                let seen = steer.run(Side::Inside, &frame);
                let request = seen.request(family == 0);
                assert_eq!(request.request, Request::Undelivered { entry });
                assert_eq!(usize::from(request.l4), 14 + [20, 40][family]);
                assert_eq!(hex(&seen.frame), hex(&frame));
                // Clients cannot say that about a server.
                assert_eq!(steer.run(Side::Outside, &frame).verdict, PASS);
            }
            let (_, kind, code) = kinds(family)[0];
            let mtu = error(kind, code, &syn, 100);
            assert_eq!(steer.run(Side::Inside, &mtu).verdict, PASS, "not an end");
            let (kind, code) = unreachable[0];
            for other in [
                Segment::from_client(1 - family, SYN),
                Segment::from_server(family, ACK),
            ] {
                let frame = error(kind, code, &other, 100);
                let what = "about another segment";
                assert_eq!(steer.run(Side::Inside, &frame).verdict, PASS, "{what}");
            }
            steer.place(flow(family));
            let frame = error(kind, code, &syn, 100);
            let verdict = steer.run(Side::Inside, &frame).verdict;
            assert_eq!(verdict, PASS, "of a flow that is established");
        }
    });
}

//! Sources that no client has, and some that only look like it: of both families, to every handoff, with each responder, and behind
//! tags. `own_sources` has those that depend on this machine's addresses.

use synward_core::counters::Counter;

use crate::frame_builder::{ACK, CLIENTS, RST, SERVERS, Segment, TAGS, stack};
use crate::own_sources::{OWN, everywhere};
use crate::steer::{Side, Steer};
use crate::{DROP, PASS, needs_root, outside_frame};

/// What Linux takes for martian, and the service's own address (LAND).
const IMPOSSIBLE: [&[&str]; 2] = [
    &[
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "239.1.2.3",
        "255.255.255.255",
        "192.0.2.10",
    ],
    &[
        "::",
        "::1",
        "ff02::1",
        "ff05::2",
        "ff0e::1",
        "fe80::2",
        "2001:db8:5::10",
    ],
];

/// Sources that look impossible and may be clients: Linux forwards from deprecated prefixes (site-local, IPv4-compatible), and 6to4
/// of an address of this machine is no address of this machine.
const CLIENTS_TOO: [&[&str]; 2] = [
    &["223.255.255.254", "100.64.0.1", "169.254.1.1"],
    &["fec0::1", "::198.51.100.1", "2002:c633:6401::1", "fc00::1"],
];

fn from(family: usize, source: &str, tags: &[(u16, u16)], segment: &Segment) -> Segment {
    Segment {
        source: (
            source.parse::<std::net::IpAddr>().unwrap(),
            CLIENTS[family].port(),
        )
            .into(),
        tags: tags.to_vec(),
        ..segment.clone()
    }
}

fn by_worker(steer: &mut Steer) {
    steer.answer_by_worker();
    steer.beat();
}

#[test]
fn impossible_sources_are_refused_everywhere() {
    needs_root!();
    everywhere(|steer, family, _| {
        steer.own_sources(OWN[family]);
        let syn = Segment::syn(family, stack::linux());
        // The fast path takes SYNs of one form, the general path all others.
        let windows = Segment::syn(family, stack::windows());
        for worker in [false, true] {
            if worker {
                by_worker(steer);
            }
            for tags in TAGS {
                for source in IMPOSSIBLE[family].iter().chain(OWN[family]) {
                    for syn in [&syn, &windows] {
                        let frame = from(family, source, tags, syn).bytes();
                        let counted = &[Counter::Syn, Counter::DropImpossibleSource];
                        steer.check(vec![outside_frame("SYN", frame, DROP, counted)]);
                    }
                }
            }
        }
    });
}

/// An edge without state forwards everything but SYNs: there only those of impossible sources are refused as well.
#[test]
fn other_segments_of_impossible_sources_are_refused_too() {
    needs_root!();
    everywhere(|steer, family, _| {
        for tags in TAGS {
            for source in IMPOSSIBLE[family] {
                for flags in [ACK, RST, RST | ACK, 0] {
                    let segment = Segment {
                        acknowledgement: 9,
                        ..Segment::from_client(family, flags)
                    };
                    let frame = from(family, source, tags, &segment).bytes();
                    let counted = &[Counter::DropImpossibleSource];
                    steer.check(vec![outside_frame("no SYN", frame, DROP, counted)]);
                }
            }
        }
    });
}

#[test]
fn sources_that_may_be_clients_are_challenged() {
    needs_root!();
    everywhere(|steer, family, kind| {
        steer.own_sources(OWN[family]);
        for (number, tags) in TAGS.into_iter().enumerate() {
            for source in CLIENTS_TOO[family] {
                // An edge leaves a repeated SYN to the server.
                let mut syn = from(family, source, tags, &Segment::syn(family, stack::linux()));
                syn.source.set_port(50_000 + number as u16);
                let before = steer.counters();
                steer.run(Side::Outside, &syn.bytes());
                let counted = &[Counter::Syn, Counter::AnsweredXdp];
                steer.assert_counted(&before, counted, &format!("{source} to handoff {kind}"));
            }
        }
    });
}

/// Mapped addresses must not be on the wire (RFC 4942 §2.2). The kernel drops a packet with such a source; nothing may take it for
/// one over IPv4.
#[test]
fn mapped_addresses_are_left_to_the_kernel() {
    needs_root!();
    everywhere(|steer, family, _| {
        if family == 0 {
            return;
        }
        let mapped = |address: std::net::SocketAddr| {
            let std::net::IpAddr::V4(v4) = address.ip() else {
                panic!("{address}")
            };
            std::net::SocketAddr::from((v4.to_ipv6_mapped(), address.port()))
        };
        for (source, destination) in [
            (mapped(CLIENTS[0]), SERVERS[1]),
            (mapped(CLIENTS[0]), mapped(SERVERS[0])),
            (CLIENTS[1], mapped(SERVERS[0])),
        ] {
            for segment in [Segment::linux_syn(1), Segment::ack_without_cookie(1)] {
                let segment = Segment {
                    source,
                    destination,
                    ..segment
                };
                steer.check(vec![outside_frame("mapped", segment.bytes(), PASS, &[])]);
            }
        }
    });
}

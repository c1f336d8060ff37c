//! Fragments and malformed headers towards protected addresses.

use synward_core::counters::Counter;
use synward_core::layout::mode;

use crate::frame_builder::{ACK, CLIENTS, PSH, SYN, Segment, hex, stack};
use crate::spliced_flows::flow;
use crate::steer::{Side, in_namespace};
use crate::{Case, DROP, PASS, needs_root, outside_frame};

const FRAGMENT: &[Counter] = &[Counter::DropFragment];
const MALFORMED: &[Counter] = &[Counter::DropMalformed];
const TOO_MANY_TAGS: &[Counter] = &[Counter::DropTooManyTags];

fn syn(family: usize) -> Segment {
    Segment {
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

/// First, middle and last fragments of a SYN.
fn fragments() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![];
    for (what, bytes) in [
        ("first, IPv4", [0x20, 0]),
        ("middle, IPv4", [0x20, 1]),
        ("last, IPv4", [0, 1]),
    ] {
        let mut packet = syn(0).packet(6, &syn(0).segment());
        packet[6..8].copy_from_slice(&bytes);
        all.push((what, syn(0).frame(&packet)));
    }
    for (what, low) in [
        ("first, IPv6", 1),
        ("last, IPv6", 8),
        ("atomic, IPv6 (RFC 6946)", 0),
    ] {
        let extensions = vec![(44, vec![0, 0, 0, low, 0, 0, 0, 9])];
        all.push((
            what,
            Segment {
                extensions,
                ..syn(1)
            }
            .bytes(),
        ));
    }
    let extensions = vec![
        (0, vec![0, 0, 1, 4, 0, 0, 0, 0]),
        (44, vec![0, 0, 0, 1, 0, 0, 0, 9]),
    ];
    all.push((
        "behind another header, IPv6",
        Segment {
            extensions,
            ..syn(1)
        }
        .bytes(),
    ));
    all
}

#[test]
fn fragments_are_dropped_unless_the_service_passes_them() {
    needs_root!();
    in_namespace(|steer| {
        let drops = fragments()
            .into_iter()
            .map(|(what, frame)| outside_frame(what, frame, DROP, FRAGMENT));
        steer.check(drops.collect());
        steer.policy(|service| service.pass_fragments = 1);
        steer.check(
            fragments()
                .into_iter()
                .map(|(what, frame)| outside_frame(what, frame, PASS, &[]))
                .collect(),
        );
    });
}

/// A fragment of a segment that is larger than it; `offset` in units of eight bytes.
pub(crate) fn fragment(segment: &Segment, offset: u8) -> Vec<u8> {
    if segment.source.is_ipv4() {
        let mut packet = segment.packet(6, &segment.segment());
        packet[6..8].copy_from_slice(&[0x20, offset]);
        return segment.frame(&packet);
    }
    let extensions = vec![(44, vec![0, 0, 0, offset << 3 | 1, 0, 0, 0, 9])];
    Segment {
        extensions,
        ..segment.clone()
    }
    .bytes()
}

#[test]
fn the_first_fragment_of_a_spliced_flow_is_translated() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.pass_fragments = 1);
        for family in [0, 1] {
            let flow = flow(family);
            steer.place(flow);
            let delta = flow.sequence_delta;
            let from_server = Segment {
                sequence: flow.server_sequence,
                acknowledgement: flow.client_sequence,
                payload: b"a part of an answer".to_vec(),
                ..Segment::from_server(family, ACK | PSH)
            };
            let to_client = Segment {
                sequence: flow.server_sequence.wrapping_add(delta),
                window: from_server.window >> 2,
                ..from_server.clone()
            };
            let from_client = Segment {
                sequence: flow.client_sequence,
                acknowledgement: flow.server_sequence.wrapping_add(delta),
                payload: b"a part of a request".to_vec(),
                ..Segment::from_client(family, ACK | PSH)
            };
            let to_server = Segment {
                acknowledgement: flow.server_sequence,
                ..from_client.clone()
            };
            for (side, before, after, counter) in [
                (Side::Inside, &from_server, &to_client, Counter::ToClient),
                (Side::Outside, &from_client, &to_server, Counter::ToServer),
            ] {
                let counted = steer.counters();
                let seen = steer.run(side, &fragment(before, 0));
                assert_eq!(seen.verdict, PASS, "the kernel forwards it");
                assert_eq!(hex(&seen.frame), hex(&fragment(after, 0)), "translated");
                steer.assert_counted(&counted, &[counter], "a first fragment");
                let later = fragment(before, 5);
                let seen = steer.run(side, &later);
                assert_eq!((seen.verdict, hex(&seen.frame)), (PASS, hex(&later)));
            }
        }
    });
}

#[test]
fn fragments_for_other_addresses_pass() {
    needs_root!();
    in_namespace(|steer| {
        let mut packet = syn(0).packet(6, &syn(0).segment());
        packet[6] = 0x20;
        packet[19] = 11;
        steer.check(vec![outside_frame(
            "a fragment for somebody else",
            syn(0).frame(&packet),
            PASS,
            &[],
        )]);
        steer.check(vec![Case {
            what: "a fragment from inside",
            frame: fragments().swap_remove(0).1,
            side: Side::Inside,
            verdict: PASS,
            counted: &[],
        }]);
    });
}

#[test]
fn malformed_headers_are_dropped_and_counted_by_reason() {
    needs_root!();
    let with = |family: usize, at: usize, byte: u8| {
        let mut frame = syn(family).bytes();
        frame[at] = byte;
        frame
    };
    let hop = |count: usize| vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0]); count];
    let long = |length: u8| {
        let mut header = vec![0; (length as usize + 1) * 8];
        header[1] = length;
        vec![(60, header)]
    };
    in_namespace(|steer| {
        for family in [0, 1] {
            let l4 = [34, 54][family];
            let short = syn(family).bytes()[..l4 + 19].to_vec();
            steer.check(vec![
                outside_frame("the TCP header is cut short", short, DROP, MALFORMED),
                outside_frame(
                    "data offset 4",
                    with(family, l4 + 12, 4 << 4),
                    DROP,
                    MALFORMED,
                ),
                outside_frame("data offset 0", with(family, l4 + 12, 0), DROP, MALFORMED),
                outside_frame(
                    "the TCP header ends beyond the packet",
                    with(family, l4 + 12, 15 << 4),
                    DROP,
                    MALFORMED,
                ),
            ]);
        }
        steer.check(vec![
            outside_frame(
                "an IPv4 total length of 20",
                with(0, 17, 20),
                DROP,
                MALFORMED,
            ),
            // Linux takes what the frame holds.
            outside_frame(
                "an IPv6 payload length of 0 in front of hop-by-hop options",
                {
                    let extensions = vec![(0, vec![0, 0, 1, 4, 0, 0, 0, 0])];
                    let mut frame = Segment {
                        extensions,
                        ..syn(1)
                    }
                    .bytes();
                    frame[18..20].fill(0);
                    frame
                },
                DROP,
                MALFORMED,
            ),
            outside_frame(
                "five extension headers",
                Segment {
                    extensions: hop(5),
                    ..syn(1)
                }
                .bytes(),
                DROP,
                MALFORMED,
            ),
            outside_frame(
                "seven extension headers",
                Segment {
                    extensions: hop(7),
                    ..syn(1)
                }
                .bytes(),
                DROP,
                MALFORMED,
            ),
            outside_frame(
                "an extension header that ends behind what a worker is told",
                Segment {
                    extensions: long(26),
                    ..syn(1)
                }
                .bytes(),
                DROP,
                MALFORMED,
            ),
            outside_frame(
                "an extension header of 520 bytes",
                Segment {
                    extensions: long(64),
                    ..syn(1)
                }
                .bytes(),
                DROP,
                MALFORMED,
            ),
            outside_frame(
                "an extension header beyond the frame",
                {
                    let mut frame = Segment {
                        extensions: hop(1),
                        ..syn(1)
                    }
                    .bytes();
                    frame.truncate(55);
                    frame
                },
                DROP,
                MALFORMED,
            ),
        ]);
    });
}

#[test]
fn a_syn_behind_too_many_tags_does_not_pass() {
    needs_root!();
    let stack = |count: usize, vid: u16| vec![(0x8100, vid); count];
    let tagged = |family: usize, count: usize, vid: u16| {
        let tags = stack(count, vid);
        Segment {
            tags,
            ..syn(family)
        }
    };
    in_namespace(|steer| {
        for family in [0, 1] {
            for (what, count, vid) in [
                ("three tags with VID 0", 3, 0),
                ("four tags", 4, 7),
                ("sixteen tags", 16, 0),
            ] {
                let frame = tagged(family, count, vid).bytes();
                steer.check(vec![outside_frame(what, frame, DROP, TOO_MANY_TAGS)]);
            }
            let udp = tagged(family, 3, 0);
            let elsewhere = Segment {
                destination: CLIENTS[family],
                ..tagged(family, 3, 0)
            };
            // What is cut short in its tags or IP header is dropped by the kernel.
            let cut = tagged(family, 4, 0).bytes()[..34].to_vec();
            steer.check(vec![
                outside_frame("UDP", udp.frame(&udp.packet(17, &[0; 20])), PASS, &[]),
                outside_frame("another address", elsewhere.bytes(), PASS, &[]),
                outside_frame("cut short", cut, PASS, &[]),
                Case {
                    side: Side::Inside,
                    ..outside_frame("from inside", tagged(family, 3, 0).bytes(), PASS, &[])
                },
                // Its destination is not read, and it counts for another service.
                outside_frame("seventeen tags", tagged(family, 17, 0).bytes(), DROP, &[]),
            ]);
        }
        steer.policy(|service| service.mode = mode::MONITOR);
        let frame = tagged(0, 3, 0).bytes();
        steer.check(vec![outside_frame(
            "in monitor",
            frame,
            PASS,
            &[Counter::WouldDropTooManyTags],
        )]);
    });
}

/// The kernel believes such a length if a hop-by-hop header follows (`ipv6_rcv`, net/ipv6/ip6_input.c).
#[test]
fn a_syn_in_a_packet_of_no_length_does_not_pass() {
    needs_root!();
    in_namespace(|steer| {
        let syn = Segment {
            extensions: vec![(0, vec![0, 0, 1, 4, 0, 0, 0, 0])],
            ..syn(1)
        };
        let mut frame = syn.bytes();
        // The payload length, behind the Ethernet header and the first word.
        frame[18..20].fill(0);
        steer.check(vec![outside_frame("no length", frame, DROP, MALFORMED)]);
    });
}

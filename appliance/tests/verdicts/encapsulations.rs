//! SYNs in every encapsulation get the answer of a plain one.

use crate::frame_builder::{self, SYN, Segment, stack};
use crate::needs_root;
use crate::steer::in_namespace;
use crate::syns::{answered, syn};

#[test]
fn syns_are_answered_in_every_encapsulation() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let plain = syn(family, stack::linux());
            let bare = syn(family, vec![]);
            let table = [
                (
                    "802.1Q",
                    Segment {
                        tags: vec![(0x8100, 7)],
                        ..plain.clone()
                    },
                ),
                (
                    "802.1Q with priority",
                    Segment {
                        tags: vec![(0x8100, 0xe007)],
                        ..plain.clone()
                    },
                ),
                (
                    "QinQ",
                    Segment {
                        tags: vec![(0x88a8, 100), (0x8100, 7)],
                        ..plain.clone()
                    },
                ),
                (
                    "QinQ, no options",
                    Segment {
                        tags: vec![(0x88a8, 100), (0x8100, 7)],
                        ..bare.clone()
                    },
                ),
                (
                    "padded to 60 bytes",
                    Segment {
                        padding: 6,
                        ..bare.clone()
                    },
                ),
                (
                    "padded a lot",
                    Segment {
                        padding: 200,
                        ..plain.clone()
                    },
                ),
                (
                    "payload",
                    Segment {
                        payload: b"GET / HTTP/1.0\r\n\r\n".to_vec(),
                        ..plain.clone()
                    },
                ),
                (
                    "a full payload",
                    Segment {
                        payload: vec![9; 1400],
                        ..bare.clone()
                    },
                ),
                (
                    "Fast Open cookie and data",
                    Segment {
                        options: [&stack::linux()[..], &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]]
                            .concat(),
                        payload: b"hello".to_vec(),
                        ..plain.clone()
                    },
                ),
                (
                    "MPTCP",
                    Segment {
                        options: [&stack::linux()[..], &[30, 4, 1, 0]].concat(),
                        ..plain.clone()
                    },
                ),
                (
                    "TTL 1",
                    Segment {
                        ttl: 1,
                        ..plain.clone()
                    },
                ),
                (
                    "PSH and URG",
                    Segment {
                        flags: SYN | frame_builder::PSH,
                        ..plain.clone()
                    },
                ),
                (
                    "sequence number 0",
                    Segment {
                        sequence: 0,
                        ..plain.clone()
                    },
                ),
                (
                    "sequence number 2^32 - 1",
                    Segment {
                        sequence: u32::MAX,
                        ..plain.clone()
                    },
                ),
            ];
            for (what, syn) in &table {
                answered(steer, what, syn);
            }
        }
        // IPv4 options: router alert, and the most that fit.
        for ip_options in [vec![0x94, 4, 0, 0], vec![1; 40]] {
            answered(
                steer,
                "IPv4 options",
                &Segment {
                    ip_options,
                    ..syn(0, stack::linux())
                },
            );
        }
        let extension = |number: u8, length: u8| {
            let mut header = vec![0; (length as usize + 1) * 8];
            header[1] = length;
            // PadN fills it.
            (header[2], header[3]) = (1, length * 8 + 4);
            (number, header)
        };
        for (what, extensions) in [
            ("hop-by-hop", vec![extension(0, 0)]),
            (
                "hop-by-hop, routing, destination options",
                vec![extension(0, 0), extension(43, 2), extension(60, 1)],
            ),
            (
                "four extension headers",
                vec![
                    extension(0, 0),
                    extension(60, 0),
                    extension(43, 0),
                    extension(60, 0),
                ],
            ),
        ] {
            answered(
                steer,
                what,
                &Segment {
                    extensions,
                    ..syn(1, stack::linux())
                },
            );
        }
    });
}

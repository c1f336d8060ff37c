//! Segments of spliced flows: what comes out is compared with a segment built from scratch out of the numbers
//! that it should have, and with what the shared library makes of the same input.

use synward_ebpf::counters::Counter;
use synward_ebpf::flow::{FlowKey, OVERFLOW, WAYS, entry_index};
use synward_ebpf::hints::Hint;
use synward_ebpf::layout::{Flow, Interface, flow_flags, side, state};
use synward_ebpf::request::Request;
use synward_ebpf::translate::{self, Direction, Translation};
use synward_ebpf::wire::tcp_options::Options;

use crate::frames::{
    ACK, CLIENT_MAC, CLIENTS, FIN, IN_MAC, OUT_MAC, PSH, RST, SERVER_MAC, SERVERS, SYN, Segment,
    hex, padded_timestamps, read, stack,
};
use crate::steer::{SERVICE, Shared, Side, Steer, in_namespace, ip, now};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

/// A flow whose every number differs on both sides.
fn flow(family: usize) -> Flow {
    let (client, server) = (CLIENTS[family], SERVERS[family]);
    Flow {
        key: FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        ),
        sequence_delta: 0x9000_0001,
        timestamp_delta: 0xffff_0003,
        client_isn: 1000,
        isn: 2000,
        last_seen: 5,
        state: state::ESTABLISHED,
        window_shift: -2,
        flags: flow_flags::TIMESTAMPS,
        owner: 0,
        service: SERVICE as u16,
        reserved: 0,
    }
}

/// A segment's numbers, which translation changes, and how its options are built out of them.
#[derive(Clone)]
struct Numbers {
    segment: Segment,
    times: Option<(u32, u32)>,
    sack: Vec<(u32, u32)>,
    shape: Shape,
}

/// Where the options stand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// As Linux does: padding in front, on words.
    Padded,
    /// Timestamps at an odd place, then SACK blocks at another.
    Odd,
    /// SACK blocks first, an unknown option between.
    SackFirst,
}

impl Numbers {
    fn build(&self) -> Segment {
        let times = self.times.map(|(tsval, tsecr)| {
            [&[8, 10][..], &tsval.to_be_bytes(), &tsecr.to_be_bytes()].concat()
        });
        let times = times.unwrap_or_default();
        let mut sack: Vec<u8> = vec![];
        if !self.sack.is_empty() {
            sack.extend([5, 2 + 8 * self.sack.len() as u8]);
            for (left, right) in &self.sack {
                sack.extend(left.to_be_bytes());
                sack.extend(right.to_be_bytes());
            }
        }
        let pad = |option: &[u8]| {
            if option.is_empty() {
                vec![]
            } else {
                [&[1, 1][..], option].concat()
            }
        };
        let mut options = match self.shape {
            Shape::Padded => [pad(&times), pad(&sack)].concat(),
            Shape::Odd => [&[1][..], &times, &sack].concat(),
            Shape::SackFirst => [&sack[..], &[254, 3, 9], &times].concat(),
        };
        options.resize(options.len().div_ceil(4) * 4, 0);
        Segment {
            options,
            ..self.segment.clone()
        }
    }

    /// What the other side should see: the table of `synward_ebpf::translate`, written out once more.
    fn translated(&self, flow: &Flow, side: Side) -> Self {
        let (delta, clock) = (flow.sequence_delta, flow.timestamp_delta);
        let mut other = self.clone();
        let segment = &mut other.segment;
        if side == Side::Outside {
            if segment.flags & ACK != 0 {
                segment.acknowledgement = segment.acknowledgement.wrapping_sub(delta);
            }
            other.times = self
                .times
                .map(|(tsval, tsecr)| (tsval, tsecr.wrapping_sub(clock)));
            let edge = |edge: u32| edge.wrapping_sub(delta);
            other.sack = self
                .sack
                .iter()
                .map(|(left, right)| (edge(*left), edge(*right)))
                .collect();
        } else {
            segment.sequence = segment.sequence.wrapping_add(delta);
            other.times = self
                .times
                .map(|(tsval, tsecr)| (tsval.wrapping_add(clock), tsecr));
            if segment.flags & SYN == 0 {
                let wide = f64::from(segment.window) * 2f64.powi(flow.window_shift.into());
                segment.window = if segment.window == 0 {
                    0
                } else {
                    wide.clamp(1.0, 65535.0) as u16
                };
            }
        }
        other
    }

    /// Forwarded: a hop less, other stations.
    fn forwarded(mut self, side: Side) -> Self {
        self.segment.ttl -= 1;
        (self.segment.to, self.segment.from) = if side == Side::Outside {
            (SERVER_MAC, IN_MAC)
        } else {
            (CLIENT_MAC, OUT_MAC)
        };
        self
    }
}

/// The library's own translation of a frame's TCP header and options.
fn library(flow: &Flow, side: Side, frame: &[u8], l4: usize) -> Vec<u8> {
    let direction = if side == Side::Outside {
        Direction::ToServer
    } else {
        Direction::ToClient
    };
    let translation = Translation::of(flow, direction);
    let mut header: [u8; 20] = frame[l4..l4 + 20].try_into().unwrap();
    let length = usize::from(header[12] >> 4) * 4 - 20;
    let mut options = Options::of(&frame[l4 + 20..l4 + 20 + length]);
    let sum = translation.header(&mut header);
    let sum = translation.options(&mut options, sum);
    translate::finish(&mut header, sum);
    [&header[..], &options.bytes[..length]].concat()
}

/// Segments of one direction, with every kind of option, flag and number.
fn segments(family: usize, side: Side) -> Vec<Numbers> {
    let segment = match side {
        Side::Outside => Segment::from_client(family, ACK),
        _ => Segment::from_server(family, ACK),
    };
    let base = Numbers {
        segment: Segment {
            acknowledgement: 0x1234_5678,
            ..segment
        },
        times: None,
        sack: vec![],
        shape: Shape::Padded,
    };
    let mut all = vec![base.clone()];
    let times = Some((0x0102_0304, 0xfffe_0001));
    let sacks = [
        (1u32, 0xffff_fff0u32),
        (0x8fff_ffff, 0x9000_0001),
        (0x7000_0000, 0x7000_05b4),
        (5, 9),
    ];
    for shape in [Shape::Padded, Shape::Odd, Shape::SackFirst] {
        for blocks in 0..=4 {
            for times in [None, times] {
                // Timestamps leave room for three blocks.
                if blocks < 4 || times.is_none() {
                    all.push(Numbers {
                        times,
                        sack: sacks[..blocks].to_vec(),
                        shape,
                        ..base.clone()
                    });
                }
            }
        }
    }
    let with_times = Numbers {
        times,
        ..base.clone()
    };
    let mut with = |segment: Segment| {
        all.push(Numbers {
            segment,
            ..with_times.clone()
        })
    };
    let plain = with_times.segment.clone();
    for flags in [
        ACK | PSH,
        ACK | FIN,
        ACK | RST,
        RST,
        SYN | ACK,
        ACK | crate::frames::ECE,
    ] {
        // A SYN-ACK comes again from the server alone.
        if flags & SYN == 0 || side == Side::Inside {
            with(Segment {
                flags,
                ..plain.clone()
            });
        }
    }
    for payload in [1, 2, 3, 500, 1399, 1400] {
        with(Segment {
            payload: (0..payload).map(|byte| byte as u8 ^ 0x5a).collect(),
            ..plain.clone()
        });
    }
    for window in [0, 1, 3, 4, 40_000, 65_535] {
        with(Segment {
            window,
            ..plain.clone()
        });
    }
    for number in [
        0,
        1,
        0x6fff_fffe,
        0x6fff_ffff,
        0x7000_0000,
        0x9000_0000,
        0x9000_0001,
        u32::MAX,
    ] {
        with(Segment {
            sequence: number,
            acknowledgement: !number,
            ..plain.clone()
        });
        with(Segment {
            sequence: !number,
            acknowledgement: number,
            ..plain.clone()
        });
    }
    with(Segment {
        padding: 5,
        ..plain.clone()
    });
    with(Segment {
        ttl: 2,
        ..plain.clone()
    });
    with(Segment {
        dont_fragment: family == 1,
        ..plain.clone()
    });
    if family == 0 {
        with(Segment {
            ip_options: vec![0x94, 4, 0, 0],
            ..plain
        });
    } else {
        with(Segment {
            extensions: vec![(60, vec![0, 0, 1, 4, 0, 0, 0, 0])],
            ..plain
        });
    }
    all
}

#[test]
fn both_directions_are_translated_like_a_segment_built_anew() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            for shift in [-2, 0, 3] {
                let flow = Flow {
                    window_shift: shift,
                    ..flow(family)
                };
                for (side, counter) in [
                    (Side::Outside, Counter::ToServer),
                    (Side::Inside, Counter::ToClient),
                ] {
                    for numbers in segments(family, side) {
                        let (segment, frame) = (numbers.build(), numbers.build().bytes());
                        let what = format!("{side:?}, shift {shift}: {segment:?}");
                        steer.place(flow); // a FIN or RST marks it
                        let before = steer.counters();
                        let seen = steer.run(side, &frame);
                        assert_eq!(seen.verdict, REDIRECT, "{what}");
                        steer.assert_counted(&before, &[counter], &what);
                        let expected = numbers
                            .translated(&flow, side)
                            .forwarded(side)
                            .build()
                            .bytes();
                        assert_eq!(hex(&seen.frame), hex(&expected), "{what}");
                        let l4 = frame.len() - segment.padding - segment.segment().len();
                        let library = library(&flow, side, &frame, l4);
                        assert_eq!(
                            seen.frame[l4..l4 + library.len()],
                            library,
                            "the library differs: {what}"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn wrong_checksums_stay_wrong() {
    needs_root!();
    in_namespace(|steer| {
        steer.place(flow(0));
        let mut frame = Segment::from_client(0, ACK).bytes();
        frame[14 + 20 + 16] ^= 0x40;
        let seen = steer.run(Side::Outside, &frame);
        assert_eq!(seen.verdict, REDIRECT);
        assert!(
            std::panic::catch_unwind(|| read(&seen.frame)).is_err(),
            "mended a broken segment"
        );
    });
}

/// Segments of both directions, with what each is when it is translated but not forwarded by us.
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
fn what_the_kernel_has_to_refuse_it_gets_untranslated() {
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
fn what_the_kernel_has_to_forward_it_gets_translated() {
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

#[test]
fn one_arm_sends_back_where_it_came_from() {
    needs_root!();
    in_namespace(|steer| {
        for address in ["192.0.2.10", "2001:db8:5::10"] {
            ip(&format!("route add {address} dev sw-out"));
            ip(&format!(
                "neighbour replace {address} lladdr 02:00:00:00:00:04 dev sw-out nud permanent"
            ));
        }
        let both = Interface {
            side: side::OUTSIDE | side::INSIDE,
            slot: 0,
            afxdp: 0,
        };
        steer.steered(0, both);
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

/// Runs a segment and returns the flow's state and marks.
fn marks(steer: &mut Steer, entry: u32, side: Side, flags: u8, payload: &[u8]) -> (u8, u8) {
    let segment = match side {
        Side::Outside => Segment::from_client(0, flags),
        _ => Segment::from_server(0, flags),
    };
    let seen = steer.run(
        side,
        &Segment {
            payload: payload.to_vec(),
            acknowledgement: 99,
            ..segment
        }
        .bytes(),
    );
    assert_eq!(seen.verdict, REDIRECT);
    let flow = steer.flow(entry);
    (flow.state, flow.flags & !flow_flags::TIMESTAMPS)
}

#[test]
fn fin_and_rst_mark_and_data_revives() {
    needs_root!();
    use flow_flags::{CLIENT_FIN, RESET, SERVER_FIN};
    use state::{CLOSING, ESTABLISHED};
    in_namespace(|steer| {
        for (first, second, mark, other) in [
            (Side::Outside, Side::Inside, CLIENT_FIN, SERVER_FIN),
            (Side::Inside, Side::Outside, SERVER_FIN, CLIENT_FIN),
        ] {
            let entry = steer.place(flow(0));
            assert_eq!(marks(steer, entry, first, ACK, b"data"), (ESTABLISHED, 0));
            assert_eq!(marks(steer, entry, first, ACK | FIN, b""), (CLOSING, mark));
            assert_eq!(
                marks(steer, entry, second, ACK, b""),
                (CLOSING, mark),
                "a bare ACK revives nothing"
            );
            assert_eq!(
                marks(steer, entry, second, ACK, b"half-closed"),
                (ESTABLISHED, mark)
            );
            assert_eq!(
                marks(steer, entry, second, ACK | FIN, b""),
                (CLOSING, mark | other)
            );
            assert_eq!(
                marks(steer, entry, first, ACK, b"late"),
                (CLOSING, mark | other),
                "both have closed"
            );
        }
        let entry = steer.place(flow(0));
        assert_eq!(
            marks(steer, entry, Side::Outside, RST, b""),
            (CLOSING, RESET)
        );
        assert_eq!(
            marks(steer, entry, Side::Inside, ACK, b"nobody believed it"),
            (ESTABLISHED, RESET)
        );

        let tick = (now() >> 30) as u32;
        assert!(
            tick.wrapping_sub(steer.flow(entry).last_seen) <= 1,
            "the time of the last segment"
        );
    });
}

#[test]
fn an_established_flow_keeps_its_place() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let entry = steer.place(flow(family));
            // A SYN goes to the server, which challenges it (RFC 5961 §4).
            let syn = Segment {
                options: stack::linux(),
                ..Segment::from_client(family, SYN)
            };
            let before = steer.counters();
            let seen = steer.run(Side::Outside, &syn.bytes());
            assert_eq!(seen.verdict, REDIRECT);
            steer.assert_counted(
                &before,
                &[Counter::Syn, Counter::ToServer],
                "a SYN on an established flow",
            );
            let out = read(&seen.frame).tcp;
            assert_eq!(
                (out.sequence_number, out.acknowledgment_number),
                (syn.sequence, 0)
            );

            // A valid cookie of a new handshake does not take it over.
            steer.place(Flow {
                state: state::EMPTY,
                ..flow(family)
            });
            let ack = steer.shake_hands(&syn);
            steer.place(flow(family));
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, REDIRECT);
            steer.assert_counted(
                &before,
                &[Counter::ToServer],
                "a valid cookie on an established flow",
            );
            assert_eq!(steer.flow(entry).state, state::ESTABLISHED);
        }
    });
}

#[test]
fn a_closing_flow_gives_way_to_a_new_pair_alone() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let closing = Flow {
                state: state::CLOSING,
                ..flow(family)
            };
            steer.place(closing);
            let syn = Segment {
                options: stack::linux(),
                ..Segment::from_client(family, SYN)
            };
            // The SYN of shake_hands is answered, not forwarded.
            let ack = steer.shake_hands(&syn);
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, DROP);
            steer.assert_counted(
                &before,
                &[Counter::CookieValid, Counter::DropNoWorker],
                "another valid pair",
            );

            let own = Flow {
                client_isn: ack.sequence.wrapping_sub(1),
                isn: ack.acknowledgement.wrapping_sub(1),
                ..closing
            };
            steer.place(own);
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, REDIRECT);
            steer.assert_counted(&before, &[Counter::ToServer], "the pair that opened it");

            steer.place(closing);
            let stray = Segment {
                acknowledgement: ack.acknowledgement ^ 1,
                ..ack
            };
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &stray.bytes()).verdict, REDIRECT);
            steer.assert_counted(
                &before,
                &[Counter::ToServer],
                "the last ACK of the old connection",
            );
        }
    });
}

#[test]
fn an_opening_is_its_workers_business() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let entry = steer.place(Flow {
                state: state::OPENING,
                ..flow(family)
            });
            let from_client = Segment {
                payload: b"early".to_vec(),
                ..Segment::from_client(family, ACK)
            };
            let from_server = Segment {
                options: stack::linux(),
                ..Segment::from_server(family, SYN | ACK)
            };
            for (side, segment, request) in [
                (Side::Outside, &from_client, Request::Held { entry }),
                (Side::Inside, &from_server, Request::ServerSays { entry }),
            ] {
                steer.set("HEARTBEATS", 0, 0u64);
                let before = steer.counters();
                assert_eq!(steer.run(side, &segment.bytes()).verdict, DROP);
                steer.assert_counted(&before, &[Counter::DropNoWorker], "no worker");
                steer.beat();
                let seen = steer.run(side, &segment.bytes());
                assert_eq!(seen.request(family == 0).request, request);
                assert_eq!(
                    seen.frame,
                    segment.bytes(),
                    "the worker gets the frame as it came"
                );
            }
            let syn = Segment {
                options: stack::windows(),
                ..Segment::from_client(family, SYN)
            };
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, TX);
            let counted = [Counter::Syn, Counter::AnsweredXdp];
            steer.assert_counted(
                &before,
                &counted,
                "the SYN-ACK was lost: the cookie answers again",
            );
        }
    });
}

#[test]
fn flows_are_found_behind_colliding_tags_and_in_the_overflow_bucket() {
    needs_root!();
    in_namespace(|steer| {
        let wanted = flow(0);
        let other = FlowKey {
            ports: wanted.key.ports ^ 1 << 16,
            ..wanted.key
        };
        let place = steer.place_of(&wanted.key);
        let hit = |steer: &mut Steer| {
            steer
                .run(Side::Outside, &Segment::from_client(0, ACK).bytes())
                .verdict
                == REDIRECT
        };

        // The same tag twice in the bucket: the key decides.
        let mut tags = [0u32; WAYS + 1];
        (tags[0], tags[WAYS - 1]) = (place.tag, place.tag);
        steer.set("TAGS", place.bucket, tags);
        steer.set(
            "FLOWS",
            entry_index(place.bucket, 0),
            Shared(Flow {
                key: other,
                ..wanted
            }),
        );
        steer.set(
            "FLOWS",
            entry_index(place.bucket, WAYS as u32 - 1),
            Shared(wanted),
        );
        assert!(hit(steer));

        // Neither way holds it.
        steer.set(
            "FLOWS",
            entry_index(place.bucket, WAYS as u32 - 1),
            Shared(Flow {
                key: other,
                ..wanted
            }),
        );
        assert!(!hit(steer));

        // The overflow bucket is asked only if the count says that there is something.
        let mut overflow = [0u32; WAYS + 1];
        overflow[3] = place.tag;
        steer.set("TAGS", place.overflow, overflow);
        steer.set("FLOWS", entry_index(place.overflow, 3), Shared(wanted));
        assert!(!hit(steer));
        tags[OVERFLOW] = 1;
        steer.set("TAGS", place.bucket, tags);
        assert!(hit(steer));

        // So is the bucket itself only if the hint says so.
        let hint = Hint::of(place.bucket);
        let (word, bit) = hint.flows;
        let mut line = [u64::MAX; 8];
        line[word] ^= bit;
        steer.set("HINTS", hint.line, line);
        assert!(!hit(steer));
        steer.set("HINTS", hint.line, [u64::MAX; 8]);
        assert!(hit(steer));
    });
    let _ = padded_timestamps(0, 0);
}

//! Translation: the output is compared with a segment built from the numbers that it should have, and with the output of
//! the shared library for the same input.

use synward_core::counters::Counter;
use synward_core::layout::Flow;
use synward_core::translate::{self, Direction, Translation};
use synward_core::wire::tcp_options::Options;

use crate::frame_builder::{
    ACK, CLIENT_MAC, FIN, IN_MAC, OUT_MAC, PSH, RST, SERVER_MAC, SYN, Segment, hex,
};
use crate::frame_reader::read;
use crate::spliced_flows::flow;
use crate::steer::{Side, in_namespace};
use crate::{REDIRECT, needs_root};

/// A segment's numbers, which translation changes, and how its options are built out of them.
#[derive(Clone)]
pub(crate) struct Numbers {
    pub(crate) segment: Segment,
    pub(crate) times: Option<(u32, u32)>,
    sack: Vec<(u32, u32)>,
    shape: Shape,
}

/// Where the options stand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// As Linux does: padding in front, aligned to words.
    Padded,
    /// Timestamps at an odd offset, then SACK blocks at another.
    Odd,
    /// SACK blocks first, an unknown option between.
    SackFirst,
}

impl Numbers {
    pub(crate) fn build(&self) -> Segment {
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

    /// What the other side should see: the table of `synward_core::translate`, written out once more.
    pub(crate) fn translated(&self, flow: &Flow, side: Side) -> Self {
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

    /// Forwarded: hop count less one, other MAC addresses.
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
    translate::finish_checksum(&mut header, sum);
    [&header[..], &options.bytes[..length]].concat()
}

/// Segments of one direction, with every kind of option, flag and number.
pub(crate) fn segments(family: usize, side: Side) -> Vec<Numbers> {
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
        ACK | crate::frame_builder::ECE,
    ] {
        // Only the server retransmits a SYN-ACK.
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
fn both_directions_are_translated_to_the_segment_built_from_scratch() {
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

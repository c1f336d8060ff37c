//! What a blind sender sends into a spliced flow: for both families, in both directions, with numbers that wrap, after a long
//! silence, with large windows, and behind tags.

use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, flow_flags, state};

use crate::frame_builder::{ACK, FIN, RST, SYN, Segment, TAGS};
use crate::spliced_flows::flow;
use crate::steer::{Side, Steer, in_namespace, now};
use crate::unreadable::fragment;
use crate::{PASS, REDIRECT, needs_root};

/// The last numbers of client and server, and the difference of the server's from ours: some wrap within the window, on either
/// side.
const NUMBERS: [(u32, u32, u32); 4] = [
    (1000, 2000, 0x9000_0001),
    (0xffff_ff00, 0xffff_fff0, 0),
    (5, 0x7fff_ffff, 0x8000_0001),
    (0x8000_0000, 3, 0xffff_ffff),
];

/// Where a segment's numbers are: bytes ahead of those of the flow.
fn segment(flow: &Flow, family: usize, side: Side, flags: u8, ahead: (u32, u32)) -> Segment {
    let client = flow.client_sequence.wrapping_add(ahead.0);
    let server = flow.server_sequence.wrapping_add(ahead.1);
    let (segment, sequence, acknowledgement) = match side {
        Side::Outside => (
            Segment::from_client(family, flags),
            client,
            server.wrapping_add(flow.sequence_delta),
        ),
        _ => (Segment::from_server(family, flags), server, client),
    };
    Segment {
        sequence,
        acknowledgement: if flags & ACK == 0 { 0 } else { acknowledgement },
        ..segment
    }
}

/// Runs the test on a flow of each kind, with each kind of tags.
fn each(test: impl Fn(&mut Steer, usize, Flow, &[(u16, u16)]) + Send + Sync) {
    in_namespace(|steer| {
        for family in [0, 1] {
            for (client_sequence, server_sequence, sequence_delta) in NUMBERS {
                for silent_for in [2, 100_000] {
                    let last_seen = FlowTime::from_ns(now()).to_word().wrapping_sub(silent_for);
                    for tags in TAGS {
                        let flow = Flow {
                            client_sequence,
                            server_sequence,
                            sequence_delta,
                            last_seen: FlowTime::from_word(last_seen),
                            ..flow(family)
                        };
                        test(steer, family, flow, tags);
                    }
                }
            }
        }
    });
}

/// Runs a segment of the flow. It goes on in any case, because the ends judge it.
fn run(steer: &mut Steer, side: Side, segment: Segment, tags: &[(u16, u16)]) {
    let wanted = if tags.is_empty() { REDIRECT } else { PASS };
    let tagged = Segment {
        tags: tags.to_vec(),
        ..segment
    };
    assert_eq!(steer.run(side, &tagged.bytes()).verdict, wanted);
}

/// Ahead of the entry, and behind it.
fn both_ways(bytes: u32) -> [u32; 2] {
    [bytes, bytes.wrapping_neg()]
}

#[test]
fn what_is_out_of_window_changes_nothing() {
    needs_root!();
    each(|steer, family, flow, tags| {
        let entry = steer.place(flow);
        for side in [Side::Outside, Side::Inside] {
            for far in both_ways((1 << 24) + 1).into_iter().chain([1 << 31]) {
                for flags in [RST | ACK, FIN | ACK, ACK] {
                    for ahead in [(far, 0), (0, far), (far, far)] {
                        run(
                            steer,
                            side,
                            segment(&flow, family, side, flags, ahead),
                            tags,
                        );
                    }
                }
            }
            for far in both_ways((1 << 17) + 1).into_iter().chain([1 << 31]) {
                run(
                    steer,
                    side,
                    segment(&flow, family, side, RST, (far, far)),
                    tags,
                );
            }
            run(steer, side, segment(&flow, family, side, FIN, (0, 0)), tags);
        }
        assert_eq!(steer.flow(entry), flow, "{tags:x?}");
    });
}

/// A window of scale 14 is larger than what counts as near; of what is in flight, 16 MiB is expected at most.
#[test]
fn what_is_in_window_counts_and_is_taken_back() {
    needs_root!();
    each(|steer, family, flow, tags| {
        for side in [Side::Outside, Side::Inside] {
            for (flags, ahead) in [
                (RST, (0, 0)),
                (RST, (60_000, 60_000)),
                (RST | ACK, (0, 0)),
                (RST | ACK, (1 << 24, 1 << 24)),
                (RST | ACK, ((1u32 << 24).wrapping_neg(), 0)),
            ] {
                let entry = steer.place(flow);
                run(
                    steer,
                    side,
                    segment(&flow, family, side, flags, ahead),
                    tags,
                );
                let reset = steer.flow(entry);
                assert_eq!(reset.state, state::CLOSING, "{ahead:?} {tags:x?}");
                assert_ne!(reset.flags & flow_flags::RESET, 0);
                let challenge = if side == Side::Outside {
                    Side::Inside
                } else {
                    Side::Outside
                };
                run(
                    steer,
                    challenge,
                    segment(&reset, family, challenge, ACK, (0, 0)),
                    tags,
                );
                let living = steer.flow(entry);
                let marks = living.flags & !flow_flags::TIMESTAMPS;
                assert_eq!((living.state, marks), (state::ESTABLISHED, 0));
            }
        }
    });
}

/// A SYN on a living flow goes to the server, which challenges it (RFC 5961 §4).
#[test]
fn a_syn_changes_no_living_flow() {
    needs_root!();
    each(|steer, family, flow, tags| {
        let entry = steer.place(flow);
        for side in [Side::Outside, Side::Inside] {
            for flags in [SYN, SYN | ACK] {
                if side == Side::Inside || flags == SYN {
                    run(
                        steer,
                        side,
                        segment(&flow, family, side, flags, (0, 0)),
                        tags,
                    );
                }
            }
        }
        assert_eq!(steer.flow(entry), flow);
    });
}

/// Where the service passes fragments, the first one counts as a whole segment does.
#[test]
fn fragments_are_judged_by_the_same_numbers() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.pass_fragments = 1);
        for family in [0, 1] {
            for side in [Side::Outside, Side::Inside] {
                let flow = flow(family);
                let entry = steer.place(flow);
                let mut run = |ahead| {
                    let reset = segment(&flow, family, side, RST | ACK, ahead);
                    let seen = steer.run(side, &fragment(&reset, 0));
                    assert_eq!(seen.verdict, PASS);
                    steer.flow(entry)
                };
                let far = (1 << 24) + 1;
                for ahead in [(far, 0), (0, far), (1 << 31, 1 << 31)] {
                    assert_eq!(run(ahead), flow, "{ahead:x?}");
                }
                assert_eq!(run((0, 0)).state, state::CLOSING);
            }
        }
    });
}

//! Segments of spliced flows: their state, and how they are found.

use synward_core::counters::Counter;
use synward_core::flow::{FlowKey, OVERFLOW, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, flow_flags, mode, state};
use synward_core::occupancy::BucketBits;
use synward_core::worker_request::Request;

use crate::frame_builder::{
    ACK, CLIENTS, FIN, RST, SERVERS, SYN, Segment, padded_timestamps, stack,
};
use crate::frame_reader::read;
use crate::steer::{EPOCH, SERVICE, Shared, Side, Steer, in_namespace, now};
use crate::{DROP, REDIRECT, TX, needs_root};

/// A flow whose numbers all differ between its sides.
pub(crate) fn flow(family: usize) -> Flow {
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
        client_sequence: 1000,
        server_sequence: 2000,
        last_seen: FlowTime::from_word(5),
        state: state::ESTABLISHED,
        window_shift: -2,
        flags: flow_flags::TIMESTAMPS,
        owner: 0,
        service: SERVICE as u16,
        generation: 0,
        owner_high: 0,
    }
}

/// A segment of [`flow`] whose numbers are so many bytes away from those of the entry.
pub(crate) fn in_flow(side: Side, flags: u8, away: u32, payload: &[u8]) -> Segment {
    let flow = flow(0);
    let (client, server) = (
        flow.client_sequence.wrapping_add(away),
        flow.server_sequence.wrapping_add(away),
    );
    let (segment, sequence, acknowledgement) = match side {
        Side::Outside => (
            Segment::from_client(0, flags),
            client,
            server.wrapping_add(flow.sequence_delta),
        ),
        _ => (Segment::from_server(0, flags), server, client),
    };
    Segment {
        sequence,
        acknowledgement: if flags & ACK == 0 { 0 } else { acknowledgement },
        payload: payload.to_vec(),
        ..segment
    }
}

/// Runs a segment, which is forwarded in any case, and returns the flow's state and flags.
fn marks(steer: &mut Steer, entry: u32, side: Side, segment: &Segment) -> (u8, u8) {
    assert_eq!(steer.run(side, &segment.bytes()).verdict, REDIRECT);
    let flow = steer.flow(entry);
    (flow.state, flow.flags & !flow_flags::TIMESTAMPS)
}

#[test]
fn a_flow_closes_when_both_sides_have_sent_a_fin() {
    needs_root!();
    use flow_flags::{CLIENT_FIN, SERVER_FIN, SERVER_FIRST};
    use state::{CLOSING, ESTABLISHED};
    in_namespace(|steer| {
        for (first, second, mark, other) in [
            (Side::Outside, Side::Inside, CLIENT_FIN, SERVER_FIN),
            (
                Side::Inside,
                Side::Outside,
                SERVER_FIN | SERVER_FIRST,
                CLIENT_FIN,
            ),
        ] {
            let entry = steer.place(flow(0));
            let mut run = |side, flags, payload: &[u8]| {
                marks(steer, entry, side, &in_flow(side, flags, 7, payload))
            };
            assert_eq!(run(first, ACK, b"data"), (ESTABLISHED, 0));
            assert_eq!(run(first, ACK | FIN, b""), (ESTABLISHED, mark));
            assert_eq!(run(second, ACK, b"half-closed"), (ESTABLISHED, mark));
            assert_eq!(run(second, ACK | FIN, b""), (CLOSING, mark | other));
            assert_eq!(
                run(first, ACK, b""),
                (CLOSING, mark | other),
                "the last ACK"
            );
        }
    });
}

#[test]
fn only_a_segment_in_window_changes_a_flow() {
    needs_root!();
    use flow_flags::RESET;
    use state::{CLOSING, ESTABLISHED};
    in_namespace(|steer| {
        for side in [Side::Outside, Side::Inside] {
            let entry = steer.place(flow(0));
            for (flags, away) in [
                (RST, 1 << 18),
                (RST, 1 << 31),
                (RST | ACK, 1 << 25),
                (FIN | ACK, 1 << 25),
                (ACK, 1 << 31),
            ] {
                let blind = in_flow(side, flags, away, b"");
                assert_eq!(marks(steer, entry, side, &blind), (ESTABLISHED, 0));
                assert_eq!(steer.flow(entry), flow(0), "not even its time");
            }
            let reset = in_flow(side, RST, 9, b"");
            let before = FlowTime::from_ns(now());
            assert_eq!(marks(steer, entry, side, &reset), (CLOSING, RESET));
            let after = FlowTime::from_ns(now());
            let age = after.elapsed_since(steer.flow(entry).last_seen);
            let most = after.elapsed_since(before);
            assert!(age <= most, "the time of the last segment");
            for living in [Side::Inside, Side::Outside] {
                let challenge = in_flow(living, ACK, 9, b"");
                assert_eq!(marks(steer, entry, living, &challenge), (ESTABLISHED, 0));
                assert_eq!(marks(steer, entry, side, &reset), (CLOSING, RESET));
            }
        }
    });
}

#[test]
fn an_established_flow_is_not_replaced() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let entry = steer.place(flow(family));
            // A SYN goes to the server, which answers with a challenge ACK (RFC 5961 §4).
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

/// In every mode: a SYN that passed unchanged would have its answer translated.
#[test]
fn only_a_new_handshake_replaces_a_closing_flow() {
    needs_root!();
    in_namespace(|steer| {
        let modes = [mode::ALWAYS, mode::MONITOR, mode::OFF];
        for (family, mode) in [0, 1].into_iter().flat_map(|f| modes.map(|mode| (f, mode))) {
            steer.policy(|service| service.mode = mode);
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
                &[Counter::CookieValid, Counter::Waiting],
                "another valid pair",
            );

            steer.remember(&ack, &[EPOCH]);
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, REDIRECT);
            steer.assert_counted(&before, &[Counter::ToServer], "the pair that opened it");
            steer.remember(&ack, &[]);

            steer.place(closing);
            let old_ack = Segment {
                acknowledgement: ack.acknowledgement ^ 1,
                ..ack
            };
            let before = steer.counters();
            assert_eq!(steer.run(Side::Outside, &old_ack.bytes()).verdict, REDIRECT);
            steer.assert_counted(
                &before,
                &[Counter::ToServer],
                "the last ACK of the old connection",
            );
        }
    });
}

#[test]
fn segments_of_an_opening_go_to_its_worker() {
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
                (
                    Side::Outside,
                    &from_client,
                    Request::ClientSegment { entry },
                ),
                (Side::Inside, &from_server, Request::ServerSegment { entry }),
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

        // The overflow bucket is searched only if the count says that it holds flows of this bucket.
        let mut overflow = [0u32; WAYS + 1];
        overflow[3] = place.tag;
        steer.set("TAGS", place.overflow, overflow);
        steer.set("FLOWS", entry_index(place.overflow, 3), Shared(wanted));
        assert!(!hit(steer));
        tags[OVERFLOW] = 1;
        steer.set("TAGS", place.bucket, tags);
        assert!(hit(steer));

        // So is the bucket itself only if its bit is set.
        let bits = BucketBits::of(place.bucket);
        let (word, bit) = bits.flows;
        let mut line = [u64::MAX; 8];
        line[word] ^= bit;
        steer.set("OCCUPANCY", bits.line, line);
        assert!(!hit(steer));
        steer.set("OCCUPANCY", bits.line, [u64::MAX; 8]);
        assert!(hit(steer));
    });
    let _ = padded_timestamps(0, 0);
}

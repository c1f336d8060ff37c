//! Segments that are longer than a worker takes, and frames in several buffers.

use synward::engine::cut_segment;
use synward::engine::received::Received;
use synward_core::counters::Counter;
use synward_core::layout::{Interface, side};
use synward_core::queue_set::QueueSet;
use synward_core::worker_request::{LONGEST_PACKET, Request};

use crate::frame_builder::{ACK, Segment};
use crate::frame_reader::read;
use crate::spliced_flows::{flow, in_flow};
use crate::steer::{Side, Steer, in_namespace, in_namespace_with_frags};
use crate::test_network::ip;
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

/// Says whether the interface for servers transmits frames in several buffers.
fn inside_takes(steer: &mut Steer, frags: u32) {
    steer.steered(
        1,
        Interface {
            side: side::INSIDE | frags,
            slot: 1,
            afxdp: QueueSet::default(),
        },
    );
}

/// The first segment with data that a worker gets, without its ACK before: the client's bare ACK was lost.
fn the_request_survives(steer: &mut Steer, family: usize, payload: usize) {
    steer.beat();
    let ack = steer.shake_hands(&Segment::linux_syn(family));
    let bare = ack.bytes().len();
    let data = Segment {
        payload: vec![7; payload],
        ..ack
    };
    let before = steer.counters();
    let seen = steer.run(Side::Outside, &data.bytes());
    assert_eq!(seen.verdict, DROP, "there is no socket");
    let counted = [Counter::CookieValid, Counter::Waiting];
    steer.assert_counted(&before, &counted, "delivered, and no socket");
    let meta = seen.request(family == 0);
    assert!(matches!(meta.request, Request::Open { .. }), "{meta:?}");
    assert_eq!(seen.frame.len(), bare, "the headers are left");
    let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
    let mut packet = seen.frame[l3..].to_vec();
    cut_segment::complete(&mut packet, l4 - l3);
    let segment = Received::read(&packet, 0, l4 - l3).expect("a segment");
    assert!(segment.is_intact());
    assert_eq!(
        (segment.sequence, segment.payload.len()),
        (data.sequence, 0)
    );
}

#[test]
fn a_worker_gets_the_headers_of_a_segment_that_is_too_long_for_it() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            the_request_survives(steer, family, 3000);
        }
        let ack = steer.shake_hands(&Segment::linux_syn(0));
        let headers = ack.bytes().len() - 14;
        let longest = Segment {
            payload: vec![7; usize::from(LONGEST_PACKET) - headers],
            ..ack
        };
        let seen = steer.run(Side::Outside, &longest.bytes());
        assert_eq!(seen.frame, longest.bytes(), "it fits");
    });
    in_namespace_with_frags(|steer| {
        for family in [0, 1] {
            the_request_survives(steer, family, 8000);
        }
    });
}

#[test]
fn a_segment_in_several_buffers_is_translated_and_leaves() {
    needs_root!();
    in_namespace_with_frags(|steer| {
        for name in ["sw-out", "sw-in"] {
            ip(&format!("link set {name} mtu 9000"));
        }
        steer.place(flow(0));
        let payload: Vec<u8> = (0..8000u32).map(|at| at as u8).collect();
        let segment = in_flow(Side::Outside, ACK, 7, &payload);
        inside_takes(steer, side::TAKES_FRAGS);
        let seen = steer.run(Side::Outside, &segment.bytes());
        assert_eq!(seen.verdict, REDIRECT);
        let there = read(&seen.frame);
        assert_eq!(there.payload, payload);
        let expected = segment.acknowledgement.wrapping_sub(flow(0).sequence_delta);
        assert_eq!(there.tcp.acknowledgment_number, expected);
        assert_eq!(there.ttl, segment.ttl - 1);

        inside_takes(steer, 0);
        let seen = steer.run(Side::Outside, &segment.bytes());
        assert_eq!(seen.verdict, PASS, "the kernel forwards it");
        let there = read(&seen.frame);
        assert_eq!((there.ttl, there.to), (segment.ttl, segment.to));
        let short = in_flow(Side::Outside, ACK, 7, b"short");
        assert_eq!(steer.run(Side::Outside, &short.bytes()).verdict, REDIRECT);
    });
}

#[test]
fn a_syn_in_several_buffers_gets_an_answer_of_one() {
    needs_root!();
    in_namespace_with_frags(|steer| {
        steer.answer_by_worker();
        for family in [0, 1] {
            let long = Segment {
                payload: vec![7; 8000],
                ..Segment::linux_syn(family)
            };
            let seen = steer.run(Side::Outside, &long.bytes());
            assert_eq!(seen.verdict, TX, "no worker takes it whole");
            assert_eq!(seen.frame.len(), Segment::linux_syn(family).bytes().len());
            assert_eq!(read(&seen.frame).payload, b"");
        }
    });
}

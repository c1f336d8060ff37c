//! Requests to workers on drivers that carry no metadata, or leave no room in front of a frame.

use std::net::IpAddr;

use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Flow, state};
use synward_core::worker_request::{FRONT_BYTES, Meta, Request, read_front};

use crate::frame_builder::{ACK, PSH, SYN, Segment, hex, stack};
use crate::spliced_flows::flow;
use crate::steer::Helper::{AdjustHead, AdjustMeta};
use crate::steer::{
    ATTEMPTS, PROFILE, SERVICE, Side, Steer, assert_moved, in_namespace_without, now,
};
use crate::{DROP, needs_root};

fn syn(family: usize) -> Segment {
    Segment {
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

/// Runs the program on a segment and returns the request in the frame, behind which the frame must be unchanged.
fn request_in_frame(steer: &mut Steer, segment: &Segment, v4: bool) -> Meta {
    let seen = steer.run(Side::Outside, &segment.bytes());
    assert_eq!(seen.verdict, DROP, "there is no socket");
    assert!(seen.meta.is_none(), "the driver carries no metadata");
    let words = read_front(&seen.frame).expect("a request in front of the packet");
    assert_eq!(hex(&seen.frame[FRONT_BYTES..]), hex(&segment.bytes()));
    Meta::decode(&words, v4).expect("a request that decodes")
}

#[test]
fn without_metadata_a_request_is_in_the_frame() {
    needs_root!();
    in_namespace_without(&[AdjustMeta], |steer| {
        steer.beat();
        for family in [0, 1] {
            let ack = steer.shake_hands(&syn(family));
            let before = steer.counters();
            let meta = request_in_frame(steer, &ack, family == 0);
            steer.assert_counted(
                &before,
                &[Counter::CookieValid, Counter::Waiting],
                "delivered, and no socket to put it into",
            );
            let Request::Open { offered, .. } = meta.request else {
                panic!("{meta:?}")
            };
            assert_eq!((offered, u32::from(meta.service)), (PROFILE, SERVICE));
        }
        steer.answer_by_worker();
        for family in [0, 1] {
            let meta = request_in_frame(steer, &syn(family), family == 0);
            assert_eq!(meta.request, Request::Answer { profile: PROFILE });
        }
    });
}

#[test]
fn without_room_in_front_of_frames_requests_are_dropped_and_counted() {
    needs_root!();
    in_namespace_without(&[AdjustMeta, AdjustHead], |steer| {
        steer.beat();
        let ack = steer.shake_hands(&syn(0));
        let before = steer.counters();
        assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, DROP);
        let counted = [Counter::CookieValid, Counter::DropNoMetadata];
        steer.assert_counted(&before, &counted, "no room");
    });
}

/// Segments that a client sends while its server is silent.
const SENT: u32 = 20_000;

/// Nanoseconds in which segments are counted, and how many of one connection and of one client go to a worker then.
const TIME: u64 = 1 << 22;
const OF_CONNECTION: u64 = 64;
const SHARE: u64 = 256;

/// A client may send as fast as it can before its server has answered: the ring, which all share, gets few of that. Those who
/// follow are served.
#[test]
fn one_connection_does_not_fill_the_ring() {
    needs_root!();
    // So that no request changes the frame, and each run has the same one.
    in_namespace_without(&[AdjustMeta, AdjustHead], |steer| {
        for family in [0, 1] {
            let [ack, other] = [41_000, 42_000].map(|port| {
                let mut syn = syn(family);
                syn.source.set_port(port);
                steer.shake_hands(&syn)
            });
            steer.beat();
            let opening = Flow {
                state: state::OPENING,
                ..flow(family)
            };
            let data = Segment {
                sequence: opening.client_sequence,
                acknowledgement: 9,
                payload: b"POST / HTTP/1.1".to_vec(),
                ..Segment::from_client(family, ACK | PSH)
            };
            let entry = steer.place(opening);
            for (what, segment, beyond) in [
                ("data", &data, Counter::DropWorkerShare),
                ("the same ACK", &ack, Counter::Waiting),
            ] {
                let begin = now() / TIME;
                let moved = steer.run_often(&segment.bytes(), SENT);
                // The program's clock may be a jiffy behind.
                let most = (now() / TIME - begin + 2) * OF_CONNECTION;
                let [given, kept_out] = [Counter::DropNoMetadata, beyond].map(moved);
                assert_eq!(given + kept_out, u64::from(SENT), "{what}");
                assert!(
                    (OF_CONNECTION..=most).contains(&given),
                    "{what}: {given}, {most}"
                );
            }
            steer.clear(entry);
            let before = steer.counters();
            steer.run(Side::Outside, &other.bytes());
            steer.assert_counted(
                &before,
                &[Counter::CookieValid, Counter::DropNoMetadata],
                "another client",
            );
        }
    });
}

/// The same from many ports of one client, and from all networks of a site with IPv6. Whoever is not of them has room, and a
/// client of the same address is not lost: it waits.
#[test]
fn many_connections_of_one_client_do_not_fill_the_ring() {
    needs_root!();
    in_namespace_without(&[AdjustMeta, AdjustHead], |steer| {
        for family in [0, 1] {
            let [own, other] = [0, 9].map(|site| {
                let mut syn = syn(family);
                syn.source.set_port(50_000);
                syn.source.set_ip(match syn.source.ip() {
                    IpAddr::V4(_) => IpAddr::from([198, 51, 100, 2 + site]),
                    IpAddr::V6(_) => {
                        IpAddr::from([0x2001, 0xdb8, 0xc + u16::from(site), 77, 0, 0, 0, 2])
                    }
                });
                steer.shake_hands(&syn)
            });
            steer.beat();
            let connections: Vec<_> = (0..24u16)
                .map(|number| {
                    let mut data = Segment {
                        sequence: flow(family).client_sequence,
                        acknowledgement: 9,
                        payload: b"POST / HTTP/1.1".to_vec(),
                        ..Segment::from_client(family, ACK | PSH)
                    };
                    data.source.set_port(41_000 + number);
                    if family == 1 {
                        data.source
                            .set_ip(IpAddr::from([0x2001, 0xdb8, 0xc, number, 0, 0, 0, 2]));
                    }
                    let (client, server) = (data.source, data.destination);
                    let key = FlowKey::new(
                        client.ip().into(),
                        client.port(),
                        server.ip().into(),
                        server.port(),
                    );
                    steer.place(Flow {
                        key,
                        state: state::OPENING,
                        ..flow(family)
                    });
                    data.bytes()
                })
                .collect();
            // So that the clock stands still for the first runs.
            steer.run(Side::Outside, &connections[0]);
            let begin = now() / TIME;
            let given: u64 = connections
                .iter()
                .map(|data| steer.run_often(data, 5_000)(Counter::DropNoMetadata))
                .sum();
            let most = (now() / TIME - begin + 1) * SHARE;
            assert!((SHARE..=most).contains(&given), "{given}, {most}");

            // The share is used up and the ACK comes in one unit of the clock.
            let attempt = |_| {
                let begin = now() / TIME;
                for data in &connections[..8] {
                    let _moved = steer.run_often(data, 100);
                }
                let before = steer.counters();
                steer.run(Side::Outside, &own.bytes());
                let after = steer.counters();
                (now() / TIME == begin).then_some((before, after))
            };
            let (before, after) = (0..ATTEMPTS)
                .find_map(attempt)
                .expect("800 segments in 4 ms");
            let waits = &[Counter::CookieValid, Counter::Waiting];
            assert_moved(&before, &after, waits, "the same client");
            let before = steer.counters();
            steer.run(Side::Outside, &other.bytes());
            let goes = &[Counter::CookieValid, Counter::DropNoMetadata];
            steer.assert_counted(&before, goes, "another client");
        }
    });
}

//! Validated clients: what is kept of their ACKs on a queue without a worker, and beyond their share of one, and how many, and what
//! of those that a worker got.

use aya::Pod;
use aya::maps::PerCpuArray;
use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::handed_over::HandedOver;
use synward_core::layout::HEARTBEAT_TIMEOUT;
use synward_core::waiting_client::{WaitingClient, WaitingFor};
use synward_core::worker_request::{Meta, Request};

use crate::frame_builder::{ACK, RST, SYN, Segment, stack};
use crate::frame_reader::timestamps_of;
use crate::steer::Helper::{AdjustHead, AdjustMeta};
use crate::steer::{
    ATTEMPTS, PROFILE, SERVICE, Shared, Side, Steer, in_namespace, in_namespace_without, now,
};
use crate::{DROP, REDIRECT, needs_root, outside_frame};

/// As `Shared`, for the value of this map.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Waiting(WaitingClient);

// SAFETY: `repr(C)`, of integers with explicit padding.
unsafe impl Pod for Waiting {}

/// As `Shared`, for the value of `HANDED_OVER`.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Handed(HandedOver);

// SAFETY: as above.
unsafe impl Pod for Handed {}

const WAITS: &[Counter] = &[Counter::CookieValid, Counter::Waiting];

fn syn(family: usize, options: Vec<u8>) -> Segment {
    Segment {
        options,
        ..Segment::from_client(family, SYN)
    }
}

fn flow(ack: &Segment) -> FlowKey {
    FlowKey::new(
        ack.source.ip().into(),
        ack.source.port(),
        ack.destination.ip().into(),
        ack.destination.port(),
    )
}

/// The clients that wait.
fn waiting(steer: &mut Steer) -> Vec<(FlowKey, WaitingClient)> {
    let map = steer.hash_map::<Shared<FlowKey>, Waiting>("WAITING");
    map.iter()
        .map(|client| client.map(|(Shared(key), Waiting(client))| (key, client)))
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn what_an_ack_said_waits_until_a_worker_is_there() {
    needs_root!();
    for family in [0, 1] {
        for options in [stack::linux(), stack::windows()] {
            in_namespace(|steer| {
                let ack = steer.shake_hands(&syn(family, options.clone()));
                steer.set("HEARTBEATS", 0, now() - HEARTBEAT_TIMEOUT);
                // The copy, with data, is of the same client.
                let with_data = Segment {
                    payload: b"GET /".to_vec(),
                    ..ack.clone()
                };
                for segment in [&ack, &with_data] {
                    let frame = segment.bytes();
                    steer.check(vec![outside_frame("no worker", frame, DROP, WAITS)]);
                }
                let [(key, client)] = waiting(steer)[..] else {
                    panic!("one client");
                };
                assert_eq!(key, flow(&ack));
                let times = timestamps_of(&ack.options);
                assert_eq!(
                    (client.sequence, client.acknowledgement, client.window),
                    (ack.sequence, ack.acknowledgement, ack.window)
                );
                assert_eq!(
                    (client.timestamps != 0).then_some((client.tsval, client.tsecr)),
                    times
                );
                assert_eq!(client.ttl, ack.ttl);
                assert!(now() - client.since < 5_000_000_000);
                let meta = Meta::decode(&client.request, family == 0).unwrap();
                let Request::Open { offered, .. } = meta.request else {
                    panic!("{meta:?}")
                };
                assert_eq!((offered, u32::from(meta.service)), (PROFILE, SERVICE));
            });
        }
    }
}

#[test]
fn a_worker_without_a_socket_serves_nobody() {
    needs_root!();
    in_namespace(|steer| {
        let ack = steer.shake_hands(&syn(0, stack::linux()));
        steer.beat();
        let before = steer.counters();
        assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, DROP);
        steer.assert_counted(&before, WAITS, "its process was killed a moment ago");
        assert_eq!(waiting(steer).len(), 1);
    });
}

#[test]
fn only_valid_cookies_wait_and_a_prefix_fills_half_of_the_room() {
    needs_root!();
    in_namespace(|steer| {
        let ack = steer.shake_hands(&syn(0, stack::linux()));
        let wrong = Segment {
            acknowledgement: ack.acknowledgement ^ 1 << 9,
            ..ack.clone()
        };
        let counted = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
        steer.check(vec![outside_frame("wrong", wrong.bytes(), DROP, counted)]);
        assert_eq!(waiting(steer).len(), 0);

        steer.check(vec![outside_frame("right", ack.bytes(), DROP, WAITS)]);
        let counts: Vec<u64> = steer.elements("WAITING_COUNTS");
        let cell = counts.iter().position(|count| *count as u32 == 1).unwrap() as u32;
        steer.set("WAITING_COUNTS", cell, used_up(WaitingFor::Worker));
        steer.check(vec![outside_frame("once more", ack.bytes(), DROP, WAITS)]);
        let mut neighbour = syn(0, stack::linux());
        neighbour.source.set_ip("198.51.100.77".parse().unwrap());
        let ack = steer.shake_hands(&neighbour);
        let counted = &[Counter::CookieValid, Counter::DropNoWorker];
        steer.check(vec![outside_frame(
            "the 2049th",
            ack.bytes(),
            DROP,
            counted,
        )]);
        let mut stranger = syn(0, stack::linux());
        stranger.source.set_ip("203.0.113.7".parse().unwrap());
        let ack = steer.shake_hands(&stranger);
        let frame = ack.bytes();
        steer.check(vec![outside_frame("another prefix", frame, DROP, WAITS)]);
        assert_eq!(waiting(steer).len(), 2);
    });
}

/// The count of a prefix that has reached its limit in this period.
fn used_up(waits_for: WaitingFor) -> u64 {
    u64::from(waits_for.period(now())) << 32 | u64::from(waits_for.most())
}

/// An ACK this often at once is far beyond the share of its connection.
const AT_ONCE: u32 = 2_000;

/// Also of clients that a worker is too slow for, some may wait; they take nothing from those who wait for the next process.
#[test]
fn who_waits_for_a_share_leaves_room_for_a_restart() {
    needs_root!();
    for family in [0, 1] {
        // So that no request changes the frame, and each run has the same one.
        in_namespace_without(&[AdjustMeta, AdjustHead], |steer| {
            let mut ports = 41_000u16..;
            let mut shake_hands = |steer: &mut Steer| {
                let mut syn = syn(family, stack::linux());
                syn.source.set_port(ports.next().unwrap());
                steer.shake_hands(&syn)
            };
            steer.beat();
            let ack = shake_hands(steer);
            let moved = steer.run_often(&ack.bytes(), AT_ONCE);
            assert!(moved(Counter::Waiting) > 0, "it waits for its share");
            assert_eq!(moved(Counter::DropWorkerShare), 0);
            let counts: Vec<u64> = steer.elements("WAITING_COUNTS");
            let counted: Vec<_> = (0..)
                .zip(&counts)
                .filter(|(_, count)| **count != 0)
                .collect();
            let [(cell, one)] = counted[..] else {
                panic!("{counted:?}");
            };
            assert_eq!(*one as u32, 1, "the copies are of the same client");

            let attempt = |_| {
                let ack = shake_hands(steer);
                let full = used_up(WaitingFor::Share);
                steer.set("WAITING_COUNTS", cell, full);
                let moved = steer.run_often(&ack.bytes(), AT_ONCE);
                // Otherwise a period has ended, in which others may wait.
                (used_up(WaitingFor::Share) == full).then_some((ack, moved))
            };
            let (ack, moved) = (0..ATTEMPTS)
                .find_map(attempt)
                .expect("so many frames in a quarter of a second");
            assert_eq!(moved(Counter::Waiting), 0);
            assert!(moved(Counter::DropWorkerShare) > 0);

            steer.set("HEARTBEATS", 0, now() - HEARTBEAT_TIMEOUT);
            let frame = ack.bytes();
            steer.check(vec![outside_frame("killed", frame, DROP, WAITS)]);
        });
    }
}

/// What every CPU has kept of the ACKs that it handed to a worker.
fn handed_over(steer: &mut Steer) -> Vec<HandedOver> {
    let map: PerCpuArray<_, Handed> = PerCpuArray::try_from(steer.map("HANDED_OVER")).unwrap();
    let places = (0..map.len()).flat_map(|place| map.get(&place, 0).unwrap().to_vec());
    let entries = places.map(|Handed(entry)| entry);
    entries.filter(|entry| entry.client.since != 0).collect()
}

#[test]
fn what_an_ack_said_is_kept_when_a_worker_gets_it() {
    needs_root!();
    for family in [0, 1] {
        for options in [stack::linux(), stack::windows()] {
            in_namespace(|steer| {
                let _port = steer.bind_socket();
                steer.beat();
                let ack = steer.shake_hands(&syn(family, options.clone()));
                let wrong = Segment {
                    acknowledgement: ack.acknowledgement ^ 1 << 9,
                    ..ack.clone()
                };
                assert_eq!(steer.run(Side::Outside, &wrong.bytes()).verdict, DROP);
                assert_eq!(handed_over(steer), [], "no valid cookie, no entry");
                let before = steer.counters();
                assert_eq!(steer.run(Side::Outside, &ack.bytes()).verdict, REDIRECT);
                steer.assert_counted(&before, &[Counter::CookieValid], "a worker has it");
                assert_eq!(waiting(steer).len(), 0);
                let [HandedOver { key, client, .. }] = handed_over(steer)[..] else {
                    panic!("one ACK");
                };
                assert_eq!(key, flow(&ack));
                assert_eq!(
                    (client.sequence, client.acknowledgement, client.window),
                    (ack.sequence, ack.acknowledgement, ack.window)
                );
                let meta = Meta::decode(&client.request, family == 0).unwrap();
                assert!(matches!(meta.request, Request::Open { .. }), "{meta:?}");
            });
        }
    }
}

#[test]
fn a_client_that_resets_its_connection_waits_no_longer() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            let ack = steer.shake_hands(&syn(family, stack::linux()));
            let reset = Segment {
                flags: RST | ACK,
                ..ack.clone()
            };
            steer.check(vec![outside_frame("no worker", ack.bytes(), DROP, WAITS)]);
            assert_eq!(waiting(steer).len(), 1);
            let counted = &[Counter::DropNoWorker];
            steer.check(vec![outside_frame("reset", reset.bytes(), DROP, counted)]);
            assert_eq!(waiting(steer).len(), 0);
        }
    });
}

//! The answers that a CPU prepares once a jiffy: no endpoint gets another's answer, and every change is seen.

use std::net::SocketAddr;

use etherparse::TcpOptionElement::{
    MaximumSegmentSize, SelectiveAcknowledgementPermitted as Sack, Timestamp, WindowScale,
};
use synward_core::counters::Counter;
use synward_core::layout::{KeySlot, Profile, key_slot, mode};
use synward_core::occupancy::BucketBits;
use synward_core::worker_request::Request;

use crate::frame_builder::{SERVERS, SYN, Segment, stack};
use crate::spliced_flows::flow;
use crate::steer::{EPOCH, PROFILE, SERVICE, Shared, Side, Steer, in_namespace, key};
use crate::syns::{answered, without_tsval};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

/// A SYN with Linux's options to a port of the IPv4 server.
fn syn(port: u16) -> Segment {
    Segment {
        destination: SocketAddr::new(SERVERS[0].ip(), port),
        options: stack::linux(),
        ..Segment::from_client(0, SYN)
    }
}

#[test]
fn each_of_many_endpoints_offers_its_own_options() {
    needs_root!();
    in_namespace(|steer| {
        // Three of them share a slot.
        let ports = [80, 96, 112, 443, 444];
        for (port, window_scale) in ports.into_iter().zip(1..) {
            let profile = Profile {
                mss: 1000 + port,
                window_scale,
                ..PROFILE
            };
            steer.endpoint(SocketAddr::new(SERVERS[0].ip(), port), profile);
        }
        for _ in 0..3 {
            for (port, window_scale) in ports.into_iter().zip(1..) {
                let got = answered(steer, "one of many", &syn(port));
                let expected = [
                    MaximumSegmentSize(1000 + port),
                    Sack,
                    Timestamp(0, 77),
                    WindowScale(window_scale),
                ];
                assert_eq!(without_tsval(got), expected, "port {port}");
            }
        }
        let unprotected = steer.run(Side::Outside, &syn(97).bytes());
        assert_eq!(unprotected.verdict, PASS, "nothing is protected there");
    });
}

#[test]
fn a_change_is_seen_in_the_next_jiffy() {
    needs_root!();
    in_namespace(|steer| {
        let verdict = |steer: &mut Steer| steer.run(Side::Outside, &syn(80).bytes()).verdict;
        assert_eq!(verdict(steer), TX);
        steer.policy(|service| service.mode = mode::MONITOR);
        assert_eq!(verdict(steer), PASS);
        steer.policy(|service| service.listed = 1);
        steer.list("0.0.0.0/0", 2);
        assert_eq!(verdict(steer), DROP);
        steer.policy(|service| service.draining = 1);
        assert_eq!(verdict(steer), DROP);
        steer.policy(|_| {});
        assert_eq!(verdict(steer), TX);

        let slot = |epoch| {
            Shared(KeySlot {
                epoch,
                keys: [key(EPOCH, 0); 4],
            })
        };
        let place = key_slot(SERVICE, EPOCH);
        steer.set("KEYS", place, slot(EPOCH - 256));
        assert_eq!(verdict(steer), DROP, "keys of a past epoch");
        steer.set("KEYS", place, slot(EPOCH));
        assert_eq!(verdict(steer), TX);
    });
}

#[test]
fn a_hint_at_its_bucket_finds_a_flow() {
    needs_root!();
    in_namespace(|steer| {
        steer.place(flow(0));
        let bits = BucketBits::of(steer.place_of(&flow(0).key).bucket);
        let lines = steer.hint_lines();
        for line in 0..lines {
            steer.set("OCCUPANCY", line, [0u64; 8]);
        }
        let verdict = |steer: &mut Steer| steer.run(Side::Outside, &syn(80).bytes()).verdict;
        assert_eq!(verdict(steer), TX, "nothing is hinted at");

        let (word, bit) = bits.flows;
        let mut line = [0; 8];
        line[word] = bit;
        steer.set("OCCUPANCY", bits.line, line);
        assert_eq!(verdict(steer), REDIRECT, "it is the flow's");
    });
}

#[test]
fn a_live_worker_gets_the_syn_unchanged() {
    needs_root!();
    in_namespace(|steer| {
        steer.answer_by_worker();
        answered(steer, "no worker was ever alive", &syn(80));
        steer.beat();
        let frame = syn(80).bytes();
        let before = steer.counters();
        let seen = steer.run(Side::Outside, &frame);
        // There is no socket in the map yet.
        assert_eq!(seen.verdict, DROP);
        let counted = [Counter::Syn, Counter::GivenToWorker, Counter::DropNoWorker];
        steer.assert_counted(&before, &counted, "no socket");
        let meta = seen.request(true);
        assert_eq!(meta.request, Request::Answer { profile: PROFILE });
        assert_eq!(
            (meta.l3, meta.l4, u32::from(meta.service)),
            (14, 34, SERVICE)
        );
        assert_eq!(seen.frame, frame);
    });
}

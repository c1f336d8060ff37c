//! Where the SYNs of an attack come from: what the program samples, and that it samples nothing without one.

use std::net::IpAddr;

use aya::maps::PerCpuArray;
use synward_core::layout::mode;
use synward_core::source_sample::Bucket;

use crate::frame_builder::{Segment, syns_of_both_paths};
use crate::steer::{SERVICE, Shared, Side, Steer, in_namespace, now};
use crate::{PASS, TX, needs_root};

impl Steer {
    /// The buckets of the sketch that hold a prefix, of all CPUs.
    fn sampled(&mut self) -> Vec<Bucket> {
        let map = PerCpuArray::<_, Shared<Bucket>>::try_from(self.map("SOURCES")).unwrap();
        let cpus = map.iter().flat_map(|cpus| cpus.unwrap().to_vec());
        let buckets = cpus.map(|Shared(bucket)| bucket);
        buckets.filter(|bucket| bucket.syns > 0).collect()
    }
}

/// Waits for the next jiffy, in which the next SYN is sampled.
fn next_jiffy() {
    let before = now();
    while now() == before {
        std::thread::yield_now();
    }
}

fn from(segment: &Segment, address: &str) -> Segment {
    let mut other = segment.clone();
    other.source.set_ip(address.parse().unwrap());
    other
}

#[test]
fn nothing_is_sampled_without_an_attack() {
    needs_root!();
    in_namespace(|steer| {
        for mode in [mode::ALWAYS, mode::MONITOR] {
            steer.policy(|service| service.mode = mode);
            for syn in syns_of_both_paths() {
                next_jiffy();
                steer.run(Side::Outside, &syn.bytes());
            }
        }
        assert_eq!(steer.sampled(), []);
    });
}

#[test]
fn an_attack_is_counted_by_networks_and_sites() {
    needs_root!();
    in_namespace(|steer| {
        for (syn, clients, prefix) in [
            (0, ["198.51.100.2", "198.51.100.250"], "198.51.100.0"),
            (1, ["203.0.113.2", "203.0.113.250"], "203.0.113.0"),
            (2, ["2001:db8:c:1::2", "2001:db8:c:2::3"], "2001:db8:c::"),
        ] {
            let syn = syns_of_both_paths()[syn].clone();
            steer.policy(|service| service.under_attack = 1);
            let before = steer.sampled().len();
            for client in clients {
                for _ in 0..3 {
                    next_jiffy();
                    let seen = steer.run(Side::Outside, &from(&syn, client).bytes());
                    assert_eq!(seen.verdict, TX);
                }
            }
            let prefix: IpAddr = prefix.parse().unwrap();
            let all = steer.sampled();
            let its = all.iter().filter(|bucket| {
                let source = bucket.source();
                IpAddr::from(source.address()) == prefix && source.service() == SERVICE
            });
            let samples: u32 = its.clone().map(|bucket| bucket.samples).sum();
            assert_eq!(samples, 6, "{prefix}: {all:?}");
            // Each CPU that the test ran on has its own.
            assert_eq!(all.len(), before + its.count(), "only {prefix}: {all:?}");
        }
    });
}

/// A sample stands for the SYNs since the one before: the sketch estimates how many there were, and a jiffy costs one sample.
#[test]
fn a_sample_stands_for_the_syns_since_the_last_one() {
    const SYNS: u32 = 200_000;
    needs_root!();
    in_namespace(|steer| {
        // What passes comes out unchanged, so that one run can be repeated.
        steer.policy(|service| (service.mode, service.under_attack) = (mode::MONITOR, 1));
        let syn = from(&syns_of_both_paths()[2], "2001:db8:c:1::2").bytes();
        let _moved = steer.run_often(&syn, SYNS);
        next_jiffy();
        assert_eq!(steer.run(Side::Outside, &syn).verdict, PASS);
        let buckets = steer.sampled();
        let syns: u64 = buckets.iter().map(|bucket| bucket.syns).sum();
        let samples: u32 = buckets.iter().map(|bucket| bucket.samples).sum();
        assert!(u64::from(SYNS) / 2 <= syns, "{syns} SYNs: {buckets:?}");
        assert!(syns <= u64::from(SYNS) + 1, "{syns} SYNs: {buckets:?}");
        assert!(samples < SYNS / 100, "{samples} samples");
    });
}

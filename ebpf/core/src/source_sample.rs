//! Where the SYNs of an attack come from: a bounded sketch of their source prefixes.
//!
//! On each CPU the first SYN of a jiffy is sampled (on the fast path: for each endpoint). It stands for all SYNs since the sample
//! before, so a flood pays for 100 to 1000 samples a second, whatever its rate. Each source prefix (IPv4: /24, IPv6: /48) and
//! service has one of [`BUCKETS`] buckets, under a keyed hash. A bucket keeps the prefix that has most of what falls into it, by
//! the majority vote of Boyer and Moore (MJRTY, 1981), weighted: its count is at most the true one, and at least that minus the
//! count of all others in the bucket. So a prefix that sends a notable share is found, however many others send little.
//!
//! The sources of SYNs can be spoofed. A prefix here is what the SYNs claim.

use crate::reply_budget::Receiver;

/// Buckets on each CPU, a power of two: 6 KiB.
pub const BUCKETS: usize = 256;

/// A bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    prefix: u64,
    service: u32,
    /// Samples of this prefix since it has the bucket. One or two of them are chance.
    pub samples: u32,
    /// How many more SYNs it has than all others of the bucket. 0: there is no prefix.
    pub syns: u64,
}

impl Bucket {
    /// The bucket of a source under a random `key`.
    #[inline(always)]
    pub const fn index(source: &Receiver, key: &[u64; 2]) -> u32 {
        source.place(key, 0).fingerprint & (BUCKETS as u32 - 1)
    }

    /// Counts a sample that stands for `syns`.
    #[inline(always)]
    pub fn add(&mut self, source: &Receiver, syns: u32) {
        let syns = syns as u64;
        if self.prefix == source.prefix && self.service == source.service && self.syns != 0 {
            self.samples = self.samples.saturating_add(1);
            self.syns += syns;
        } else if self.syns >= syns {
            self.syns -= syns;
        } else {
            *self = Self {
                prefix: source.prefix,
                service: source.service,
                samples: 1,
                syns: syns - self.syns,
            };
        }
    }

    /// Its prefix and its service.
    pub const fn source(&self) -> Receiver {
        Receiver {
            prefix: self.prefix,
            service: self.service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Address;
    use core::net::IpAddr;

    const KEY: [u64; 2] = [3, 4];

    fn source(a: u8, b: u8, c: u8) -> Receiver {
        let address = IpAddr::from([a, b, c, 1]);
        Receiver::new(&Address::from(address), 3).of_site()
    }

    #[test]
    fn the_prefix_with_most_syns_stays() {
        let heavy = source(192, 0, 200);
        let mut bucket = Bucket::default();
        for other in 0..100 {
            bucket.add(&source(192, 0, other), 10);
            bucket.add(&heavy, 20);
        }
        assert_eq!(bucket.source(), heavy);
        assert!((900..=2000).contains(&bucket.syns), "{bucket:?}");
        assert!((90..=100).contains(&bucket.samples), "{bucket:?}");
        assert_eq!(bucket.source().service(), 3);
    }

    /// 60,000 samples of all prefixes there are, and three prefixes with 5 % each between them: the sketch is as small as before
    /// and shows these three.
    #[test]
    fn the_heaviest_are_found_among_many_and_nothing_else() {
        let heavy = [source(10, 0, 1), source(10, 0, 2), source(10, 0, 3)];
        let mut buckets = [Bucket::default(); BUCKETS];
        let mut add = |one: &Receiver| {
            buckets[Bucket::index(one, &KEY) as usize].add(one, 100);
        };
        for round in 0..60_000u32 {
            match round % 20 {
                at @ 0..3 => add(&heavy[at as usize]),
                _ => {
                    let [a, b, c, _] = round.wrapping_mul(0x9e37_79b9).to_be_bytes();
                    add(&source(a, b, c));
                }
            }
        }
        let total = 60_000 * 100;
        let found = buckets.iter().filter(|one| one.syns * 100 >= total);
        let mut found: [_; 3] = core::array::from_fn({
            let mut found = found.map(|one| (one.source(), one.syns));
            move |_| found.next().expect("three prefixes")
        });
        found.sort_by_key(|(one, _)| one.prefix);
        for ((found, syns), heavy) in found.iter().zip(&heavy) {
            assert_eq!(found, heavy);
            assert!((total * 4 / 100..=total * 5 / 100).contains(syns), "{syns}");
        }
        let above = buckets.iter().filter(|one| one.syns * 100 >= total);
        assert_eq!(above.count(), 3, "no other");
    }

    #[test]
    fn sites_have_24_bits_of_ipv4_and_48_of_ipv6() {
        for (client, prefix) in [
            ("192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1::"),
            ("255.255.255.255", "255.255.255.0"),
        ] {
            let client: IpAddr = client.parse().expect("an address");
            let source = Receiver::new(&Address::from(client), 1023).of_site();
            let expected: IpAddr = prefix.parse().expect("an address");
            assert_eq!(IpAddr::from(source.address()), expected);
            assert_eq!(source.service(), 1023);
        }
    }
}

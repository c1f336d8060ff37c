//! Where the SYNs of attacks come from, as the XDP program samples it (`synward_core::source_sample`).

use std::collections::{BTreeMap, HashMap};

use aya::maps::PerCpuValues;
use ipnet::IpNet;
use synward_core::reply_budget::Receiver;
use synward_core::source_sample::{BUCKETS, Bucket};

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use crate::maps::Plain;

/// What was sampled of one source prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Samples.
    pub samples: u64,
    /// How many SYNs they stand for, at least.
    pub syns: u64,
}

/// The source prefixes that stand out, by the index of the service.
pub type SampledSources = HashMap<u32, BTreeMap<IpNet, Sampled>>;

impl Steering {
    /// The source prefixes of all attacks that go on.
    ///
    /// # Errors
    /// The kernel refuses to read.
    pub fn sampled_sources(&self) -> Result<SampledSources, SteeringError> {
        let mut sources = SampledSources::new();
        for slot in 0..BUCKETS as u32 {
            let cpus = self.object.sources.get(&slot, 0);
            for Plain(bucket) in cpus.map_err(map_failed("SOURCES"))?.iter() {
                if bucket.syns == 0 {
                    continue;
                }
                let source = bucket.source();
                let of_service = sources.entry(source.service()).or_default();
                let sampled = of_service.entry(prefix(&source)).or_default();
                sampled.samples += u64::from(bucket.samples);
                sampled.syns += bucket.syns;
            }
        }
        Ok(sources)
    }

    /// Forgets the sources of a service's attack.
    ///
    /// # Errors
    /// The kernel refuses to read or write.
    pub fn forget_sources(&mut self, service: u32) -> Result<(), SteeringError> {
        let map = &mut self.object.sources;
        for slot in 0..BUCKETS as u32 {
            let cpus = map.get(&slot, 0).map_err(map_failed("SOURCES"))?;
            let is_its = |bucket: &Bucket| bucket.syns > 0 && bucket.source().service() == service;
            if !cpus.iter().any(|Plain(bucket)| is_its(bucket)) {
                continue;
            }
            let left = cpus.iter().map(|Plain(bucket)| match is_its(bucket) {
                true => Plain(Bucket::default()),
                false => Plain(*bucket),
            });
            // As many as the kernel returned.
            let Ok(left) = PerCpuValues::try_from(left.collect::<Vec<_>>()) else {
                continue;
            };
            map.set(slot, left, 0).map_err(map_failed("SOURCES"))?;
        }
        Ok(())
    }
}

/// The prefix of a site (`Receiver::of_site`).
fn prefix(source: &Receiver) -> IpNet {
    let address = std::net::IpAddr::from(source.address());
    let length = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new_assert(address, length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use synward_core::wire::Address;

    #[test]
    fn prefixes_are_those_of_networks_and_sites() {
        for (client, expected) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ] {
            let client: IpAddr = client.parse().unwrap();
            let source = Receiver::new(&Address::from(client), 3).of_site();
            assert_eq!(prefix(&source).to_string(), expected);
        }
    }
}

//! Sources that no client has because they are this machine's own: its addresses, and the broadcast addresses of its networks.
//!
//! The XDP program answers no SYN from one of them. It asks a filter first, and the map only if the filter does not know
//! better.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aya::maps::{Array, HashMap, MapData};
use synward_core::layout::MAX_OWN_SOURCES;
use synward_core::source_filter::SourceFilter;
use synward_core::wire::Address;

use super::error::{SteeringError, map_failed};
use crate::kernel;
use crate::maps::Plain;

/// What the map of own sources holds.
#[derive(Debug, Default)]
pub(super) struct OwnSources {
    /// All that were found, of which the map holds the first [`MAX_OWN_SOURCES`].
    found: BTreeSet<IpAddr>,
    held: BTreeSet<IpAddr>,
}

impl OwnSources {
    /// Tells the XDP program this machine's own addresses (`own`) and the broadcast addresses of its networks. It is cheap if
    /// they are the same as before.
    ///
    /// # Errors
    /// The kernel cannot list its addresses or refuses a write.
    pub(super) fn renew(
        &mut self,
        own: &BTreeSet<IpAddr>,
        map: &mut HashMap<MapData, Plain<Address>, u32>,
        filter: &mut Array<MapData, Plain<SourceFilter>>,
    ) -> Result<(), SteeringError> {
        let broadcasts = kernel::broadcast_addresses().map_err(SteeringError::Netlink)?;
        let found: BTreeSet<_> = own.union(&broadcasts).copied().collect();
        if found == self.found {
            return Ok(());
        }
        let room = MAX_OWN_SOURCES as usize;
        if found.len() > room {
            tracing::warn!(
                found = found.len(),
                "SYNs that claim to come from an address of this machine are refused for {room} of its addresses only"
            );
        }
        let wanted: BTreeSet<_> = found.iter().copied().take(room).collect();
        // First what is gone, so that there is room. The filter is written last: meanwhile it may hold too much or too little,
        // as with an address that is a moment younger or older.
        let held = &mut self.held;
        for gone in held.difference(&wanted).copied().collect::<Vec<_>>() {
            let removed = map.remove(&Plain(gone.into()));
            removed.map_err(map_failed("OWN_SOURCES"))?;
            held.remove(&gone);
        }
        for new in wanted {
            if !held.contains(&new) {
                let added = map.insert(Plain(new.into()), 0, 0);
                added.map_err(map_failed("OWN_SOURCES"))?;
                held.insert(new);
            }
        }
        let written = filter.set(0, Plain(filter_of(held, own)), 0);
        written.map_err(map_failed("SOURCE_FILTER"))?;
        self.found = found;
        Ok(())
    }
}

/// The filter in front of a map that holds `held`, on a machine with the addresses `own`.
fn filter_of(held: &BTreeSet<IpAddr>, own: &BTreeSet<IpAddr>) -> SourceFilter {
    let mut filter = SourceFilter::default();
    held.iter().for_each(|one| filter.add(&Address::from(*one)));
    let has_reserved = own.iter().any(|one| Address::from(*one).is_reserved_v4());
    filter.has_reserved = has_reserved.into();
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_240_are_known_by_an_address_of_this_machine() {
        let set = |texts: &[&str]| -> BTreeSet<IpAddr> {
            texts.iter().filter_map(|text| text.parse().ok()).collect()
        };
        let held = set(&["10.0.0.1", "10.0.0.255", "240.1.255.255"]);
        let filter = filter_of(&held, &set(&["10.0.0.1"]));
        assert_eq!(filter.has_reserved, 0);
        for one in &held {
            assert!(filter.may_hold(&Address::from(*one)), "{one}");
        }
        let filter = filter_of(&held, &set(&["10.0.0.1", "240.1.0.1"]));
        assert_eq!(filter.has_reserved, 1);
    }
}

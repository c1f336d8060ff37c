//! The VLANs that this machine has devices for, on each steered interface.
//!
//! The kernel ignores a frame whose tags belong to no device, so the XDP program leaves it to the kernel. It looks through all
//! other tags. A port of a bridge receives frames for devices of others: there it looks through any tag.

use std::collections::BTreeSet;

use synward_core::layout::MAX_VLANS;

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::vlan_devices::vlans_on;
use crate::kernel;
use crate::maps::Plain;

impl Steering {
    /// Tells the XDP program the VLANs that this machine has devices for now. It is cheap if they are the same as before.
    ///
    /// # Errors
    /// The kernel cannot list its interfaces or refuses a write.
    pub fn renew_vlans(&mut self) -> Result<(), SteeringError> {
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        let interfaces = self.interfaces.iter();
        let wanted: BTreeSet<_> = interfaces
            .flat_map(|one| vlans_on(&links, one.index))
            .take(MAX_VLANS as usize)
            .collect();
        let map = &mut self.object.vlans;
        for gone in self.vlans.difference(&wanted) {
            map.remove(&Plain(*gone)).map_err(map_failed("VLANS"))?;
        }
        for new in wanted.difference(&self.vlans) {
            map.insert(Plain(*new), 0, 0).map_err(map_failed("VLANS"))?;
        }
        self.vlans = wanted;
        Ok(())
    }
}

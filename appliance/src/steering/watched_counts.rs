//! Counts of the addresses that are watched separately: read for all of them at once, ten times a second. A call for each
//! of 4,096 addresses would take a twentieth of a core.

use aya::maps::{MapData, PerCpuArray};
use synward_core::address_counts::AddressCounts;

use super::error::{SteeringError, map_failed};
use crate::maps::{BatchedPerCpuArray, Plain};

/// The map `ADDRESS_COUNTS`.
pub(super) const ADDRESS_COUNTS: &str = "ADDRESS_COUNTS";

/// The counts of all addresses, and what was last read of them.
pub(super) struct WatchedCounts {
    map: PerCpuArray<MapData, Plain<AddressCounts>>,
    /// `None`: the kernel cannot read many elements at once.
    batched: Option<BatchedPerCpuArray<Plain<AddressCounts>>>,
    /// The sums over all CPUs, by [`AddressCounts::index`].
    sums: Vec<AddressCounts>,
}

impl WatchedCounts {
    /// `again` is a second handle to the same map.
    pub(super) fn new(map: PerCpuArray<MapData, Plain<AddressCounts>>, again: MapData) -> Self {
        Self {
            map,
            batched: BatchedPerCpuArray::new(again).ok(),
            sums: Vec::new(),
        }
    }

    /// Reads the first `count` elements.
    pub(super) fn read(&mut self, count: u32) -> Result<(), SteeringError> {
        self.sums.clear();
        if let Some(batched) = &mut self.batched {
            let sums = &mut self.sums;
            match batched.read(count, |cpus| sums.push(sum(cpus))) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "the counts of addresses are read one by one");
                    self.batched = None;
                    self.sums.clear();
                }
            }
        }
        for index in 0..count {
            let cpus = self.map.get(&index, 0).map_err(map_failed(ADDRESS_COUNTS));
            match cpus {
                Ok(cpus) => self.sums.push(sum(&cpus)),
                Err(error) => {
                    self.sums.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What was read of an element; `None`: nothing was.
    pub(super) fn at(&self, index: u32) -> Option<AddressCounts> {
        self.sums.get(index as usize).copied()
    }
}

fn sum(cpus: &[Plain<AddressCounts>]) -> AddressCounts {
    let mut sum = AddressCounts::default();
    for Plain(AddressCounts(counts)) in cpus {
        for (sum, count) in sum.0.iter_mut().zip(counts) {
            *sum = sum.wrapping_add(*count);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_cpus_are_added_and_may_wrap() {
        let cpus = [[1, 2, 3, 0], [u64::MAX, 5, 0, 0]].map(|counts| Plain(AddressCounts(counts)));
        assert_eq!(sum(&cpus), AddressCounts([0, 7, 3, 0]));
        assert_eq!(sum(&[]), AddressCounts::default());
    }
}

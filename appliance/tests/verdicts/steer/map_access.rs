//! Reads and writes the maps of the program under test.

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::{Ebpf, Pod};
use synward_core::counters::{Counter, NAMES, SLOTS, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::{
    Clock, Endpoint, EndpointKey, Flow, Globals, Interfaces, KeySlot, NextHop, Passed, Service,
    VlanTags,
};

use super::{SERVICE, Steer, now};

/// A type of the shared library as aya takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: all of these are `repr(C)` structs of integers with explicit padding, which `layout` promises
// for what maps hold.
unsafe impl Pod for Shared<Globals> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::capture::Capture> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::source_sample::Bucket> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::address_counts::AddressCounts> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Clock> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Interfaces> {}
// SAFETY: as above.
unsafe impl Pod for Shared<EndpointKey> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Endpoint> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::layout::PrefixPort> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Service> {}
// SAFETY: as above.
unsafe impl Pod for Shared<KeySlot> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Flow> {}
// SAFETY: as above.
unsafe impl Pod for Shared<ServiceCounters> {}
// SAFETY: as above.
unsafe impl Pod for Shared<FlowKey> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Passed> {}
// SAFETY: as above.
unsafe impl Pod for Shared<NextHop> {}
// SAFETY: as above.
unsafe impl Pod for Shared<VlanTags> {}

impl Steer {
    /// A map of the object.
    pub(crate) fn map(&mut self, name: &str) -> &mut Map {
        self.object.map_mut(name).unwrap()
    }

    pub(crate) fn hash_map<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.object.map_mut(name).unwrap()).unwrap()
    }

    pub(crate) fn trie<const N: usize>(
        &mut self,
        name: &str,
    ) -> LpmTrie<&mut MapData, [u32; N], u32> {
        LpmTrie::try_from(self.object.map_mut(name).unwrap()).unwrap()
    }

    pub(crate) fn set<T: Pod>(&mut self, array: &str, index: u32, value: T) {
        Array::try_from(self.object.map_mut(array).unwrap())
            .unwrap()
            .set(index, value, 0)
            .unwrap();
        self.changed = Some(now());
    }

    pub(super) fn array<T: Pod>(&self, name: &str) -> Array<&MapData, T> {
        Array::try_from(self.object.map(name).unwrap()).unwrap()
    }

    /// All elements of an array.
    pub(crate) fn elements<T: Pod>(&self, name: &str) -> Vec<T> {
        self.array(name).iter().collect::<Result<_, _>>().unwrap()
    }

    pub(crate) fn hint_lines(&self) -> u32 {
        object_length(&self.object, "OCCUPANCY")
    }

    /// The service's counters, all CPUs together.
    pub(crate) fn counters(&self) -> [u64; SLOTS] {
        let counters: PerCpuArray<_, Shared<ServiceCounters>> =
            PerCpuArray::try_from(self.object.map("COUNTERS").unwrap()).unwrap();
        let mut sum = [0; SLOTS];
        for Shared(cpu) in counters.get(&SERVICE, 0).unwrap().iter() {
            sum.iter_mut()
                .zip(cpu.0)
                .for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    /// Checks that these counters moved by one since `before`, and no other.
    pub(crate) fn assert_counted(&self, before: &[u64; SLOTS], counted: &[Counter], what: &str) {
        assert_moved(before, &self.counters(), counted, what);
    }
}

/// Checks that these counters moved by one between `before` and `after`, and no other.
pub(crate) fn assert_moved(
    before: &[u64; SLOTS],
    after: &[u64; SLOTS],
    counted: &[Counter],
    what: &str,
) {
    let moved = |index: usize| after[index] - before[index];
    let names = |indices: &mut dyn Iterator<Item = usize>| -> Vec<_> {
        indices.map(|index| (NAMES[index], moved(index))).collect()
    };
    let seen = names(&mut (0..NAMES.len()).filter(|index| moved(*index) != 0));
    let mut wanted: Vec<_> = counted
        .iter()
        .map(|counter| (NAMES[*counter as usize], 1))
        .collect();
    wanted.sort_by_key(|(name, _)| NAMES.iter().position(|other| other == name));
    assert_eq!(seen, wanted, "counters: {what}");
}

/// The number of elements of an array.
pub(super) fn object_length(object: &Ebpf, name: &str) -> u32 {
    match object.map(name) {
        Some(Map::Array(map)) => map.info().unwrap().max_entries(),
        other => panic!("no array {name}: {other:?}"),
    }
}

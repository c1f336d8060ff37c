//! The replay cache of [`synward_core::replay_cache`], as workers use it: they record the handshakes of spliced connections.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use synward_core::cookie::Key;
use synward_core::flow::FlowKey;
use synward_core::replay_cache::{ENTRIES_PER_SET, Event, Handshake, SETS, Set, replaceable_slot};

use super::mapped_memory::Memory;

/// Words of the cache.
pub(crate) const WORDS: usize = SETS * ENTRIES_PER_SET;

/// The replay cache, in memory shared with the XDP program. No method locks or allocates. If two threads write the same entry
/// at once, one of the two handshakes is forgotten.
#[derive(Debug)]
pub struct ReplayCache {
    entries: Memory<AtomicU32>,
    key: Key,
}

impl ReplayCache {
    /// The cache over the mapped REPLAY_CACHE; `key` is `Globals::replay_key`.
    pub(crate) fn new(entries: Memory<AtomicU32>, key: Key) -> Self {
        assert_eq!(entries.len(), WORDS);
        Self { entries, key }
    }

    /// Its key.
    pub(crate) const fn key(&self) -> Key {
        self.key
    }

    /// A cache in private memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> std::io::Result<Self> {
        Ok(Self::new(Memory::anonymous(WORDS)?, [1, 2]))
    }

    /// Whether the handshake with this ISN of the client, by a cookie of `epoch`, has had its connection.
    pub fn is_connected(&self, flow: &FlowKey, client_isn: u32, epoch: u64) -> bool {
        let handshake = self.handshake(flow, client_isn);
        handshake.is_in(&self.read(&handshake), epoch)
    }

    /// Records that it has. The entry lasts as long as the cookie is accepted.
    pub fn record_connection(&self, flow: &FlowKey, client_isn: u32, epoch: u64) {
        let handshake = self.handshake(flow, client_isn);
        let set = self.read(&handshake);
        if !handshake.is_in(&set, epoch) {
            let slot = replaceable_slot(&set, epoch);
            self.set(&handshake)[slot].store(handshake.entry(epoch), Relaxed);
        }
    }

    fn handshake(&self, flow: &FlowKey, client_isn: u32) -> Handshake {
        Handshake::new(&self.key, flow, client_isn, Event::Connected)
    }

    fn set(&self, handshake: &Handshake) -> &[AtomicU32; ENTRIES_PER_SET] {
        let (sets, _) = self.entries.as_chunks::<ENTRIES_PER_SET>();
        &sets[handshake.set as usize]
    }

    fn read(&self, handshake: &Handshake) -> Set {
        let set = self.set(handshake);
        std::array::from_fn(|at| set[at].load(Relaxed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use synward_core::wire::Address;

    #[test]
    fn a_connection_is_recorded_for_its_own_handshake() {
        let cache = ReplayCache::in_memory().unwrap();
        let flow = FlowKey::new(Address::v4(1), 4711, Address::v4(2), 80);
        assert!(!cache.is_connected(&flow, 7, 100));
        cache.record_connection(&flow, 7, 100);
        cache.record_connection(&flow, 7, 100);
        assert!(cache.is_connected(&flow, 7, 100));
        assert!(!cache.is_connected(&flow, 7, 101), "another epoch");
        assert!(!cache.is_connected(&flow, 8, 100), "another ISN");
        let used = cache
            .entries
            .iter()
            .filter(|entry| entry.load(Relaxed) != 0);
        assert_eq!(used.count(), 1);
    }
}

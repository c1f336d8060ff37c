//! The flow table, in memory shared with the XDP program. Workers insert and remove entries. The XDP program looks them up
//! and updates their state and time.
//!
//! A bucket is one cache line of TAGS: fifteen fingerprints, and a count of the entries that were placed in their second
//! bucket because this one was crowded. Entry `bucket * 16 + way` of FLOWS belongs to the fingerprint at `way`. It has 64
//! bytes, accessed here as 16 words:
//!
//! | word | field of [`Flow`] |
//! |---|---|
//! | 0–8 | `key`: client, server, ports |
//! | 9, 10 | `sequence_delta`, `timestamp_delta` |
//! | 11, 12 | `client_sequence`, `server_sequence` |
//! | 13 | `last_seen` |
//! | 14 | `state`, `window_shift`, `flags`, `owner`, a byte each: the *state word* |
//! | 15 | `service`, the generation of the way's latest opening, and `owner_high` |
//!
//! **Life cycle of a way.** The tag of an unused way is [`FREE`]. An inserter claims it by exchanging its state word from 0
//! to [`CLAIMED`], writes the entry, the state word last, and then publishes the fingerprint. A reader that sees the
//! fingerprint sees the whole entry. Removal exchanges the fingerprint for [`RETIRED`]. A run of the XDP program that found
//! the entry before may still write `last_seen`, numbers, state and flags, but it ends within one unit of [`FlowTime`]. Two
//! units later an inserter may claim the way, or the sweep of the control thread frees it. An entry is therefore never
//! rewritten while a reader uses it.
//!
//! **Who may change an entry.** A thread first sets [`BUSY`] in the owner, by an exchange of the state word. Nobody else touches
//! the entry until that thread has cleared it, however long it pauses. The exchange compares identity: a worker names
//! its number and the *generation* of its opening, which the state word holds in place of the window shift (word 15 has the
//! number's upper bits, which it compares first); a sweep names the whole word that it has judged. So a worker that was stopped
//! while its opening expired finds that the entry is not its own any more, and changes nothing. The XDP program never writes owner
//! and window shift.
//!
//! **Concurrent insertion of one key.** After publishing, each inserter searches for the other, and succeeds only if it
//! finds none. If it finds an entry at a lower index, it withdraws its own and tries again: then it finds the entry of the
//! one that came first. If it finds one at a higher index, it searches again for a while, because that one withdraws.
//!
//! **Occupancy filter.** A bit of OCCUPANCY is set if the bucket, or by its count its second bucket, may hold an entry. If
//! it is clear, the XDP program skips the look-up. The inserter sets it after publishing an entry; the sweep clears it.
//!
//! **Full table.** An insertion into a crowded bucket removes the bucket's oldest closing flow; the replay cache still refuses
//! its cookie. If the bucket of a key and its second bucket are full nevertheless, the inserter refuses the new connection
//! and counts it. No open flow is evicted. Up to the configured capacity this does not happen.
#![forbid(unsafe_code)]

mod insertion;
mod life_cycle;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod models;
mod occupancy_bits;
mod state_word;
#[cfg(test)]
mod test_entries;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use synward_core::flow::{FIRST_TAG, FlowKey, OVERFLOW, Place, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, MAX_SERVICES};
use synward_core::multilinear;
use synward_core::occupancy;
use synward_core::wire::Address;

use super::atomics::{AtomicU32, AtomicU64};
use super::mapped_memory::Memory;

/// Words of an entry, and of a bucket.
const WORDS: usize = 16;
/// Words of 64 bits of a line of occupancy.
const OCCUPANCY_WORDS: usize = size_of::<occupancy::Line>() / 8;
pub(super) const LAST_SEEN: usize = 13;
pub(super) const STATE: usize = 14;

/// Units of [`FlowTime`] after which no run of the XDP program uses a removed entry.
const QUARANTINE: u32 = 2;

/// The table of spliced flows, shared by all threads and the XDP program. No method locks or allocates.
#[derive(Debug)]
pub struct FlowTable {
    tags: Memory<AtomicU32>,
    flows: Memory<AtomicU32>,
    occupancy: Memory<AtomicU64>,
    key: multilinear::Key,
    mask: u32,
}

/// An opening's entry, as its worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningEntry {
    /// Index of the entry.
    pub entry: u32,
    /// The worker that owns the opening.
    pub worker: u16,
    /// Which of the openings in this way it is. It counts up with every one, from 255 to 1.
    pub generation: u8,
}

/// Why a flow was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// Both of its buckets are full.
    #[error("the flow table is full: raise capacity in [flows]")]
    Full,
    /// The flow is already in the table, at this entry.
    #[error("the flow is in the table already")]
    Exists(u32),
}

/// The fields of a flow that are known after the server has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// K − S: added to the server's sequence numbers.
    pub sequence_delta: u32,
    /// Added to the server's timestamps.
    pub timestamp_delta: u32,
    /// The client's number that the server expects next.
    pub client_sequence: u32,
    /// The server's next number.
    pub server_sequence: u32,
    /// Left shift of the windows that the server sends; negative: right.
    pub window_shift: i8,
    /// Left shift of the windows that the client sends, see [`Flow::owner`].
    pub client_shift: u8,
    /// See [`flow_flags`](synward_core::layout::flow_flags).
    pub flags: u8,
}

/// The number of buckets for a table of `capacity` flows, a power of two. With an average of ten flows per bucket of fifteen
/// ways, no flow is refused. With twelve, one in some hundred thousand was.
pub(crate) fn buckets_for(capacity: u32) -> u32 {
    capacity.div_ceil(10).next_power_of_two()
}

/// The number of entries of a table of `buckets` buckets.
pub(crate) const fn entries_of(buckets: u32) -> u32 {
    entry_index(buckets, 0)
}

impl FlowTable {
    /// A table over the mapped TAGS, FLOWS and OCCUPANCY.
    pub(crate) fn new(
        tags: Memory<AtomicU32>,
        flows: Memory<AtomicU32>,
        occupancy: Memory<AtomicU64>,
        key: multilinear::Key,
        buckets: u32,
    ) -> Self {
        assert!(buckets.is_power_of_two() && tags.len() == buckets as usize * WORDS);
        assert_eq!(flows.len(), entries_of(buckets) as usize * WORDS);
        assert_eq!(
            occupancy.len(),
            occupancy::line_count(buckets) as usize * OCCUPANCY_WORDS
        );
        Self {
            tags,
            flows,
            occupancy,
            key,
            mask: buckets - 1,
        }
    }

    /// A table in private memory, for at least `capacity` flows.
    #[cfg(test)]
    pub(crate) fn in_memory(capacity: u32) -> std::io::Result<Self> {
        let buckets = buckets_for(capacity);
        Ok(Self::new(
            Memory::anonymous(buckets as usize * WORDS)?,
            Memory::anonymous(entries_of(buckets) as usize * WORDS)?,
            Memory::anonymous(occupancy::line_count(buckets) as usize * OCCUPANCY_WORDS)?,
            multilinear::PI,
            buckets,
        ))
    }

    /// Number of buckets.
    pub fn buckets(&self) -> u32 {
        self.mask + 1
    }

    /// Finds the entry of a flow.
    pub fn find(&self, key: &FlowKey) -> Option<u32> {
        self.search(key, self.place(key), None)
    }

    /// Reads an entry. Each field is consistent in itself, but the XDP program may have changed one field and not yet another.
    /// `key` and `service` change only when the way gets another flow. An index beyond the table reads as empty.
    pub fn read(&self, entry: u32) -> Flow {
        let Some(words) = self.words(entry) else {
            return Flow::default();
        };
        let state = words[STATE].load(Acquire).to_ne_bytes();
        let word = |at: usize| words[at].load(Relaxed);
        let service = word(15).to_ne_bytes();
        Flow {
            key: key_of(words),
            sequence_delta: word(9),
            timestamp_delta: word(10),
            client_sequence: word(11),
            server_sequence: word(12),
            last_seen: FlowTime::from_word(word(LAST_SEEN)),
            state: state[0],
            window_shift: state[1] as i8,
            flags: state[2],
            owner: state[3],
            service: u16::from_ne_bytes([service[0], service[1]]),
            generation: service[2],
            owner_high: service[3],
        }
    }

    /// Calls `with` for every entry.
    pub fn for_each(&self, mut with: impl FnMut(u32, Flow)) {
        for bucket in 0..self.buckets() {
            self.for_each_of_bucket(bucket, &mut with);
        }
    }

    /// Calls `with` for every entry of a bucket, which is less than [`Self::buckets`].
    pub fn for_each_of_bucket(&self, bucket: u32, mut with: impl FnMut(u32, Flow)) {
        for way in 0..WAYS as u32 {
            let entry = entry_index(bucket, way);
            if self.tag(entry).load(Acquire) >= FIRST_TAG {
                with(entry, self.read(entry));
            }
        }
    }

    /// Counts the entries of each service.
    pub fn occupied(&self) -> [u32; MAX_SERVICES as usize] {
        let mut occupied = [0; MAX_SERVICES as usize];
        self.for_each(|_, flow| count(&mut occupied, flow.service));
        occupied
    }

    pub(super) fn place(&self, key: &FlowKey) -> Place {
        Place::of(key.table_hash(&self.key), self.mask)
    }

    pub(super) fn bucket(&self, bucket: u32) -> &[AtomicU32; WORDS] {
        let (buckets, _) = self.tags.as_chunks::<WORDS>();
        &buckets[bucket as usize]
    }

    /// The fingerprint of an entry.
    pub(super) fn tag(&self, entry: u32) -> &AtomicU32 {
        &self.tags[entry as usize]
    }

    /// The words of an entry; `None` for an index beyond the table, and for that of the overflow count, which has no entry.
    pub(super) fn words(&self, entry: u32) -> Option<&[AtomicU32; WORDS]> {
        let (entries, _) = self.flows.as_chunks::<WORDS>();
        entries
            .get(entry as usize)
            .filter(|_| entry as usize % WORDS < WAYS)
    }

    /// The words of an entry, if it belongs to this flow.
    fn words_of(&self, entry: u32, key: &FlowKey) -> Option<&[AtomicU32; WORDS]> {
        self.words(entry)
            .filter(|words| self.tag(entry).load(Acquire) >= FIRST_TAG && key_of(words) == *key)
    }

    /// Searches as the XDP program does, but skips the entry `except`.
    fn search(&self, key: &FlowKey, place: Place, except: Option<u32>) -> Option<u32> {
        let found = self.search_bucket(key, place.bucket, place.tag, except);
        if found.is_some() || self.bucket(place.bucket)[OVERFLOW].load(SeqCst) == 0 {
            return found;
        }
        self.search_bucket(key, place.overflow, place.tag, except)
    }

    fn search_bucket(
        &self,
        key: &FlowKey,
        bucket: u32,
        tag: u32,
        except: Option<u32>,
    ) -> Option<u32> {
        (0..WAYS as u32)
            .filter(|way| self.bucket(bucket)[*way as usize].load(SeqCst) == tag)
            .map(|way| entry_index(bucket, way))
            .filter(|entry| Some(*entry) != except)
            .find(|entry| {
                self.words(*entry)
                    .is_some_and(|words| key_of(words) == *key)
            })
    }
}

pub(super) fn key_of(words: &[AtomicU32; WORDS]) -> FlowKey {
    let word = |at: usize| words[at].load(Relaxed);
    FlowKey {
        client: Address(std::array::from_fn(word)),
        server: Address(std::array::from_fn(|at| word(4 + at))),
        ports: word(8),
    }
}

pub(super) fn count(services: &mut [u32; MAX_SERVICES as usize], service: u16) {
    if let Some(count) = services.get_mut(usize::from(service)) {
        *count += 1;
    }
}

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
//! | 11, 12 | `client_isn`, `isn` |
//! | 13 | `last_seen` |
//! | 14 | `state`, `window_shift`, `flags`, `owner`, a byte each: the *state word* |
//! | 15 | `service`, and two bytes that are zero |
//!
//! **Life cycle of a way.** The tag of an unused way is [`FREE`]. An inserter claims it by exchanging its state word from 0
//! to [`CLAIMED`], writes the entry, the state word last, and then publishes the fingerprint. A reader that sees the
//! fingerprint sees the whole entry. Removal exchanges the fingerprint for [`RETIRED`]. A run of the XDP program that found
//! the entry before may still write `last_seen` and the state word, but it ends within one unit of [`FlowTime`]. After
//! that, the sweep of the control thread clears the state word and frees the way. An entry is therefore never rewritten
//! while a reader uses it.
//!
//! **Concurrent insertion of one key.** After publishing, each inserter searches for the other. An inserter that finds
//! another entry withdraws its own and tries again. It then finds the entry of the one that came first.
//!
//! **Occupancy filter.** A bit of OCCUPANCY is set if the bucket, or by its count its second bucket, may hold an entry. If
//! it is clear, the XDP program skips the look-up. The inserter sets it after publishing an entry; the sweep clears it.
//!
//! **Full table.** If the bucket of a key and its second bucket are full, the inserter refuses the new connection and counts
//! it. No live flow is evicted. Up to the configured capacity this does not happen.
#![forbid(unsafe_code)]

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use synward_core::flow::{FIRST_TAG, FREE, FlowKey, OVERFLOW, Place, RETIRED, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, MAX_SERVICES, state};
use synward_core::multilinear;
use synward_core::occupancy::{self, BucketBits};
use synward_core::wire::Address;

use super::clock::flow_now;
use super::mapped_memory::Memory;

/// Words of an entry, and of a bucket.
pub(super) const WORDS: usize = 16;
/// Words of 64 bits of a line of occupancy.
const OCCUPANCY_WORDS: usize = size_of::<occupancy::Line>() / 8;
pub(super) const LAST_SEEN: usize = 13;
pub(super) const STATE: usize = 14;
/// State word of a way that an inserter is about to fill. The XDP program ignores its state.
pub(super) const CLAIMED: u32 = u32::from_ne_bytes([state::EMPTY, 0, 0, 0xff]);
/// From this many used ways on, new entries go to the second bucket if that has more room. A lower value spreads entries
/// better; a higher one saves the XDP program look-ups in the second bucket.
const CROWDED: usize = 12;
/// Maximum number of attempts of an insertion that collides with others.
const ATTEMPTS: usize = 64;

/// The table of spliced flows, shared by all threads and the XDP program. No method locks or allocates.
#[derive(Debug)]
pub struct FlowTable {
    tags: Memory<AtomicU32>,
    flows: Memory<AtomicU32>,
    occupancy: Memory<AtomicU64>,
    key: multilinear::Key,
    mask: u32,
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
            client_isn: word(11),
            isn: word(12),
            last_seen: FlowTime::from_word(word(LAST_SEEN)),
            state: state[0],
            window_shift: state[1] as i8,
            flags: state[2],
            owner: state[3],
            service: u16::from_ne_bytes([service[0], service[1]]),
            reserved: 0,
        }
    }

    /// Writes a flow into a free way of its bucket or second bucket, and publishes it to the XDP program.
    pub fn insert(&self, flow: &Flow) -> Result<u32, InsertError> {
        let place = self.place(&flow.key);
        for attempt in 1..=ATTEMPTS {
            if let Some(entry) = self.search(&flow.key, place, None) {
                return Err(InsertError::Exists(entry));
            }
            let entry = self.claim(place).ok_or(InsertError::Full)?;
            self.write(entry, flow);
            self.publish(entry, place);
            if self.search(&flow.key, place, Some(entry)).is_none() {
                return Ok(entry);
            }
            self.remove(entry);
            // The delay differs between entries, so that the two do not collide again.
            (0..attempt * (entry as usize % 61)).for_each(|_| std::hint::spin_loop());
        }
        Err(InsertError::Full)
    }

    /// Turns a closing entry into the opening of a new connection with the same addresses and ports. Returns `false` if the
    /// entry is not closing (any more): another worker was first, or the old connection continues.
    ///
    /// The XDP program may be translating a segment of the old connection and set the state once more.
    /// [`Self::ensure_opening`] corrects that.
    pub fn reopen(&self, entry: u32, flow: &Flow) -> bool {
        let Some(words) = self.words_of(entry, &flow.key) else {
            return false;
        };
        let mut old = words[STATE].load(Acquire);
        loop {
            if old.to_ne_bytes()[0] != state::CLOSING {
                return false;
            }
            match words[STATE].compare_exchange_weak(old, state_word(flow), SeqCst, Acquire) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        self.write(entry, flow);
        true
    }

    /// Restores the state of an opening before its SYN is retransmitted. A state that the XDP program has set after
    /// [`Self::reopen`] would keep the server's segments from the worker.
    pub fn ensure_opening(&self, entry: u32, key: &FlowKey, owner: u8) {
        if let Some(words) = self.words_of(entry, key) {
            let word = u32::from_ne_bytes([state::OPENING, 0, 0, owner]);
            words[STATE].store(word, Release);
        }
    }

    /// Sets the state of an entry, as the XDP program does.
    #[cfg(test)]
    pub(crate) fn set_state(&self, entry: u32, state: u8) {
        if let Some(words) = self.words(entry) {
            let flow = self.read(entry);
            words[STATE].store(state_word(&Flow { state, ..flow }), SeqCst);
        }
    }

    /// Completes an opening after the server has answered: writes the fields, and then the state with which the XDP program
    /// translates.
    pub fn establish(&self, entry: u32, found: &Established, now: FlowTime) {
        let Some(words) = self.words(entry) else {
            return;
        };
        words[9].store(found.sequence_delta, Relaxed);
        words[10].store(found.timestamp_delta, Relaxed);
        words[LAST_SEEN].store(now.to_word(), Relaxed);
        let word = [
            state::ESTABLISHED,
            found.window_shift as u8,
            found.flags,
            found.client_shift,
        ];
        words[STATE].store(u32::from_ne_bytes(word), Release);
    }

    /// Removes an entry; `false` if it was not in the table. A sweep frees the way after two units of [`FlowTime`].
    pub fn remove(&self, entry: u32) -> bool {
        let Some(words) = self.words(entry) else {
            return false;
        };
        let tag = self.tag(entry);
        let old = tag.load(Acquire);
        if old < FIRST_TAG {
            return false;
        }
        let home = self.place(&key_of(words)).bucket;
        words[LAST_SEEN].store(flow_now().to_word(), Relaxed);
        words[STATE].store(0, Relaxed);
        if tag.compare_exchange(old, RETIRED, SeqCst, Relaxed).is_err() {
            return false;
        }
        if home != entry / WORDS as u32 {
            self.bucket(home)[OVERFLOW].fetch_sub(1, SeqCst);
        }
        true
    }

    /// Calls `with` for every entry.
    pub fn for_each(&self, mut with: impl FnMut(u32, Flow)) {
        for bucket in 0..self.buckets() {
            for way in 0..WAYS as u32 {
                let entry = entry_index(bucket, way);
                if self.tag(entry).load(Acquire) >= FIRST_TAG {
                    with(entry, self.read(entry));
                }
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

    /// Claims a free way, in the first bucket unless it is crowded and the second one less so.
    fn claim(&self, place: Place) -> Option<u32> {
        let used = |bucket| {
            self.bucket(bucket)[..WAYS]
                .iter()
                .filter(|tag| tag.load(Relaxed) != FREE)
                .count()
        };
        let own = used(place.bucket);
        let mut order = [place.bucket, place.overflow];
        if own >= CROWDED && used(place.overflow) < own {
            order.reverse();
        }
        order.into_iter().find_map(|bucket| self.claim_in(bucket))
    }

    fn claim_in(&self, bucket: u32) -> Option<u32> {
        (0..WAYS as u32)
            .map(|way| entry_index(bucket, way))
            .find(|entry| {
                let Some(words) = self
                    .words(*entry)
                    .filter(|_| self.tag(*entry).load(Acquire) == FREE)
                else {
                    return false;
                };
                if words[STATE]
                    .compare_exchange(0, CLAIMED, SeqCst, Relaxed)
                    .is_err()
                {
                    return false;
                }
                // Between the check and the claim, another inserter may have filled the way and removed the entry.
                let is_ours = self.tag(*entry).load(SeqCst) == FREE;
                if !is_ours {
                    let _ = words[STATE].compare_exchange(CLAIMED, 0, SeqCst, Relaxed);
                }
                is_ours
            })
    }

    /// Writes an entry that no other thread uses, the state word last.
    fn write(&self, entry: u32, flow: &Flow) {
        let Some(words) = self.words(entry) else {
            return;
        };
        let FlowKey {
            client,
            server,
            ports,
        } = flow.key;
        let ends = client.0.into_iter().chain(server.0).chain([ports]);
        let rest = [
            flow.sequence_delta,
            flow.timestamp_delta,
            flow.client_isn,
            flow.isn,
            flow.last_seen.to_word(),
        ];
        for (word, value) in words.iter().zip(ends.chain(rest)) {
            word.store(value, Relaxed);
        }
        let [low, high] = flow.service.to_ne_bytes();
        words[15].store(u32::from_ne_bytes([low, high, 0, 0]), Relaxed);
        words[STATE].store(state_word(flow), Release);
    }

    /// Publishes an entry. For one in the second bucket, the count of the first bucket is raised before, so that readers
    /// search there.
    fn publish(&self, entry: u32, place: Place) {
        if entry / WORDS as u32 != place.bucket {
            self.bucket(place.bucket)[OVERFLOW].fetch_add(1, SeqCst);
        }
        self.tag(entry).store(place.tag, SeqCst);
        // The search that follows must not be reordered before the store; see "Concurrent insertion of one key".
        fence(SeqCst);
        // Last: a sweep that found the bucket empty before this store also clears the bit before it.
        self.set_occupied(place.bucket);
    }

    /// Sets the occupancy bit of a bucket.
    pub(super) fn set_occupied(&self, bucket: u32) {
        let (word, bit) = self.occupancy_bit(bucket);
        word.fetch_or(bit, SeqCst);
    }

    /// Clears the occupancy bit of a bucket if the bucket is empty.
    pub(super) fn clear_if_empty(&self, bucket: u32) {
        let is_empty = || {
            let tags = self.bucket(bucket).iter();
            tags.map(|tag| tag.load(SeqCst)).all(|tag| tag == FREE)
        };
        let (word, bit) = self.occupancy_bit(bucket);
        if word.load(Relaxed) & bit == 0 || !is_empty() {
            return;
        }
        word.fetch_and(!bit, SeqCst);
        fence(SeqCst);
        // An entry published in between may have set the bit before it was cleared, so check again. An entry published
        // from here on sets the bit later.
        if !is_empty() {
            word.fetch_or(bit, SeqCst);
        }
    }

    fn occupancy_bit(&self, bucket: u32) -> (&AtomicU64, u64) {
        let bits = BucketBits::of(bucket);
        let (word, bit) = bits.flows;
        (
            &self.occupancy[bits.line as usize * OCCUPANCY_WORDS + word],
            bit,
        )
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

fn state_word(flow: &Flow) -> u32 {
    u32::from_ne_bytes([flow.state, flow.window_shift as u8, flow.flags, flow.owner])
}

pub(super) fn count(services: &mut [u32; MAX_SERVICES as usize], service: u16) {
    if let Some(count) = services.get_mut(usize::from(service)) {
        *count += 1;
    }
}

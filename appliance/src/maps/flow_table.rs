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
//! **Who may change an entry.** A thread first sets [`BUSY`] in the owner, by an exchange of the state word. Nobody else touches the
//! entry until that thread has cleared it, however long it pauses. The exchange compares identity: a worker names
//! its number and the *generation* of its opening, which the state word holds in place of the window shift (word 15 has the
//! number's upper bits, which it compares first); a sweep names the whole word that it has judged. So a worker that was stopped while its opening expired finds that the entry is not its
//! own any more, and changes nothing. The XDP program never writes owner and window shift.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod models;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use synward_core::flow::{FIRST_TAG, FREE, FlowKey, OVERFLOW, Place, RETIRED, WAYS, entry_index};
use synward_core::flow_state::Observed;
use synward_core::flow_time::FlowTime;
use synward_core::layout::owner::{self, BUSY, NO_WORKER};
use synward_core::layout::{Flow, MAX_SERVICES, state};
use synward_core::multilinear;
use synward_core::occupancy::{self, BucketBits};
use synward_core::wire::Address;

use super::atomics::{AtomicU32, AtomicU64, fence};
use super::clock::flow_now;
use super::mapped_memory::Memory;

/// Words of an entry, and of a bucket.
const WORDS: usize = 16;
/// Words of 64 bits of a line of occupancy.
const OCCUPANCY_WORDS: usize = size_of::<occupancy::Line>() / 8;
pub(super) const LAST_SEEN: usize = 13;
pub(super) const STATE: usize = 14;
/// State word of a way that a thread is about to fill or has emptied. The XDP program ignores its state.
const CLAIMED: u32 = u32::from_ne_bytes([state::EMPTY, 0, 0, BUSY]);
/// Units of [`FlowTime`] after which no run of the XDP program uses a removed entry.
const QUARANTINE: u32 = 2;
/// From this many used ways on, new entries go to the second bucket if that has more room. A lower value spreads entries
/// better; a higher one saves the XDP program look-ups in the second bucket.
const CROWDED: usize = 12;
/// Maximum number of attempts of an insertion that collides with others.
const ATTEMPTS: usize = 64;
/// Searches during which an inserter waits for another one to withdraw. Each takes some tens of nanoseconds.
const PATIENCE: usize = 64;

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

    /// Writes an opening into a free way of its bucket or second bucket, and publishes it to the XDP program. `last_seen` of
    /// `flow` is the current time, `owner` its worker.
    pub fn insert(&self, flow: &Flow) -> Result<OpeningEntry, InsertError> {
        let place = self.place(&flow.key);
        for _ in 0..ATTEMPTS {
            if let Some(entry) = self.search(&flow.key, place, None) {
                return Err(InsertError::Exists(entry));
            }
            let entry = self.claim(place, flow.last_seen).ok_or(InsertError::Full)?;
            let opening = self.write(entry, flow);
            self.publish(entry, place);
            if self.is_only_entry(&flow.key, place, entry) {
                return Ok(opening);
            }
            self.remove(&opening);
        }
        Err(InsertError::Full)
    }

    /// Whether a published entry is its key's only one. If two inserters collide, exactly one of them withdraws: if
    /// both did, again and again, each attempt would cost two ways for the time of [`QUARANTINE`], again and again.
    fn is_only_entry(&self, key: &FlowKey, place: Place, entry: u32) -> bool {
        for _ in 0..PATIENCE {
            match self.search(key, place, Some(entry)) {
                None => return true,
                Some(other) if other < entry => return false,
                Some(_) => std::hint::spin_loop(),
            }
        }
        false
    }

    /// Sets the state of an entry, as the XDP program does.
    #[cfg(test)]
    pub(crate) fn set_state(&self, entry: u32, state: u8) {
        if let Some(words) = self.words(entry) {
            let [_, shift, flags, owner] = words[STATE].load(SeqCst).to_ne_bytes();
            let word = u32::from_ne_bytes([state, shift, flags, owner]);
            words[STATE].store(word, SeqCst);
        }
    }

    /// Removes whatever has an entry; `false` if nothing has.
    #[cfg(test)]
    pub(crate) fn remove_entry(&self, entry: u32) -> bool {
        let Some(words) = self.words(entry) else {
            return false;
        };
        let last_seen = FlowTime::from_word(words[LAST_SEEN].load(SeqCst));
        let word = words[STATE].load(SeqCst);
        self.tag(entry).load(SeqCst) >= FIRST_TAG
            && self.remove_judged(entry, word, last_seen, flow_now())
    }

    /// Writes an established or closing flow, for tests that begin there.
    #[cfg(test)]
    pub(crate) fn insert_established(&self, flow: &Flow) -> Result<u32, InsertError> {
        let opening = self.insert(flow)?;
        let found = Established {
            sequence_delta: flow.sequence_delta,
            timestamp_delta: flow.timestamp_delta,
            client_sequence: flow.client_sequence,
            server_sequence: flow.server_sequence,
            window_shift: flow.window_shift,
            client_shift: 0,
            flags: flow.flags,
        };
        self.establish(&opening, &found, flow.last_seen);
        self.set_state(opening.entry, flow.state);
        Ok(opening.entry)
    }

    /// Turns a closing entry into the opening of a new connection with the same addresses and ports. `None` if the entry is
    /// not closing (any more): another worker was first, or the old connection continues.
    ///
    /// The XDP program may be translating a segment of the old connection and set the state once more.
    /// [`Self::ensure_opening`] corrects that.
    pub fn reopen(&self, entry: u32, flow: &Flow) -> Option<OpeningEntry> {
        let words = self.words_of(entry, &flow.key)?;
        let mut old = words[STATE].load(Acquire);
        loop {
            let [old_state, _, _, owner] = old.to_ne_bytes();
            if old_state != state::CLOSING || owner & (NO_WORKER | BUSY) != NO_WORKER {
                return None;
            }
            match words[STATE].compare_exchange_weak(old, busy(state::OPENING), SeqCst, Acquire) {
                Ok(_) => return Some(self.write(entry, flow)),
                Err(now) => old = now,
            }
        }
    }

    /// Restores the state of an opening before its SYN is retransmitted. A state that the XDP program has set after
    /// [`Self::reopen`] would keep the server's segments from the worker. `false`: the entry is not the opening's any more.
    pub fn ensure_opening(&self, opening: &OpeningEntry) -> bool {
        let Some(words) = self.take(opening) else {
            return false;
        };
        words[STATE].store(opening_word(opening), Release);
        true
    }

    /// Completes an opening after the server has answered: writes the fields, and then the state with which the XDP program
    /// translates. `false`: the entry is not the opening's any more.
    pub fn establish(&self, opening: &OpeningEntry, found: &Established, now: FlowTime) -> bool {
        let Some(words) = self.take(opening) else {
            return false;
        };
        words[9].store(found.sequence_delta, Relaxed);
        words[10].store(found.timestamp_delta, Relaxed);
        words[11].store(found.client_sequence, Relaxed);
        words[12].store(found.server_sequence, Relaxed);
        words[LAST_SEEN].store(now.to_word(), Relaxed);
        let word = [
            state::ESTABLISHED,
            found.window_shift as u8,
            found.flags,
            NO_WORKER | found.client_shift,
        ];
        words[STATE].store(u32::from_ne_bytes(word), Release);
        true
    }

    /// Notes what a segment that did not pass the XDP program says about its flow.
    pub fn observe(&self, entry: u32, key: &FlowKey, segment: &Observed, now: FlowTime) {
        let Some(words) = self.words_of(entry, key) else {
            return;
        };
        let mut old = words[STATE].load(Acquire);
        loop {
            let [state, shift, flags, owner] = old.to_ne_bytes();
            let is_open = matches!(state, state::ESTABLISHED | state::CLOSING);
            if !is_open || owner & BUSY != 0 {
                return;
            }
            let mut flow = Flow {
                state,
                flags,
                ..self.read(entry)
            };
            flow.observe(segment, now);
            let new = u32::from_ne_bytes([flow.state, shift, flow.flags, owner]);
            match words[STATE].compare_exchange_weak(old, new, SeqCst, Acquire) {
                Ok(_) => return words[LAST_SEEN].store(flow.last_seen.to_word(), Relaxed),
                Err(now) => old = now,
            }
        }
    }

    /// Removes an opening; `false` if the entry is not its own any more. The way is free after [`QUARANTINE`].
    pub fn remove(&self, opening: &OpeningEntry) -> bool {
        let taken = self.take(opening).is_some();
        if taken {
            self.retire(opening.entry, flow_now());
        }
        taken
    }

    /// Removes the flow of an entry whose state word was `judged`, and which carried its last segment at `last_seen`. `false` if
    /// either has changed since: nothing is removed.
    pub(super) fn remove_judged(
        &self,
        entry: u32,
        judged: u32,
        last_seen: FlowTime,
        now: FlowTime,
    ) -> bool {
        let Some(words) = self.words(entry) else {
            return false;
        };
        let [.., owner] = judged.to_ne_bytes();
        if owner & BUSY != 0 || !with_owner(words, judged, owner | BUSY) {
            return false;
        }
        // While this process was stopped, the XDP program may have carried segments of the flow.
        if words[LAST_SEEN].load(Acquire) != last_seen.to_word() {
            let mut word = words[STATE].load(Acquire);
            while !with_owner(words, word, owner) {
                word = words[STATE].load(Acquire);
            }
            return false;
        }
        self.retire(entry, now);
        true
    }

    /// Makes the calling thread the only one that may change the entry of an opening, if that is still its own.
    fn take(&self, opening: &OpeningEntry) -> Option<&[AtomicU32; WORDS]> {
        let words = self.words(opening.entry)?;
        let (low, high) = owner::of(opening.worker);
        let mut old = words[STATE].load(Acquire);
        loop {
            // The XDP program may have written state and flags of an older connection.
            let [_, generation, _, owner] = old.to_ne_bytes();
            // Written before the state word.
            let [.., owner_high] = words[15].load(Acquire).to_ne_bytes();
            if (generation, owner, owner_high) != (opening.generation, low, high) {
                return None;
            }
            match words[STATE].compare_exchange_weak(old, busy(state::OPENING), SeqCst, Acquire) {
                Ok(_) => return Some(words),
                Err(now) => old = now,
            }
        }
    }

    /// Retires a way whose entry the calling thread has made busy.
    fn retire(&self, entry: u32, now: FlowTime) {
        let Some(words) = self.words(entry) else {
            return;
        };
        let home = self.place(&key_of(words)).bucket;
        words[LAST_SEEN].store(now.to_word(), Relaxed);
        words[STATE].store(CLAIMED, Release);
        self.tag(entry).store(RETIRED, SeqCst);
        if home != entry / WORDS as u32 {
            self.bucket(home)[OVERFLOW].fetch_sub(1, SeqCst);
        }
        words[STATE].store(0, Release);
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

    /// Claims a free way, in the first bucket unless it is crowded and the second one less so. A crowded bucket gives up its
    /// oldest closing flow, whose way is free soon.
    fn claim(&self, place: Place, now: FlowTime) -> Option<u32> {
        let used = |bucket| {
            self.bucket(bucket)[..WAYS]
                .iter()
                .filter(|tag| tag.load(Relaxed) != FREE)
                .count()
        };
        let own = used(place.bucket);
        let mut order = [place.bucket, place.overflow];
        if own >= CROWDED {
            let second = used(place.overflow);
            self.remove_oldest_closing(place.bucket, now);
            if second >= CROWDED {
                self.remove_oldest_closing(place.overflow, now);
            }
            if second < own {
                order.reverse();
            }
        }
        order
            .into_iter()
            .find_map(|bucket| self.claim_in(bucket, now))
    }

    fn claim_in(&self, bucket: u32, now: FlowTime) -> Option<u32> {
        let entries = || (0..WAYS as u32).map(|way| entry_index(bucket, way));
        let claimed = entries().find(|entry| {
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
        });
        claimed.or_else(|| entries().find(|entry| self.claim_retired(*entry, now)))
    }

    /// Claims a retired way that no run of the XDP program uses any more: for an insertion, or to free it. Its state word may hold
    /// what such a run wrote last.
    pub(super) fn claim_retired(&self, entry: u32, now: FlowTime) -> bool {
        let Some(words) = self.words(entry) else {
            return false;
        };
        let is_over = || {
            let last_seen = FlowTime::from_word(words[LAST_SEEN].load(Acquire));
            self.tag(entry).load(SeqCst) == RETIRED && now.elapsed_since(last_seen) >= QUARANTINE
        };
        let left = words[STATE].load(Acquire);
        let [.., owner] = left.to_ne_bytes();
        if !is_over() || owner & BUSY != 0 {
            return false;
        }
        if words[STATE]
            .compare_exchange(left, CLAIMED, SeqCst, Relaxed)
            .is_err()
        {
            return false;
        }
        // Between the check and the claim, others may have filled the way and removed the entry, or freed it.
        let is_ours = is_over();
        if is_ours {
            self.tag(entry).store(FREE, SeqCst);
        } else {
            words[STATE].store(0, Release);
        }
        is_ours
    }

    /// Removes the closing flow of a bucket that has been silent for the longest time, and for [`QUARANTINE`] at least: the last
    /// segments of the others may be on their way.
    fn remove_oldest_closing(&self, bucket: u32, now: FlowTime) {
        let closing = (0..WAYS as u32).filter_map(|way| {
            let entry = entry_index(bucket, way);
            let words = self.words(entry)?;
            let word = words[STATE].load(Acquire);
            let [state, _, _, owner] = word.to_ne_bytes();
            let last_seen = FlowTime::from_word(words[LAST_SEEN].load(Relaxed));
            let is_closing = state == state::CLOSING
                && owner & (NO_WORKER | BUSY) == NO_WORKER
                && self.tag(entry).load(Acquire) >= FIRST_TAG;
            is_closing.then_some((now.elapsed_since(last_seen), entry, word, last_seen))
        });
        let oldest = closing.max_by_key(|(age, ..)| *age);
        if let Some((age, entry, word, last_seen)) = oldest
            && age >= QUARANTINE
        {
            self.remove_judged(entry, word, last_seen, now);
        }
    }

    /// Writes the opening of a new generation into an entry that the calling thread has made busy, the state word last.
    fn write(&self, entry: u32, flow: &Flow) -> OpeningEntry {
        let mut opening = OpeningEntry {
            entry,
            worker: flow.worker(),
            generation: 0,
        };
        let Some(words) = self.words(entry) else {
            return opening;
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
            flow.client_sequence,
            flow.server_sequence,
            flow.last_seen.to_word(),
        ];
        for (word, value) in words.iter().zip(ends.chain(rest)) {
            word.store(value, Relaxed);
        }
        let [low, high] = flow.service.to_ne_bytes();
        let [_, _, before, _] = words[15].load(Relaxed).to_ne_bytes();
        // Never 0: no opening has the state word of a free way.
        opening.generation = before.checked_add(1).unwrap_or(1);
        words[15].store(
            u32::from_ne_bytes([low, high, opening.generation, flow.owner_high]),
            Relaxed,
        );
        words[STATE].store(opening_word(&opening), Release);
        opening
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

/// The state word of an opening.
fn opening_word(opening: &OpeningEntry) -> u32 {
    let (owner, _) = owner::of(opening.worker);
    u32::from_ne_bytes([state::OPENING, opening.generation, 0, owner])
}

/// The state word of an entry that a thread is changing.
const fn busy(state: u8) -> u32 {
    u32::from_ne_bytes([state, 0, 0, BUSY])
}

/// Exchanges the owner in a state word that is still `expected`.
fn with_owner(words: &[AtomicU32; WORDS], expected: u32, owner: u8) -> bool {
    let [state, shift, flags, _] = expected.to_ne_bytes();
    let new = u32::from_ne_bytes([state, shift, flags, owner]);
    words[STATE]
        .compare_exchange(expected, new, SeqCst, Acquire)
        .is_ok()
}

pub(super) fn count(services: &mut [u32; MAX_SERVICES as usize], service: u16) {
    if let Some(count) = services.get_mut(usize::from(service)) {
        *count += 1;
    }
}

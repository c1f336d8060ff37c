//! The flow table in memory that the XDP program shares: it finds entries and marks them, we place and remove them.
//!
//! A bucket is one cache line of TAGS: fifteen fingerprints and a count of the entries that live in another bucket
//! because this one was crowded. Entry `bucket * 16 + way` of FLOWS belongs to the fingerprint at `way`; it is 64
//! bytes, here 16 words:
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
//! **The life of a way.** Its tag is [`FREE`]. An inserter claims it by exchanging its state word from 0 to
//! [`CLAIMED`], writes the entry, its state word last, and then publishes the fingerprint: who sees the fingerprint
//! sees the whole entry. To remove it, the fingerprint is exchanged for [`RETIRED`]; a run of the XDP program that
//! has found it before may still write `last_seen` and the state word, but is over within the tick after which the
//! control thread's sweep clears the state word and frees the way. So an entry is never rewritten under a reader.
//!
//! **When two insert the same key at once**, each finds the other after publishing; whoever does withdraws and tries
//! again, and the one that comes first then is found by the other.
//!
//! **Hints.** A bit of OCCUPANCY says that there is something in a bucket or, by its count, in the second one; without it the
//! XDP program does not look. It is set when an entry has been published, and taken back by the sweep.
//!
//! **When the table is full**, that is when a key's own bucket and its second one are, the new connection is refused
//! and counted by whoever inserts; no living flow is ever evicted. Up to its configured capacity this does not happen.
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
/// State word of a way that an inserter is about to fill; its state is one that the XDP program ignores.
pub(super) const CLAIMED: u32 = u32::from_ne_bytes([state::EMPTY, 0, 0, 0xff]);
/// From this many used ways on, a bucket sends newcomers to the second one if that has more room. Lower spreads
/// better, higher spares the XDP program the second look.
const CROWDED: usize = 12;
/// How often an insertion starts again because another one came between.
const ATTEMPTS: usize = 64;

/// The table of spliced flows. Shared by all threads and the XDP program; nothing here locks or allocates.
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
    /// It is there already, at this entry.
    #[error("the flow is in the table already")]
    Exists(u32),
}

/// What is known when the server has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// K − S: added to the server's sequence numbers.
    pub sequence_delta: u32,
    /// Added to the server's timestamps.
    pub timestamp_delta: u32,
    /// Left shift of the windows that the server sends; negative: right.
    pub window_shift: i8,
    /// See [`flow_flags`](synward_core::layout::flow_flags).
    pub flags: u8,
}

/// The buckets for a table of `capacity` flows; a power of two. With ten flows a bucket of fifteen on average, none is
/// refused; with twelve, one in some hundred thousand was.
pub(crate) fn buckets_for(capacity: u32) -> u32 {
    capacity.div_ceil(10).next_power_of_two()
}

/// The entries of a table of that many buckets.
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

    /// A table that no program sees, for at least `capacity` flows.
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

    /// Buckets of the table.
    pub fn buckets(&self) -> u32 {
        self.mask + 1
    }

    /// The entry of a flow.
    pub fn find(&self, key: &FlowKey) -> Option<u32> {
        self.search(key, self.place(key), None)
    }

    /// A snapshot of an entry. Each field is whole, but the XDP program may have changed one meanwhile and not yet
    /// another; `key` and `service` only change with the way's occupant. An index beyond the table reads as empty.
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

    /// Writes a flow into a free way of its bucket, or of its second one, and shows it to the XDP program.
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
            // Different for every entry, so that the two do not meet again.
            (0..attempt * (entry as usize % 61)).for_each(|_| std::hint::spin_loop());
        }
        Err(InsertError::Full)
    }

    /// Makes a closing entry the opening of a new connection on the same addresses and ports; `false` if it is not
    /// closing (any more): somebody else was first, or its traffic goes on.
    ///
    /// A segment of the old connection that the XDP program is translating at this moment may set the state once
    /// more; [`Self::still_opens`] mends that.
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

    /// Before the server is asked again: a state that the XDP program has set behind [`Self::reopen`] would keep the server's
    /// answers from the worker.
    pub fn still_opens(&self, entry: u32, key: &FlowKey, owner: u8) {
        if let Some(words) = self.words_of(entry, key) {
            let word = u32::from_ne_bytes([state::OPENING, 0, 0, owner]);
            words[STATE].store(word, Release);
        }
    }

    /// The server has answered: writes what that says, and then the state from which on the XDP program translates.
    pub fn establish(&self, entry: u32, found: &Established, now: FlowTime) {
        let Some(words) = self.words(entry) else {
            return;
        };
        words[9].store(found.sequence_delta, Relaxed);
        words[10].store(found.timestamp_delta, Relaxed);
        words[LAST_SEEN].store(now.to_word(), Relaxed);
        let [_, _, _, owner] = words[STATE].load(Relaxed).to_ne_bytes();
        let word = [
            state::ESTABLISHED,
            found.window_shift as u8,
            found.flags,
            owner,
        ];
        words[STATE].store(u32::from_ne_bytes(word), Release);
    }

    /// Takes an entry out of the table; `false` if it was not in it. The way is free again after a sweep in the next
    /// tick but one.
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

    /// Entries of each service.
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

    /// The words of an entry; none for an index beyond the table or of the count's place, which has no entry.
    pub(super) fn words(&self, entry: u32) -> Option<&[AtomicU32; WORDS]> {
        let (entries, _) = self.flows.as_chunks::<WORDS>();
        entries
            .get(entry as usize)
            .filter(|_| entry as usize % WORDS < WAYS)
    }

    /// The words of an entry that is this flow's.
    fn words_of(&self, entry: u32, key: &FlowKey) -> Option<&[AtomicU32; WORDS]> {
        self.words(entry)
            .filter(|words| self.tag(entry).load(Acquire) >= FIRST_TAG && key_of(words) == *key)
    }

    /// Looks where the XDP program does, and passes over the entry `except`.
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

    /// Claims a free way: in the own bucket unless that is crowded and the second one less so.
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
                // Between the look and the claim the way may have been filled and emptied by somebody else.
                let is_ours = self.tag(*entry).load(SeqCst) == FREE;
                if !is_ours {
                    let _ = words[STATE].compare_exchange(CLAIMED, 0, SeqCst, Relaxed);
                }
                is_ours
            })
    }

    /// Writes an entry that only we use, the state word last.
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

    /// Shows an entry. In the second bucket, the own bucket's count tells readers to look there, and it does so first.
    fn publish(&self, entry: u32, place: Place) {
        if entry / WORDS as u32 != place.bucket {
            self.bucket(place.bucket)[OVERFLOW].fetch_add(1, SeqCst);
        }
        self.tag(entry).store(place.tag, SeqCst);
        // What is searched from here on is searched after the store; see "two insert the same key".
        fence(SeqCst);
        // Last: a sweep that has found the bucket empty before takes the hint back before.
        self.hint_at(place.bucket);
    }

    /// Tells the XDP program that there is something in a bucket.
    pub(super) fn hint_at(&self, bucket: u32) {
        let (word, bit) = self.bits(bucket);
        word.fetch_or(bit, SeqCst);
    }

    /// Tells the XDP program that there is nothing in a bucket, if that is so.
    pub(super) fn take_hint_back(&self, bucket: u32) {
        let is_empty = || {
            let tags = self.bucket(bucket).iter();
            tags.map(|tag| tag.load(SeqCst)).all(|tag| tag == FREE)
        };
        let (word, bit) = self.bits(bucket);
        if word.load(Relaxed) & bit == 0 || !is_empty() {
            return;
        }
        word.fetch_and(!bit, SeqCst);
        fence(SeqCst);
        // What was published meanwhile may have been hinted at before; what is published from here on is hinted at later.
        if !is_empty() {
            word.fetch_or(bit, SeqCst);
        }
    }

    fn bits(&self, bucket: u32) -> (&AtomicU64, u64) {
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

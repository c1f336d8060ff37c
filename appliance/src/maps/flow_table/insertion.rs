//! Insertion: claims a free way, writes the entry, publishes it, and makes sure that it is its key's only one.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use synward_core::flow::{FIRST_TAG, FREE, FlowKey, OVERFLOW, Place, RETIRED, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::owner::{BUSY, NO_WORKER};
use synward_core::layout::{Flow, state};

use super::state_word::{CLAIMED, opening_word};
use super::{FlowTable, InsertError, LAST_SEEN, OpeningEntry, QUARANTINE, STATE, WORDS};
use crate::maps::atomics::fence;

/// From this many used ways on, new entries go to the second bucket if that has more room. A lower value spreads entries
/// better; a higher one saves the XDP program look-ups in the second bucket.
const CROWDED: usize = 12;

/// Maximum number of attempts of an insertion that collides with others.
const ATTEMPTS: usize = 64;

/// Searches during which an inserter waits for another one to withdraw. Each takes some tens of nanoseconds.
const PATIENCE: usize = 64;

impl FlowTable {
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
    pub(in crate::maps) fn claim_retired(&self, entry: u32, now: FlowTime) -> bool {
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
            let [state, _, marks, owner] = word.to_ne_bytes();
            let last_seen = FlowTime::from_word(words[LAST_SEEN].load(Relaxed));
            let is_closing = state == state::CLOSING
                && !Flow::is_unsure(marks)
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
    pub(super) fn write(&self, entry: u32, flow: &Flow) -> OpeningEntry {
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
}

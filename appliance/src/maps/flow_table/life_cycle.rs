//! What becomes of an entry: established, closing, opened again, removed.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use synward_core::flow::{FlowKey, OVERFLOW, RETIRED};
use synward_core::flow_state::Observed;
use synward_core::flow_time::FlowTime;
use synward_core::layout::owner::{self, BUSY, NO_WORKER};
use synward_core::layout::{Flow, state};

use super::state_word::{CLAIMED, busy, opening_word, with_owner};
use super::{Established, FlowTable, LAST_SEEN, OpeningEntry, STATE, WORDS, key_of};
use crate::maps::atomics::AtomicU32;
use crate::maps::clock::flow_now;

impl FlowTable {
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

    /// Removes an opening; `false` if the entry is not its own any more. The way is free after `QUARANTINE`.
    pub fn remove(&self, opening: &OpeningEntry) -> bool {
        let taken = self.take(opening).is_some();
        if taken {
            self.retire(opening.entry, flow_now());
        }
        taken
    }

    /// Removes the flow of an entry whose state word was `judged`, and which carried its last segment at `last_seen`. `false` if
    /// either has changed since: nothing is removed.
    pub(in crate::maps) fn remove_judged(
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
}

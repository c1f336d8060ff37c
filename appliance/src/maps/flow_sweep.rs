//! What the control thread does with the flow table: expire, free, and put in order what a killed process left.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use synward_core::flow::{FIRST_TAG, FREE, OVERFLOW, RETIRED, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::{MAX_SERVICES, state};

use super::clock::flow_now;
use super::flow_table::{CLAIMED, FlowTable, LAST_SEEN, STATE, WORDS, count, key_of};

/// Units of [`FlowTime`] after which no worker has an opening any more; one takes six seconds at most (`Splicer::overdue`). Whoever removes it
/// before would have its worker end, or establish, the flow that has its place by then.
const OPENING: u32 = 16;

/// When entries are too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The current time.
    pub now: FlowTime,
    /// Units of [`FlowTime`] without a segment after which an established flow goes.
    pub idle: u32,
    /// The same for one that is closing, and for an opening if that is longer than its worker may take.
    pub closing: u32,
}

/// What a sweep met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The bucket at which to go on; 0 after the last.
    pub next: u32,
    /// Entries that were too old and are gone.
    pub expired: u32,
    /// Entries that stay, by service.
    pub live: [u32; MAX_SERVICES as usize],
}

impl FlowTable {
    /// Expires what is too old and frees what was removed two units of [`FlowTime`] ago, in `count` buckets from bucket `from` on. The
    /// control thread's alone: two sweeps at once would count entries twice.
    pub fn sweep(&self, limits: Limits, from: u32, count: u32) -> Swept {
        let mut swept = Swept {
            next: 0,
            expired: 0,
            live: [0; MAX_SERVICES as usize],
        };
        let end = from.saturating_add(count).min(self.buckets());
        for bucket in from..end {
            for way in 0..WAYS as u32 {
                self.sweep_entry(entry_index(bucket, way), limits, &mut swept);
            }
            self.take_hint_back(bucket);
        }
        swept.next = if end < self.buckets() { end } else { 0 };
        swept
    }

    /// Puts a table in order whose process was killed, before anybody else uses it: openings, whose rest died with
    /// their worker, are removed, half-made claims are undone, and overflows are counted anew. Gives the number of
    /// flows that go on.
    pub(crate) fn recover(&self) -> u32 {
        let mut overflows = vec![0u32; self.buckets() as usize];
        let mut flows = 0;
        for bucket in 0..self.buckets() {
            for way in 0..WAYS as u32 {
                let entry = entry_index(bucket, way);
                let Some(words) = self.words(entry) else {
                    continue;
                };
                if self.tag(entry).load(Acquire) < FIRST_TAG {
                    if self.tag(entry).load(Relaxed) == FREE {
                        words[STATE].store(0, Release);
                    }
                    continue;
                }
                let home = self.place(&key_of(words)).bucket;
                let [state, ..] = words[STATE].load(Acquire).to_ne_bytes();
                if matches!(state, state::ESTABLISHED | state::CLOSING) {
                    flows += 1;
                    overflows[home as usize] += u32::from(home != bucket);
                } else {
                    words[LAST_SEEN].store(flow_now().to_word(), Relaxed);
                    words[STATE].store(0, Relaxed);
                    self.tag(entry).store(RETIRED, SeqCst);
                }
            }
        }
        for (bucket, overflow) in overflows.into_iter().enumerate() {
            self.bucket(bucket as u32)[OVERFLOW].store(overflow, SeqCst);
            self.hint_at(bucket as u32);
        }
        flows
    }

    fn sweep_entry(&self, entry: u32, limits: Limits, swept: &mut Swept) {
        let Some(words) = self.words(entry) else {
            return;
        };
        let tag = self.tag(entry).load(Acquire);
        if tag == FREE {
            return;
        }
        let last_seen = FlowTime::from_word(words[LAST_SEEN].load(Relaxed));
        let age = limits.now.elapsed_since(last_seen);
        if tag == RETIRED {
            if age >= 2 {
                self.free(entry, words);
            }
            return;
        }
        let [state, ..] = words[STATE].load(Relaxed).to_ne_bytes();
        let limit = match state {
            state::ESTABLISHED => limits.idle,
            state::CLOSING => limits.closing,
            _ => limits.closing.max(OPENING),
        };
        if age > limit && self.remove(entry) {
            swept.expired += 1;
        } else {
            count(
                &mut swept.live,
                u16::from_ne_bytes(first_half(words[15].load(Relaxed))),
            );
        }
    }

    /// Frees a retired way, unless an inserter has it in its hand just now and is about to notice that it is retired.
    fn free(&self, entry: u32, words: &[AtomicU32; WORDS]) {
        let left = words[STATE].load(SeqCst);
        if left == CLAIMED {
            return;
        }
        if left == 0
            || words[STATE]
                .compare_exchange(left, 0, SeqCst, Relaxed)
                .is_ok()
        {
            let _ = self
                .tag(entry)
                .compare_exchange(RETIRED, FREE, SeqCst, Relaxed);
        }
    }
}

fn first_half(word: u32) -> [u8; 2] {
    let [low, high, ..] = word.to_ne_bytes();
    [low, high]
}

//! Sweeps the flow table, in the control thread: expires flows, frees ways, and recovers the table of a killed process.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use synward_core::flow::{FIRST_TAG, FREE, OVERFLOW, RETIRED, WAYS, entry_index};
use synward_core::flow_time::FlowTime;
use synward_core::layout::owner::BUSY;
use synward_core::layout::{Flow, MAX_SERVICES, state};

use super::clock::flow_now;
use super::flow_table::{FlowTable, LAST_SEEN, STATE, count, key_of};

/// Units of [`FlowTime`] after which the worker of an opening has ended it; that takes at most 35 seconds (`engine/opening.rs`:
/// the wait, all tries, and the probes of `rtt = "true"`). A worker that was stopped for longer finds that the entry is not its
/// own any more.
const OPENING: u32 = 64;

/// The ages at which entries expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The current time.
    pub now: FlowTime,
    /// Units of [`FlowTime`] without a segment after which an established flow expires.
    pub idle: u32,
    /// The same for a closing flow that is not unsure ([`Flow::is_unsure`]), and for an opening if this is longer than its
    /// worker may take.
    pub closing: u32,
}

/// The result of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The bucket at which to continue; 0 after the last one.
    pub next: u32,
    /// Number of entries that expired.
    pub expired: u32,
    /// Number of entries that stay, by service.
    pub live: [u32; MAX_SERVICES as usize],
}

impl FlowTable {
    /// Expires old entries and frees ways that were removed at least two units of [`FlowTime`] ago, in `count` buckets from
    /// bucket `from` on. Only the control thread may call it: two concurrent sweeps would count entries twice.
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
            self.clear_if_empty(bucket);
        }
        swept.next = if end < self.buckets() { end } else { 0 };
        swept
    }

    /// Recovers the table of a killed process, before any other use: removes openings, because their state in the worker is
    /// lost, undoes unfinished claims, and recounts overflows. Returns the number of flows that continue.
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
                    // The process may have been killed while it was changing the entry.
                    words[STATE].fetch_and(u32::from_ne_bytes([0xff, 0xff, 0xff, !BUSY]), SeqCst);
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
            self.set_occupied(bucket as u32);
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
        if tag == RETIRED {
            // Through a claim, so that a way that was used and removed in between keeps its time.
            if self.claim_retired(entry, limits.now) {
                words[STATE].store(0, Release);
            }
            return;
        }
        let last_seen = FlowTime::from_word(words[LAST_SEEN].load(Relaxed));
        let age = limits.now.elapsed_since(last_seen);
        let word = words[STATE].load(Acquire);
        let [state, _, marks, owner] = word.to_ne_bytes();
        let limit = match state {
            state::ESTABLISHED => limits.idle,
            state::CLOSING if Flow::is_unsure(marks) => limits.idle,
            state::CLOSING => limits.closing,
            _ => limits.closing.max(OPENING),
        };
        let is_over = age > limit && owner & BUSY == 0;
        if is_over && self.remove_judged(entry, word, last_seen, limits.now) {
            swept.expired += 1;
        } else {
            count(
                &mut swept.live,
                u16::from_ne_bytes(first_half(words[15].load(Relaxed))),
            );
        }
    }
}

fn first_half(word: u32) -> [u8; 2] {
    let [low, high, ..] = word.to_ne_bytes();
    [low, high]
}

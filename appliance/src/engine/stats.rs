//! What is counted: one writer (the worker), read from outside at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::observe::{BOUNDS, Histogram};

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// How an opening, or a segment for one, ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Outcome {
            /// Every outcome.
            pub const ALL: &[Outcome] = &[$(Outcome::$variant,)+];

            /// The label in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Outcome::$variant => $name,)+
                }
            }

            /// What it says, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Outcome::$variant => concat!($($doc,)+),)+
                }
            }
        }
    };
}

outcomes! {
    /// The server answered, both sides are joined.
    Established = "established",
    /// The server refused with a RST.
    Refused = "refused",
    /// The server did not answer in time.
    TimedOut = "timed_out",
    /// The server does not do what was promised in its name.
    Mismatch = "mismatch",
    /// The client gave up first.
    Aborted = "aborted",
    /// The valid cookie of a connection that is open already.
    Duplicate = "duplicate",
    /// The segment with the cookie was damaged on its way.
    BadChecksum = "bad_checksum",
    /// No room for another opening.
    OpeningsFull = "openings_full",
    /// No room in the flow table.
    TableFull = "table_full",
    /// Data that could not be held; the client sends it again.
    HoldFull = "hold_full",
    /// The server still had an older connection on these ports, which was reset (RFC 9293 §3.10.7.3).
    StaleReset = "stale_reset",
    /// A message between workers found no room.
    MessageLost = "message_lost",
}

/// The counters of one service at one worker.
#[derive(Debug, Default)]
pub struct ServiceStats {
    /// SYN-ACKs sent over AF_XDP.
    pub answered: AtomicU64,
    /// Openings at the moment.
    pub openings: AtomicU64,
    /// Bytes of client data held for them at the moment.
    pub held_bytes: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// From the valid cookie to the joined flow, by bucket; the last one is open.
    latency: [AtomicU64; BOUNDS.len() + 1],
    /// Their sum, ns.
    latency_sum: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    // One writer: a load and a store, no locked instruction.
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl ServiceStats {
    /// Counts a SYN-ACK.
    pub fn answer(&self) {
        add(&self.answered, 1);
    }

    /// Counts an outcome.
    pub fn count(&self, outcome: Outcome) {
        add(&self.outcomes[outcome as usize], 1);
    }

    /// Counts an established flow and the time that it took, ns.
    pub fn established(&self, nanoseconds: u64) {
        self.count(Outcome::Established);
        let took = Duration::from_nanos(nanoseconds);
        add(&self.latency[Histogram::bucket(took)], 1);
        add(&self.latency_sum, nanoseconds);
    }

    /// Notes how many openings there are.
    pub fn opened(&self, more: bool) {
        add(&self.openings, if more { 1 } else { u64::MAX });
    }

    /// Notes that an opening's held data went from `before` to `after` bytes.
    pub fn held(&self, before: u32, after: u32) {
        add(
            &self.held_bytes,
            u64::from(after).wrapping_sub(before.into()),
        );
    }

    /// How often an outcome was counted.
    pub fn count_of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// How long openings took.
    pub fn latency(&self) -> Histogram {
        let counts: [u64; BOUNDS.len() + 1] =
            std::array::from_fn(|i| self.latency[i].load(Relaxed));
        Histogram {
            buckets: std::array::from_fn(|i| counts[i]),
            count: counts.iter().sum(),
            sum_seconds: self.latency_sum.load(Relaxed) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_that_holds_them() {
        let stats = ServiceStats::default();
        for nanoseconds in [1_000, 100_000, 100_001, 60_000_000_000] {
            stats.established(nanoseconds);
        }
        let histogram = stats.latency();
        assert_eq!(
            (histogram.buckets[0], histogram.buckets[1], histogram.count),
            (2, 1, 4)
        );
        assert_eq!(stats.count_of(Outcome::Established), 4);
    }
}

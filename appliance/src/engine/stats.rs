//! Counters with a single writer (the worker), readable from other threads at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::{BOUNDS, Histogram};

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The result of an opening, or of a segment for one.
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

            /// Its meaning, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Outcome::$variant => concat!($($doc,)+),)+
                }
            }
        }
    };
}

outcomes! {
    /// The server answered and the flow is established.
    Established = "established",
    /// The server refused with a RST.
    Refused = "refused",
    /// The server did not answer in time.
    TimedOut = "timed_out",
    /// The server declined an option that was offered in its name.
    Mismatch = "mismatch",
    /// The client gave up first.
    Aborted = "aborted",
    /// A valid cookie of a connection that is already open.
    Duplicate = "duplicate",
    /// The segment with the cookie had a wrong TCP checksum.
    BadChecksum = "bad_checksum",
    /// No room for another opening, and its own server and client prefix have the most.
    OpeningsFull = "openings_full",
    /// No room in the flow table.
    TableFull = "table_full",
    /// Client data that could not be buffered; the client retransmits it.
    HoldFull = "hold_full",
    /// The server had a stale connection on these ports, which was reset (RFC 9293 §3.10.7.3).
    StaleReset = "stale_reset",
    /// A message between workers did not fit into the mailbox.
    MessageLost = "message_lost",
    /// The client's prefix has `openings_per_source` openings at this server.
    SourceLimit = "source_limit",
    /// The server has `openings_per_server` openings, or an eighth of that while it is silent.
    ServerLimit = "server_limit",
    /// An opening ended to make room for one of a server or client prefix with fewer.
    Displaced = "displaced",
    /// Buffered client data that was dropped to make room for that of others; the client retransmits it.
    HoldDisplaced = "hold_displaced",
    /// The segment had a TCP checksum that its sender left to the hardware: `ethtool -K IF tx off` on the sender.
    UnfinishedChecksum = "unfinished_checksum",
    /// ICMP errors said that the server cannot be reached.
    Unreachable = "unreachable",
    /// The server has an old connection on these ports, which a cookie without timestamps does not reset.
    StaleKept = "stale_kept",
}

/// The counters of one service at one worker.
#[derive(Debug, Default)]
pub struct ServiceStats {
    /// SYN-ACKs sent over AF_XDP.
    pub answered: AtomicU64,
    /// Current number of openings.
    pub openings: AtomicU64,
    /// Current number of bytes of client data buffered for them.
    pub held_bytes: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Durations from the valid cookie to the established flow, by bucket. The last bucket has no upper bound.
    latency: [AtomicU64; BOUNDS.len() + 1],
    /// Sum of the durations, ns.
    latency_sum: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    // There is one writer: a load and a store suffice, without a locked instruction.
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

    /// Counts an established flow and the duration of its opening in nanoseconds.
    pub fn established(&self, nanoseconds: u64) {
        self.count(Outcome::Established);
        let took = Duration::from_nanos(nanoseconds);
        add(&self.latency[Histogram::bucket(took)], 1);
        add(&self.latency_sum, nanoseconds);
    }

    /// Adds an opening to the current number, or removes one.
    pub fn opened(&self, more: bool) {
        add(&self.openings, if more { 1 } else { u64::MAX });
    }

    /// Records that the buffered data of an opening went from `before` to `after` bytes.
    pub fn held(&self, before: u32, after: u32) {
        add(
            &self.held_bytes,
            u64::from(after).wrapping_sub(before.into()),
        );
    }

    /// Forgets the openings of now, which have ended all at once.
    pub fn forget_openings(&self) {
        self.openings.store(0, Relaxed);
        self.held_bytes.store(0, Relaxed);
    }

    /// Forgets everything, for a new service in the place of one that is gone and has no openings.
    pub fn clear(&self) {
        let of_service = [
            &self.answered,
            &self.openings,
            &self.held_bytes,
            &self.latency_sum,
        ];
        let counters = of_service.into_iter().chain(&self.outcomes);
        counters
            .chain(&self.latency)
            .for_each(|counter| counter.store(0, Relaxed));
    }

    /// The count of an outcome.
    pub fn count_of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// The durations of openings.
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
    fn a_latency_counts_in_its_bucket() {
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

//! Heartbeats, by which the XDP program knows whether a worker is alive.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use synward_core::layout::{ABSENT_AFTER, HEARTBEAT_TIMEOUT, MAX_QUEUES};

use super::clock::coarse_now;
use super::mapped_memory::Memory;

/// The time of the last heartbeat of the worker of each queue. A worker beats well within
/// [`HEARTBEAT_TIMEOUT`](synward_core::layout::HEARTBEAT_TIMEOUT). A beat costs one load and one store.
#[derive(Debug)]
pub struct Heartbeats(Memory<AtomicU64>);

impl Heartbeats {
    pub(crate) fn new(memory: Memory<AtomicU64>) -> Self {
        assert!(
            memory.len() >= MAX_QUEUES as usize,
            "the map is smaller than its layout"
        );
        Self(memory)
    }

    /// Records that the worker of `queue` is alive at `now` (see [`coarse_now`](super::clock::coarse_now)). Does nothing for
    /// queues from [`MAX_QUEUES`] on, which have no worker. Returns whether the XDP program has taken the worker for absent until
    /// now ([`ABSENT_AFTER`]).
    pub fn beat(&self, queue: u32, now: u64) -> bool {
        let Some(beat) = self.0.get(queue as usize) else {
            return false;
        };
        // Nobody else beats for a worker that runs.
        let before = beat.load(Ordering::Relaxed);
        beat.store(now, Ordering::Relaxed);
        now.saturating_sub(before) >= ABSENT_AFTER
    }

    /// The time of the last heartbeat of the worker of `queue`; 0: never.
    pub fn last(&self, queue: u32) -> u64 {
        self.0
            .get(queue as usize)
            .map_or(0, |beat| beat.load(Ordering::Relaxed))
    }

    /// Whether the last heartbeat of the worker of `queue` is recent at `now` (see [`coarse_now`](super::clock::coarse_now)).
    pub fn is_alive(&self, queue: u32, now: u64) -> bool {
        now.saturating_sub(self.last(queue)) < HEARTBEAT_TIMEOUT
    }

    /// Records that the worker of `queue` has stopped, or is still to come. The XDP program answers all SYNs there, until the
    /// worker has been absent for [`ABSENT_AFTER`].
    pub fn stop(&self, queue: u32) {
        self.beat(queue, coarse_now().saturating_sub(HEARTBEAT_TIMEOUT));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_tells_whether_the_worker_was_absent() {
        let beats = Heartbeats::new(Memory::anonymous(MAX_QUEUES as usize).unwrap());
        let began = 100 * ABSENT_AFTER;
        beats.beat(1, began);
        for (later, was_absent) in [
            (1, false),
            (ABSENT_AFTER, false),
            (2 * ABSENT_AFTER, true),
            (2 * ABSENT_AFTER, false),
            // Clocks of two CPUs.
            (2 * ABSENT_AFTER - 1, false),
            (9 * ABSENT_AFTER, true),
        ] {
            assert_eq!(beats.beat(1, began + later), was_absent, "{later}");
        }
        assert!(!beats.beat(MAX_QUEUES, began), "it has no worker");
    }

    /// The XDP program lets clients pass from three seconds after the start on.
    #[test]
    fn a_worker_that_comes_late_was_absent() {
        let beats = Heartbeats::new(Memory::anonymous(MAX_QUEUES as usize).unwrap());
        beats.stop(0);
        let stopped = beats.last(0);
        assert!(!beats.beat(0, stopped + ABSENT_AFTER - 1));
        beats.stop(0);
        let stopped = beats.last(0);
        assert!(beats.beat(0, stopped + ABSENT_AFTER));
    }
}

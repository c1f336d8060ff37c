//! Heartbeats, by which the XDP program knows whether a worker is alive.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use synward_core::layout::{HEARTBEAT_TIMEOUT, MAX_QUEUES};

use super::clock::coarse_now;
use super::mapped_memory::Memory;

/// The time of the last heartbeat of the worker of each queue. A worker beats well within
/// [`HEARTBEAT_TIMEOUT`](synward_core::layout::HEARTBEAT_TIMEOUT). A beat costs one store.
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
    /// queues from [`MAX_QUEUES`] on, which have no worker.
    pub fn beat(&self, queue: u32, now: u64) {
        if let Some(beat) = self.0.get(queue as usize) {
            beat.store(now, Ordering::Relaxed);
        }
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
    /// worker has been absent for [`ABSENT_AFTER`](synward_core::layout::ABSENT_AFTER).
    pub fn stop(&self, queue: u32) {
        self.beat(queue, coarse_now().saturating_sub(HEARTBEAT_TIMEOUT));
    }
}

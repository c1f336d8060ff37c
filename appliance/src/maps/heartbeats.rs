//! How the XDP program knows that a worker lives.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use synward_core::layout::MAX_QUEUES;

use super::mapped_memory::Memory;

/// When the worker of each queue was last seen alive. A worker beats well within
/// [`HEARTBEAT_TIMEOUT`](synward_core::layout::HEARTBEAT_TIMEOUT); a beat costs one store.
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

    /// The worker of `queue` lives at `now` (see [`coarse_now`](super::clock::coarse_now)). Queues from
    /// [`MAX_QUEUES`] on have no worker, and nothing happens.
    pub fn beat(&self, queue: u32, now: u64) {
        if let Some(beat) = self.0.get(queue as usize) {
            beat.store(now, Ordering::Relaxed);
        }
    }

    /// When the worker of `queue` was last seen alive; 0: never.
    pub fn last(&self, queue: u32) -> u64 {
        self.0
            .get(queue as usize)
            .map_or(0, |beat| beat.load(Ordering::Relaxed))
    }

    /// The worker of `queue` has stopped: from now on the XDP program answers alone there.
    pub fn stop(&self, queue: u32) {
        self.beat(queue, 0);
    }
}

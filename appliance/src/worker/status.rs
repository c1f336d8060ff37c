//! A worker's status for other threads: single-writer counters and the latest status of its sockets.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;

use super::ports::Ports;
use crate::afxdp::{FrameAccount, KernelStatistics, PortCounters};

/// A snapshot of one socket.
#[derive(Clone, Copy, Debug)]
pub struct PortStatus {
    /// Index of the interface.
    pub interface: u32,
    /// The queue.
    pub queue: u32,
    /// Whether it is in zero-copy mode.
    pub zero_copy: bool,
    /// The kernel's counters.
    pub kernel: KernelStatistics,
    /// Our counters.
    pub counters: PortCounters,
    /// The number of frames in each state.
    pub frames: FrameAccount,
    /// When the worker looked.
    pub at: Instant,
}

/// The published status of a worker.
#[derive(Debug)]
pub struct WorkerStatus {
    /// Whether it is pinned to its core.
    pub pinned: AtomicBool,
    loops: AtomicU64,
    sleeps: AtomicU64,
    unreadable: AtomicU64,
    unsent: AtomicU64,
    returns: AtomicU64,
    /// Busy share of the last interval, in millionths.
    busy: AtomicU64,
    slept: AtomicU64,
    latest: ArrayQueue<Vec<PortStatus>>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            pinned: AtomicBool::new(false),
            loops: AtomicU64::new(0),
            sleeps: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            returns: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            slept: AtomicU64::new(0),
            latest: ArrayQueue::new(1),
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl WorkerStatus {
    /// Counts a round of the worker loop.
    pub fn round(&self, slept: bool) {
        add(&self.loops, 1);
        add(&self.sleeps, u64::from(slept));
    }

    /// Counts a frame without a valid request, or too long for one.
    pub fn unreadable(&self) {
        add(&self.unreadable, 1);
    }

    /// Counts that the worker beats again after an absence, or for the first time too long after the start
    /// ([`Heartbeats::beat`](crate::maps::Heartbeats::beat)).
    pub fn has_returned(&self) {
        add(&self.returns, 1);
    }

    /// Publishes the status of the sockets. Runs a few times a second, so that its allocation does not matter.
    pub fn publish(&self, ports: &mut Ports, slept: Duration, clock: &mut Instant) {
        let passed = clock.elapsed().as_nanos().max(1) as u64;
        let at = Instant::now();
        *clock = at;
        let slept = slept.as_nanos() as u64;
        let asleep = slept
            .saturating_sub(self.slept.swap(slept, Relaxed))
            .min(passed);
        self.busy
            .store((passed - asleep) * 1_000_000 / passed, Relaxed);
        self.unsent.store(ports.unsent(), Relaxed);
        let status = ports.each().map(|(interface, port)| {
            Some(PortStatus {
                interface,
                queue: port.queue(),
                zero_copy: port.zero_copy(),
                kernel: port.statistics()?,
                counters: port.counters(),
                frames: port.accounting(),
                at,
            })
        });
        // If the kernel's counters cannot be read, the previous status stays: zeros would look like a reset.
        if let Some(status) = status.collect() {
            self.latest.force_push(status);
        }
    }

    /// The latest status of the sockets, if there is a new one.
    pub fn take_latest(&self) -> Option<Vec<PortStatus>> {
        self.latest.pop()
    }

    /// Number of rounds and sleeps, and the busy share of the last interval, 0 to 1.
    pub fn rounds(&self) -> (u64, u64, f64) {
        let busy = self.busy.load(Relaxed) as f64 / 1e6;
        (self.loops.load(Relaxed), self.sleeps.load(Relaxed), busy)
    }

    /// Number of absences that have ended.
    pub fn returns(&self) -> u64 {
        self.returns.load(Relaxed)
    }

    /// Number of frames without a valid request, and of packets that could not be sent.
    pub fn trouble(&self) -> (u64, u64) {
        (self.unreadable.load(Relaxed), self.unsent.load(Relaxed))
    }
}

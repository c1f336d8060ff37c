//! The frames that are given to the kernel for reception.
#![allow(unsafe_code)] // gives frames to the kernel

use std::time::Instant;

use super::{
    fill_ring::FillRing,
    ledger::{Holder, Ledger},
    umem::Memory,
    wakeup::{Entries, Wakeup},
};

/// The receive side of a UMEM.
#[derive(Debug)]
pub(super) struct Reception {
    ring: FillRing,
    /// Frames given to the kernel, and their maximum number: the other frames are for transmission.
    given: u32,
    limit: u32,
    wakeup: Wakeup,
}

impl Reception {
    /// Gives no frame yet.
    pub(super) fn new(ring: FillRing, limit: u32) -> Self {
        Reception {
            ring,
            given: 0,
            limit,
            wakeup: Wakeup::default(),
        }
    }

    /// Free frames → fill ring, as many as limit and ring allow.
    #[inline]
    pub(super) fn refill(&mut self, memory: &mut Memory, ledger: &mut Ledger) {
        let wanted = (self.limit - self.given).min(memory.free() as u32);
        if wanted == 0 {
            return;
        }
        let count = wanted.min(self.ring.room());
        for _ in 0..count {
            let Some(desc) = memory.take() else {
                unreachable!("fewer free frames than counted")
            };
            let moved = ledger.pass(memory.chunk(&desc), Holder::Free, Holder::Receiver);
            debug_assert!(moved, "the free list and the ledger disagree");
            // SAFETY: at most `room` addresses are written. The frame is of this UMEM, was just taken from the free list,
            // and belongs to the receiver by the ledger, which returns it only when the RX ring does.
            unsafe { self.ring.write(desc.addr() as u64) };
        }
        self.ring.publish();
        self.given += count;
    }

    /// Counts frames that the RX ring returned.
    #[inline]
    pub(super) fn received(&mut self, count: u32) {
        self.given -= count;
    }

    /// Number of frames given to the kernel.
    #[inline]
    pub(super) fn given(&self) -> u32 {
        self.given
    }

    /// Whether to wake the driver, so that it takes frames from the fill ring.
    #[inline]
    pub(super) fn wakeup_due(&mut self) -> bool {
        self.ring.needs_wakeup() && {
            let waiting = self.ring.waiting();
            let entries = Entries {
                submitted: self.ring.written(),
                waiting,
                unfinished: waiting,
            };
            self.wakeup.due(entries, Instant::now)
        }
    }
}

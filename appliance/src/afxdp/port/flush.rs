//! Moves descriptors between the rings, the backlog and the free list, and wakes the kernel.
#![allow(unsafe_code)] // the calls of the rings

use std::time::Instant;

use super::Port;
use crate::afxdp::{ledger::Holder, port_options::BATCH, socket_options, wakeup::Entries};

impl Port {
    /// Serves all rings; call it once per loop. Recycles sent frames, submits queued ones, gives the kernel free
    /// frames for reception, and wakes the kernel where needed.
    #[inline]
    pub fn flush(&mut self) {
        self.recycle();
        self.submit();
        self.reception.refill(&mut self.memory, &mut self.ledger);
        self.wake();
    }

    /// Whether frames still wait for the kernel to process the TX ring: flush again soon.
    #[inline]
    pub fn unsent(&mut self) -> bool {
        !self.backlog.is_empty() || self.in_tx_ring() > 0
    }

    /// Whether the port needs another flush soon: frames are unsent, or a driver in zero-copy mode has not completed all.
    /// Some drivers complete frames only when they are woken.
    #[inline]
    pub fn unfinished(&mut self) -> bool {
        self.unsent() || (self.zero_copy && self.sent > 0)
    }

    /// Completion ring → free frames.
    fn recycle(&mut self) {
        while self.sent > 0 {
            // SAFETY: the completion ring of this socket reports descriptors of this UMEM only.
            let count = unsafe { self.completion.consume(&mut self.scratch) };
            for desc in &self.scratch[..count] {
                let chunk = self.memory.chunk(desc);
                if self.ledger.pass(chunk, Holder::Transmitter, Holder::Free) {
                    self.memory.put_back(chunk);
                    self.sent -= 1;
                    self.counters.transmitted += 1;
                } else {
                    self.counters.refused += 1;
                }
            }
            if count < BATCH {
                break;
            }
        }
    }

    /// Backlog → TX ring.
    pub(super) fn submit(&mut self) {
        let wanted = self.backlog.len();
        if wanted == 0 {
            return;
        }
        let count = wanted.min(self.tx.nb_free(wanted as u32) as usize);
        // SAFETY: every descriptor in the backlog is of this UMEM and belongs to the transmitter by the
        // ledger: no token for it exists any more, and it leaves the backlog two lines below, so it
        // is submitted once.
        let submitted = unsafe { self.tx.produce(&self.backlog[..count]) };
        debug_assert_eq!(submitted, count, "the ring had room for all");
        self.backlog.drain(..submitted);
        self.sent += submitted as u32;
        self.submitted = self.submitted.wrapping_add(submitted as u32);
    }

    /// Wakes the kernel, with as few system calls as possible.
    fn wake(&mut self) {
        if self.busy_poll || self.reception.wakeup_due() {
            self.count_wakeup(socket_options::wake_receiver(self.fd()));
        }
        if self.sent == 0 || !self.tx.needs_wakeup() {
            return;
        }
        if self.zero_copy {
            return self.wake_driver();
        }
        // In copy mode the call itself sends, up to 32 frames per call on kernels before 6.18: repeat it
        // while it makes progress.
        let mut before = self.in_tx_ring();
        while before > 0 {
            self.count_wakeup(socket_options::wake_transmitter(self.fd()));
            let after = self.in_tx_ring();
            if after >= before {
                break;
            }
            before = after;
        }
    }

    /// Wakes a driver in zero-copy mode, if it has to.
    fn wake_driver(&mut self) {
        let entries = Entries {
            submitted: self.submitted,
            waiting: self.in_tx_ring(),
            unfinished: self.sent,
        };
        if self.transmit_wakeup.due(entries, Instant::now) {
            self.count_wakeup(socket_options::wake_transmitter(self.fd()));
        }
    }

    /// Number of frames in the TX ring that the kernel has not taken yet.
    #[inline]
    fn in_tx_ring(&mut self) -> u32 {
        self.ring - self.tx.nb_free_exact()
    }

    fn count_wakeup(&mut self, outcome: Result<(), i32>) {
        self.counters.wakeups += 1;
        self.counters.failed_wakeups += u64::from(outcome.is_err());
    }
}

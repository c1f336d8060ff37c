//! The socket and its frames.
#![allow(unsafe_code)] // the calls of the rings

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU32, Ordering},
};

use arrayvec::ArrayVec;
use xsk_rs::{CompQueue, FrameDesc, RxQueue, TxQueue};

use super::{
    frame_token::{Frame, PortId},
    ledger::{FrameAccount, Holder, Ledger},
    port_counters::{KernelStatistics, PortCounters},
    port_options::BATCH,
    reception::Reception,
    umem::Memory,
    wakeup::Wakeup,
};

mod flush;

/// Length of the shortest frame that can be sent: an Ethernet header. The kernel rejects an empty descriptor
/// (`tx_invalid_descs`), and whether it ever returns that frame depends on version and mode.
const SHORTEST: usize = 14;

/// One AF_XDP socket on (interface, queue) with its own UMEM.
///
/// A port belongs to one worker. Once open, it may move to the worker's thread: it owns its socket, rings
/// and mapping, which any thread may use, and all ring access requires `&mut`, so two threads never access
/// a ring at once. (`Send` is derived, not declared; xsk-rs gives the same reason for its parts.)
///
/// Dropping the port closes the socket, which empties its XSKMAP slot and frees the queue some
/// milliseconds later.
#[derive(Debug)]
pub struct Port {
    id: PortId,
    queue: u32,
    zero_copy: bool,
    busy_poll: bool,
    transmits: bool,
    /// Descriptors in each ring.
    ring: u32,
    rx: RxQueue,
    tx: TxQueue,
    completion: CompQueue,
    memory: Memory,
    ledger: Ledger,
    reception: Reception,
    /// Frames for which a token exists.
    held: u32,
    /// Frames handed to [`transmit`](Self::transmit) and not yet in the TX ring, oldest first; at
    /// most `ring`.
    backlog: Vec<FrameDesc>,
    /// Frames in the TX ring, the driver, or the completion ring.
    sent: u32,
    /// Frames ever put into the TX ring, modulo 2³².
    submitted: u32,
    transmit_wakeup: Wakeup,
    scratch: [FrameDesc; BATCH],
    counters: PortCounters,
}

/// What [`Port::open`] creates a port from.
pub(super) struct Parts {
    pub(super) queue: u32,
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) completion: CompQueue,
    pub(super) memory: Memory,
    pub(super) ledger: Ledger,
    pub(super) reception: Reception,
    pub(super) zero_copy: bool,
    pub(super) busy_poll: bool,
    pub(super) transmits: bool,
    pub(super) ring: u32,
}

impl Port {
    pub(super) fn assemble(parts: Parts) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Port {
            id: PortId(NEXT.fetch_add(1, Ordering::Relaxed)),
            queue: parts.queue,
            zero_copy: parts.zero_copy,
            busy_poll: parts.busy_poll,
            transmits: parts.transmits,
            ring: parts.ring,
            rx: parts.rx,
            tx: parts.tx,
            completion: parts.completion,
            memory: parts.memory,
            ledger: parts.ledger,
            reception: parts.reception,
            held: 0,
            backlog: Vec::with_capacity(parts.ring as usize),
            sent: 0,
            submitted: 0,
            transmit_wakeup: Wakeup::default(),
            scratch: [FrameDesc::default(); BATCH],
            counters: PortCounters::default(),
        }
    }

    /// The identity of this port, which its frames carry.
    pub fn id(&self) -> PortId {
        self.id
    }

    /// The queue that it is bound to.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The socket, for an XSKMAP slot and for poll(2).
    pub fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Whether the NIC reads and writes the UMEM directly.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Whether it may send ([`PortOptions::transmits`](super::PortOptions::transmits)).
    pub fn transmits(&self) -> bool {
        self.transmits
    }

    /// Whether [`flush`](Self::flush) drives the NIC's NAPI.
    pub fn busy_poll(&self) -> bool {
        self.busy_poll
    }

    /// Appends received packets to `into`, oldest first, as many as it has room for. Returns their number.
    #[inline]
    pub fn receive(&mut self, into: &mut ArrayVec<Frame, BATCH>) -> usize {
        let room = into.remaining_capacity();
        // SAFETY: the RX ring of this socket reports descriptors of this UMEM only.
        let count = unsafe { self.rx.consume(&mut self.scratch[..room]) };
        let before = into.len();
        for desc in &self.scratch[..count] {
            if self
                .ledger
                .pass(self.memory.chunk(desc), Holder::Receiver, Holder::Engine)
            {
                into.push(Frame {
                    desc: *desc,
                    length: desc.lengths().data() as u16,
                    port: self.id,
                });
            } else {
                self.counters.refused += 1;
            }
        }
        let received = into.len() - before;
        self.reception.received(received as u32);
        self.held += received as u32;
        self.counters.received += received as u64;
        received
    }

    /// The packet: [`Frame::len`] bytes from the Ethernet header on.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.assert_own(frame);
        // SAFETY: the frame is of this UMEM. A token exists only while neither the kernel nor the
        // free list has the chunk, and there is one token a chunk (the ledger); it is borrowed
        // shared, so nobody writes through it.
        unsafe { self.memory.bytes(&frame.desc, frame.len()) }
    }

    /// The packet and all room after it, to the end of its chunk, so that a packet can grow in place. Call
    /// [`Frame::set_len`] afterwards. The room beyond the length contains bytes of earlier packets.
    ///
    /// Borrows the port shared, so that several frames can be accessed at once.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn bytes_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.assert_own(frame);
        // SAFETY: as in `bytes`, and the one token is borrowed exclusively. Chunks do not overlap,
        // so slices of other frames do not matter.
        unsafe { self.memory.room_mut(&frame.desc) }
    }

    /// The `N` bytes in front of the packet, where the kernel copies what the XDP program stored
    /// with `bpf_xdp_adjust_meta` (net/xdp/xsk.c `__xsk_rcv`; zero-copy drivers leave it there).
    ///
    /// The kernel does not report whether or how much the program stored. The bytes are valid only if the
    /// program stores at least `N` bytes before every redirect to this socket; otherwise they are those of
    /// an earlier packet. Returns `None` if there are fewer bytes in front of the packet, which cannot happen
    /// for up to 256 unless the program moved the start of the packet forward.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn metadata<'a, const N: usize>(&'a self, frame: &'a Frame) -> Option<&'a [u8; N]> {
        self.assert_own(frame);
        // SAFETY: as in `bytes`.
        unsafe { self.memory.in_front(&frame.desc) }
    }

    /// Allocates a frame of length 0 for a new packet. Returns `None` if every frame is in use (the next
    /// [`flush`](Self::flush) may free some), or if the port does not send.
    #[inline]
    pub fn allocate(&mut self) -> Option<Frame> {
        if !self.transmits {
            return None;
        }
        let desc = self.memory.take()?;
        let moved = self
            .ledger
            .pass(self.memory.chunk(&desc), Holder::Free, Holder::Engine);
        debug_assert!(moved, "the free list and the ledger disagree");
        self.held += 1;
        Some(Frame {
            desc,
            length: 0,
            port: self.id,
        })
    }

    /// Queues a packet for the next [`flush`](Self::flush). If TX ring and backlog are full, or the length is
    /// invalid, the packet is dropped and counted; the frame is never lost.
    ///
    /// # Panics
    /// If the frame belongs to another port. That is a bug, and the wrong bytes would be sent.
    #[inline]
    pub fn transmit(&mut self, frame: Frame) {
        self.assert_own(&frame);
        let length = frame.len();
        if length < SHORTEST || length > self.memory.room(&frame.desc) {
            self.counters.dropped_length += 1;
            return self.release(frame);
        }
        if self.backlog.len() == self.ring as usize {
            self.submit();
            if self.backlog.len() == self.ring as usize {
                self.counters.dropped_full += 1;
                return self.release(frame);
            }
        }
        let mut desc = frame.desc;
        // SAFETY: the frame is of this UMEM and was passed by value, so we own its chunk
        // exclusively.
        unsafe { self.memory.seal(&mut desc, length) };
        let moved = self.ledger.pass(
            self.memory.chunk(&desc),
            Holder::Engine,
            Holder::Transmitter,
        );
        debug_assert!(
            moved,
            "a token existed for a frame that the engine did not hold"
        );
        self.held -= 1;
        self.backlog.push(desc);
    }

    /// Returns a frame unused.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        self.assert_own(&frame);
        let chunk = self.memory.chunk(&frame.desc);
        let moved = self.ledger.pass(chunk, Holder::Engine, Holder::Free);
        debug_assert!(
            moved,
            "a token existed for a frame that the engine did not hold"
        );
        self.held -= 1;
        self.memory.put_back(chunk);
    }

    /// Number of frames per owner, from the port's own counts. The total always equals the number of frames in
    /// the UMEM; otherwise a frame was lost or used twice.
    #[inline]
    pub fn accounting(&self) -> FrameAccount {
        FrameAccount {
            free: self.memory.free() as u32,
            fill: self.reception.given(),
            held: self.held,
            transmit: self.backlog.len() as u32 + self.sent,
        }
    }

    /// The same from the ledger, frame by frame; both must agree. Takes some microseconds.
    pub fn audit(&self) -> FrameAccount {
        self.ledger.account()
    }

    /// The kernel's counters; `None` if they cannot be read. Reading succeeds for an open AF_XDP socket on every kernel
    /// since 5.9.
    pub fn statistics(&self) -> Option<KernelStatistics> {
        let statistics = self.rx.fd().xdp_statistics();
        statistics.map(KernelStatistics::from).ok()
    }

    /// Our own counters.
    pub fn counters(&self) -> PortCounters {
        self.counters
    }

    #[inline]
    fn assert_own(&self, frame: &Frame) {
        assert!(
            frame.port == self.id,
            "the frame belongs to another port's UMEM"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_and_its_frames_may_move_to_another_thread() {
        fn movable<T: Send>() {}
        movable::<Port>();
        movable::<Frame>();
    }
}

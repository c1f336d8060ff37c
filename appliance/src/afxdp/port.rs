//! The socket with its four rings.
#![allow(unsafe_code)] // the calls of the rings

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicU32, Ordering},
};

use arrayvec::ArrayVec;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

use super::{
    frame_token::{Frame, PortId},
    ledger::{FrameAccount, Holder, Ledger},
    port_counters::{KernelStatistics, PortCounters},
    socket_options,
    umem::Memory,
};

/// Frames moved by one ring call; also the most that [`Port::receive`] gives at once.
pub const BATCH: usize = 64;

/// Shortest frame that is sent: an Ethernet header. To the kernel an empty descriptor is an invalid
/// one (`tx_invalid_descs`), and whether its frame ever comes back depends on version and mode.
const SHORTEST: usize = 14;

/// One AF_XDP socket on (interface, queue) with its own UMEM.
///
/// A port belongs to one worker. It may be moved to the worker's thread once it is open: it owns
/// its socket, rings and mapping, none of which care for the thread that uses them, and all ring
/// access needs `&mut`, so two threads never touch a ring at once. (`Send` is derived, not
/// declared; xsk-rs argues the same for its parts.)
///
/// Dropping the port closes the socket, which empties its XSKMAP slot and frees the queue some
/// milliseconds later.
#[derive(Debug)]
pub struct Port {
    id: PortId,
    zero_copy: bool,
    busy_poll: bool,
    /// Descriptors in each ring.
    ring: u32,
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    memory: Memory,
    ledger: Ledger,
    /// Frames that the kernel may still receive into, and the most that we let it have: the rest is
    /// for transmission.
    filled: u32,
    fill_limit: u32,
    /// Frames out as tokens.
    held: u32,
    /// Frames handed to [`transmit`](Self::transmit) and not yet in the TX ring, oldest first; at
    /// most `ring`.
    backlog: Vec<FrameDesc>,
    /// Frames in the TX ring, the driver, or the completion ring.
    sent: u32,
    scratch: [FrameDesc; BATCH],
    counters: PortCounters,
}

/// What [`Port::open`] has made by the time that the port can be put together.
pub(super) struct Parts {
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
    pub(super) memory: Memory,
    pub(super) zero_copy: bool,
    pub(super) busy_poll: bool,
    pub(super) ring: u32,
    pub(super) frames: u32,
}

impl Port {
    /// Puts the parts together and fills the fill ring, so that the port receives from its first
    /// moment.
    pub(super) fn assemble(parts: Parts) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut port = Port {
            id: PortId(NEXT.fetch_add(1, Ordering::Relaxed)),
            zero_copy: parts.zero_copy,
            busy_poll: parts.busy_poll,
            ring: parts.ring,
            rx: parts.rx,
            tx: parts.tx,
            fill: parts.fill,
            completion: parts.completion,
            memory: parts.memory,
            ledger: Ledger::new(parts.frames),
            filled: 0,
            fill_limit: parts.frames / 2,
            held: 0,
            backlog: Vec::with_capacity(parts.ring as usize),
            sent: 0,
            scratch: [FrameDesc::default(); BATCH],
            counters: PortCounters::default(),
        };
        port.flush();
        port
    }

    /// This port's identity, which its frames carry.
    pub fn id(&self) -> PortId {
        self.id
    }

    /// The socket, for an XSKMAP slot and for poll(2).
    pub fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Whether the NIC reads and writes the UMEM itself.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Whether [`flush`](Self::flush) drives the NIC's NAPI.
    pub fn busy_poll(&self) -> bool {
        self.busy_poll
    }

    /// Appends the packets that have come, as many as `into` has room for, oldest first; returns
    /// how many.
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
        self.filled -= received as u32;
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
        self.own(frame);
        // SAFETY: the frame is of this UMEM. A token exists only while neither the kernel nor the
        // free list has the chunk, and there is one token a chunk (the ledger); it is borrowed
        // shared, so nobody writes through it.
        unsafe { self.memory.bytes(&frame.desc, frame.len()) }
    }

    /// The packet and all room behind it, to the end of its chunk: a packet can grow in place. Set
    /// [`Frame::set_len`] afterwards. The room beyond the length holds bytes of earlier packets.
    ///
    /// The port is borrowed shared, so that several frames can be open at once.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn bytes_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.own(frame);
        // SAFETY: as in `bytes`, and the one token is borrowed exclusively. Chunks do not overlap,
        // so slices of other frames do not matter.
        unsafe { self.memory.room_mut(&frame.desc) }
    }

    /// The `N` bytes in front of the packet, where the kernel copies what the XDP program stored
    /// with `bpf_xdp_adjust_meta` (net/xdp/xsk.c `__xsk_rcv`; zero-copy drivers leave it there).
    ///
    /// The kernel does not tell whether or how much was stored: these bytes mean something only if
    /// the program stores at least `N` bytes before every redirect to this socket; otherwise they
    /// are those of an earlier packet. `None` if there are fewer bytes in front of the packet,
    /// which does not happen up to 256 unless the program moved the packet's start forward.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn metadata<'a, const N: usize>(&'a self, frame: &'a Frame) -> Option<&'a [u8; N]> {
        self.own(frame);
        // SAFETY: as in `bytes`.
        unsafe { self.memory.in_front(&frame.desc) }
    }

    /// A free frame of length 0 to write a new packet into. `None` if every frame is in use; the
    /// next [`flush`](Self::flush) may bring some back.
    #[inline]
    pub fn allocate(&mut self) -> Option<Frame> {
        let desc = self.memory.take()?;
        let moved = self
            .ledger
            .pass(self.memory.chunk(&desc), Holder::Nobody, Holder::Engine);
        debug_assert!(moved, "the free list and the ledger disagree");
        self.held += 1;
        Some(Frame {
            desc,
            length: 0,
            port: self.id,
        })
    }

    /// Queues a packet for the next [`flush`](Self::flush). With TX ring and backlog full, or a
    /// length that cannot be sent, it is dropped and counted; the frame is never lost.
    ///
    /// # Panics
    /// If the frame belongs to another port: that is a mistake in the program, and sending would
    /// send the wrong bytes.
    #[inline]
    pub fn transmit(&mut self, frame: Frame) {
        self.own(&frame);
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
        // SAFETY: the frame is of this UMEM and was given to us by value, so its chunk is ours
        // alone.
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

    /// Gives a frame back unused.
    ///
    /// # Panics
    /// If the frame belongs to another port.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        self.own(&frame);
        let chunk = self.memory.chunk(&frame.desc);
        let moved = self.ledger.pass(chunk, Holder::Engine, Holder::Nobody);
        debug_assert!(
            moved,
            "a token existed for a frame that the engine did not hold"
        );
        self.held -= 1;
        self.memory.put_back(chunk);
    }

    /// Everything that the rings need, once per loop: takes back what was sent, submits what is to
    /// be sent, gives the kernel free frames to receive into, and wakes it where it asks for it.
    #[inline]
    pub fn flush(&mut self) {
        self.recycle();
        self.submit();
        self.refill();
        self.wake();
    }

    /// Whether frames still wait for the kernel to look at the TX ring: flush again soon.
    #[inline]
    pub fn unsent(&mut self) -> bool {
        !self.backlog.is_empty() || self.in_tx_ring() > 0
    }

    /// How many frames are where, from what each place says of itself. The total is the number of
    /// frames in the UMEM at any moment; anything else means that one was lost or used twice.
    #[inline]
    pub fn accounting(&self) -> FrameAccount {
        FrameAccount {
            free: self.memory.free() as u32,
            fill: self.filled,
            held: self.held,
            transmit: self.backlog.len() as u32 + self.sent,
        }
    }

    /// The same from the ledger, frame by frame: the two must agree. Takes some microseconds.
    pub fn audit(&self) -> FrameAccount {
        self.ledger.account()
    }

    /// The kernel's counters; `None`: they could not be read. An open AF_XDP socket answers this on every kernel since
    /// 5.9.
    pub fn statistics(&self) -> Option<KernelStatistics> {
        let statistics = self.rx.fd().xdp_statistics();
        statistics.map(KernelStatistics::from).ok()
    }

    /// Our own counters.
    pub fn counters(&self) -> PortCounters {
        self.counters
    }

    /// Completion ring → free frames.
    fn recycle(&mut self) {
        while self.sent > 0 {
            // SAFETY: the completion ring of this socket reports descriptors of this UMEM only.
            let count = unsafe { self.completion.consume(&mut self.scratch) };
            for desc in &self.scratch[..count] {
                let chunk = self.memory.chunk(desc);
                if self.ledger.pass(chunk, Holder::Transmitter, Holder::Nobody) {
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
    fn submit(&mut self) {
        let wanted = self.backlog.len();
        if wanted == 0 {
            return;
        }
        let count = wanted.min(self.tx.nb_free(wanted as u32) as usize);
        // SAFETY: every descriptor in the backlog is of this UMEM and is the transmitter's by the
        // ledger: no token for it exists any more, and it leaves the backlog two lines below, so it
        // is submitted once.
        let submitted = unsafe { self.tx.produce(&self.backlog[..count]) };
        debug_assert_eq!(submitted, count, "the ring had room for all");
        self.backlog.drain(..submitted);
        self.sent += submitted as u32;
    }

    /// Free frames → fill ring.
    fn refill(&mut self) {
        let wanted = (self.fill_limit - self.filled).min(self.memory.free() as u32);
        if wanted == 0 {
            return;
        }
        let mut left = wanted.min(self.fill.nb_free(wanted)) as usize;
        while left > 0 {
            let count = left.min(BATCH);
            for slot in &mut self.scratch[..count] {
                let Some(desc) = self.memory.take() else {
                    unreachable!("fewer free frames than counted")
                };
                let moved =
                    self.ledger
                        .pass(self.memory.chunk(&desc), Holder::Nobody, Holder::Receiver);
                debug_assert!(moved, "the free list and the ledger disagree");
                *slot = desc;
            }
            // SAFETY: the descriptors are of this UMEM, were taken from the free list just now, and
            // are the receiver's from here on.
            let produced = unsafe { self.fill.produce(&self.scratch[..count]) };
            debug_assert_eq!(produced, count, "the ring had room for all");
            self.filled += count as u32;
            left -= count;
        }
    }

    /// System calls, as few as possible.
    fn wake(&mut self) {
        if self.busy_poll || self.fill.needs_wakeup() {
            self.count_wakeup(socket_options::wake_receiver(self.fd()));
        }
        if self.sent == 0 || !self.tx.needs_wakeup() {
            return;
        }
        if self.zero_copy {
            return self.count_wakeup(socket_options::wake_transmitter(self.fd()));
        }
        // In copy mode the call itself sends, 32 frames of the ring on kernels before 6.18: again
        // while it gets on.
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

    /// Frames in the TX ring that the kernel has not taken.
    #[inline]
    fn in_tx_ring(&mut self) -> u32 {
        self.ring - self.tx.nb_free_exact()
    }

    fn count_wakeup(&mut self, outcome: Result<(), i32>) {
        self.counters.wakeups += 1;
        self.counters.failed_wakeups += u64::from(outcome.is_err());
    }

    #[inline]
    fn own(&self, frame: &Frame) {
        assert!(frame.port == self.id, "a frame of another port's UMEM");
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

//! The memory of the fill ring, which is available before the socket is bound.
//!
//! xsk-rs hands out its fill ring together with the bound socket. That is too late: a driver takes frames from the ring
//! when the socket is bound, and some look at an empty one no more. igb's wakeup reaches the receive queue only if it
//! shares the interrupt of the transmit queue (`igb_xsk_wakeup`, drivers/net/ethernet/intel/igb/igb_xsk.c).
#![allow(unsafe_code)] // declares what makes the kernel write to a frame

use std::{
    io,
    os::fd::RawFd,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::socket_options::{self, RingOffsets};
use crate::maps::Memory;

/// The fill ring of one UMEM (Documentation/networking/af_xdp.rst, "UMEM Fill Ring"). This process produces addresses of
/// frames, the kernel consumes them.
#[derive(Debug)]
pub(super) struct FillRing {
    /// The ring as words of 32 bits: its positions and flags.
    words: Memory<AtomicU32>,
    /// The same memory as words of 64 bits: its addresses, from `first` on.
    addresses: Memory<AtomicU64>,
    producer: usize,
    consumer: usize,
    flags: usize,
    first: usize,
    size: u32,
    /// Addresses ever written, modulo 2³². The kernel sees them after [`publish`](Self::publish).
    written: u32,
}

impl FillRing {
    /// Maps the fill ring of `size` entries (a power of two) of a socket that has a UMEM.
    pub(super) fn map(socket: RawFd, size: u32) -> io::Result<Self> {
        const WORD: usize = size_of::<u32>();
        const ADDRESS: usize = size_of::<u64>();
        let RingOffsets {
            producer,
            consumer,
            addresses,
            flags,
        } = socket_options::fill_ring_offsets(socket)?;
        let first = addresses / ADDRESS;
        let positions = producer.max(consumer).max(flags) / WORD + 1;
        let at = libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t;
        Ok(FillRing {
            words: Memory::of_socket(socket, at, positions)?,
            addresses: Memory::of_socket(socket, at, first + size as usize)?,
            producer: producer / WORD,
            consumer: consumer / WORD,
            flags: flags / WORD,
            first,
            size,
            written: 0,
        })
    }

    /// Number of addresses that the ring has room for.
    #[inline]
    pub(super) fn room(&self) -> u32 {
        self.size - self.waiting()
    }

    /// Number of addresses that the kernel has not taken.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        // Acquire: the kernel has read a slot before it moves its position beyond it.
        let taken = self.words[self.consumer].load(Ordering::Acquire);
        self.written.wrapping_sub(taken)
    }

    /// Addresses ever written, modulo 2³².
    #[inline]
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// Writes the address of a frame into the next slot.
    ///
    /// # Safety
    /// The ring has [`room`](Self::room). The address is that of a frame of this socket's UMEM, which belongs to the kernel from
    /// now on, until the RX ring returns it.
    #[inline]
    pub(super) unsafe fn write(&mut self, address: u64) {
        let slot = (self.written & (self.size - 1)) as usize;
        self.addresses[self.first + slot].store(address, Ordering::Relaxed);
        self.written = self.written.wrapping_add(1);
    }

    /// Shows the kernel all written addresses.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.words[self.producer].store(self.written, Ordering::Release);
    }

    /// Addresses ever published, modulo 2³², as the kernel sees it.
    #[cfg(test)]
    pub(super) fn published(&self) -> u32 {
        self.words[self.producer].load(Ordering::Acquire)
    }

    /// Whether the driver waits for a wakeup to look at the ring (`XDP_RING_NEED_WAKEUP`).
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.words[self.flags].load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

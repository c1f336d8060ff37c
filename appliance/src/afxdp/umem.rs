//! The memory of the frames, and the list of free chunks.
#![allow(unsafe_code)] // the memory behind frames

use std::{io, num::NonZeroU32, os::fd::RawFd, ptr, slice};

use xsk_rs::{
    FrameDesc, Umem,
    config::{FrameSize, QueueSize, UmemConfigBuilder},
};

use super::{library_error::cause, port_options::PortOptions, umem_socket};

/// The UMEM's memory and its free list.
#[derive(Debug)]
pub(super) struct Memory {
    umem: Umem,
    /// The socket that has the UMEM, and that libxdp will bind.
    socket: RawFd,
    /// Address of the mapping. A number, because a pointer would need a manual `Send` implementation.
    base: usize,
    chunk_shift: u32,
    /// The initial descriptor of each chunk, with its packet at the usual offset, by chunk number.
    home: Box<[FrameDesc]>,
    /// Numbers of free chunks. The last one freed is the first one reused, while it is still in the cache.
    free: Vec<u32>,
}

impl Memory {
    /// Maps and registers the memory; all frames are free.
    pub(super) fn new(options: &PortOptions) -> io::Result<Self> {
        let ((umem, home), socket) = umem_socket::opened_by(|| {
            Umem::new(config(options), frames(options), options.huge_pages)
                .map_err(|error| cause(&error))
        })?;
        let first = &home[0];
        // SAFETY: `first` was created by this UMEM just above, the slice has length 0 as the
        // descriptor's length is 0, and only its address is used.
        let base = unsafe { umem.data(first) }.contents().as_ptr().addr() - first.addr();
        Ok(Memory {
            umem,
            socket,
            base,
            chunk_shift: options.chunk.shift(),
            free: (0..home.len() as u32).rev().collect(),
            home: home.into(),
        })
    }

    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    pub(super) fn socket(&self) -> RawFd {
        self.socket
    }

    /// The chunk number of a descriptor.
    #[inline]
    pub(super) fn chunk(&self, desc: &FrameDesc) -> usize {
        desc.addr() >> self.chunk_shift
    }

    /// Bytes from the packet's start to the end of its chunk.
    #[inline]
    pub(super) fn room(&self, desc: &FrameDesc) -> usize {
        let chunk = 1 << self.chunk_shift;
        chunk - self.lead(desc)
    }

    /// Bytes from the chunk's start to the packet's start.
    #[inline]
    fn lead(&self, desc: &FrameDesc) -> usize {
        desc.addr() & ((1 << self.chunk_shift) - 1)
    }

    /// Number of free chunks.
    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Takes a free chunk; its descriptor has length 0 and the usual headroom.
    #[inline]
    pub(super) fn take(&mut self) -> Option<FrameDesc> {
        let chunk = self.free.pop()?;
        Some(self.home[chunk as usize])
    }

    /// Frees a chunk. The caller knows from the ledger that the chunk is unused, so the list never grows beyond
    /// the number of chunks that it was allocated for.
    #[inline]
    pub(super) fn put_back(&mut self, chunk: usize) {
        self.free.push(chunk as u32);
    }

    /// The first `length` bytes of the packet, cut to its room.
    ///
    /// # Safety
    /// `desc` describes a chunk of this UMEM, and nobody (kernel or program) writes to the chunk
    /// while the slice lives.
    #[inline]
    pub(super) unsafe fn bytes(&self, desc: &FrameDesc, length: usize) -> &[u8] {
        let start = ptr::with_exposed_provenance(self.base + desc.addr());
        // SAFETY: `base + addr` lies in the mapping, and `room` bytes from there end at most at the end
        // of the chunk, which lies entirely in the mapping. The mapping came from mmap zeroed, and
        // lives as long as `self.umem`. Its address was handed to the kernel and to C, so its
        // provenance is exposed. The caller guarantees that nobody writes.
        unsafe { slice::from_raw_parts(start, length.min(self.room(desc))) }
    }

    /// All bytes from the packet's start to the end of its chunk.
    ///
    /// # Safety
    /// `desc` describes a chunk of this UMEM, and nobody (kernel or program) reads or writes the
    /// chunk otherwise while the slice lives.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn room_mut(&self, desc: &FrameDesc) -> &mut [u8] {
        let start = ptr::with_exposed_provenance_mut(self.base + desc.addr());
        // SAFETY: as in `bytes`; the caller guarantees exclusive access.
        unsafe { slice::from_raw_parts_mut(start, self.room(desc)) }
    }

    /// The `N` bytes in front of the packet, if the chunk has that many before it.
    ///
    /// # Safety
    /// As for [`bytes`](Self::bytes).
    #[inline]
    pub(super) unsafe fn in_front<const N: usize>(&self, desc: &FrameDesc) -> Option<&[u8; N]> {
        if self.lead(desc) < N {
            return None;
        }
        let start = ptr::with_exposed_provenance::<[u8; N]>(self.base + desc.addr() - N);
        // SAFETY: the N bytes before the packet lie in its own chunk, as checked above; an array of
        // bytes needs no alignment. Otherwise as in `bytes`.
        Some(unsafe { &*start })
    }

    /// Writes the packet's length into its descriptor, ready for the TX ring.
    ///
    /// # Safety
    /// As for [`room_mut`](Self::room_mut).
    #[inline]
    pub(super) unsafe fn seal(&self, desc: &mut FrameDesc, length: usize) {
        // SAFETY: the descriptor is of this UMEM and the caller owns the chunk exclusively; the slice
        // created inside is not read or written. (xsk-rs has no other way to set a length.)
        unsafe { self.umem.data_mut(desc) }.cursor().set_pos(length);
        desc.set_options(0);
    }
}

fn config(options: &PortOptions) -> xsk_rs::config::UmemConfig {
    const VALID: &str = "PortOptions::problem was checked before";
    let ring = QueueSize::new(options.ring).expect(VALID);
    UmemConfigBuilder::new()
        .frame_size(FrameSize::new(options.chunk.bytes()).expect(VALID))
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()
        .expect(VALID)
}

fn frames(options: &PortOptions) -> NonZeroU32 {
    NonZeroU32::new(options.frames).expect("PortOptions::problem was checked before")
}

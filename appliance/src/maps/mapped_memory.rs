//! Memory shared with the kernel, to read and write it without system calls: BPF arrays (BPF_F_MMAPABLE) and rings of
//! AF_XDP sockets.
#![allow(unsafe_code)] // mmap(2)

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The element of a mapping: an atomic integer, for which every bit pattern is valid.
pub(crate) trait Atomic: Sync {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}
#[cfg(test)]
impl Atomic for super::atomics::AtomicU32 {}
#[cfg(test)]
impl Atomic for super::atomics::AtomicU64 {}

/// Shared memory as a slice of atomics. Dropping it unmaps the memory.
#[derive(Debug)]
pub(crate) struct Memory<A: Atomic> {
    start: NonNull<A>,
    length: usize,
}

// SAFETY: the memory belongs to no thread, is only accessed as a shared slice of atomics, and may be unmapped by any
// thread that drops the last owner.
unsafe impl<A: Atomic> Send for Memory<A> {}
// SAFETY: as above; `Atomic: Sync`.
unsafe impl<A: Atomic> Sync for Memory<A> {}

impl<A: Atomic> Memory<A> {
    /// Maps the first `length` atomics of a mmap-able BPF array.
    pub(crate) fn of_map(map: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(map.as_raw_fd(), libc::MAP_SHARED, 0, length)
    }

    /// Maps the first `length` atomics of a ring of an AF_XDP socket: the one at `offset` (`XDP_*PGOFF_*`,
    /// include/uapi/linux/if_xdp.h).
    pub(crate) fn of_socket(socket: RawFd, offset: libc::off_t, length: usize) -> io::Result<Self> {
        Self::map(socket, libc::MAP_SHARED, offset, length)
    }

    /// Private zeroed memory.
    #[cfg(test)]
    pub(super) fn anonymous(length: usize) -> io::Result<Self> {
        Self::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, 0, length)
    }

    fn map(fd: RawFd, flags: libc::c_int, offset: libc::off_t, length: usize) -> io::Result<Self> {
        let bytes = length * size_of::<A>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no memory in use is replaced. It checks descriptor, offset, length and
        // flags.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }
}

impl<A: Atomic> Deref for Memory<A> {
    type Target = [A];

    fn deref(&self) -> &[A] {
        // SAFETY: `map` mapped this many atomics, page-aligned and so aligned for each, readable and writable until
        // `drop`; the kernel refuses a length beyond the array or ring. The kernel, the XDP program and other
        // processes change the memory concurrently, which the interior mutability of atomics allows.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<A: Atomic> Drop for Memory<A> {
    fn drop(&mut self) {
        // SAFETY: this unmaps exactly what `map` mapped, once. Every slice of it borrows `self`. The call cannot fail for such
        // a range.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length * size_of::<A>()) };
    }
}

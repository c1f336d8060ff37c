//! Arrays that user space maps into its memory (BPF_F_MMAPABLE) and then reads and writes without system calls.
#![allow(unsafe_code)] // mmap(2)

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What a mapping may be seen as: an atomic integer, of which every pattern of bits is a value.
pub(crate) trait Atomic: Sync {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}

/// Shared memory as a slice of atomics; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Memory<A: Atomic> {
    start: NonNull<A>,
    length: usize,
}

// SAFETY: the memory belongs to no thread, is only ever reached as a shared slice of atomics, and may be unmapped by
// whichever thread drops the last owner.
unsafe impl<A: Atomic> Send for Memory<A> {}
// SAFETY: as above; `Atomic: Sync`.
unsafe impl<A: Atomic> Sync for Memory<A> {}

impl<A: Atomic> Memory<A> {
    /// Maps the first `length` atomics of a mmap-able BPF array.
    pub(crate) fn of_map(map: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::map(map.as_raw_fd(), libc::MAP_SHARED, length)
    }

    /// Zeroed memory that nobody else sees.
    #[cfg(test)]
    pub(super) fn anonymous(length: usize) -> io::Result<Self> {
        Self::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, length)
    }

    fn map(fd: RawFd, flags: libc::c_int, length: usize) -> io::Result<Self> {
        let bytes = length * size_of::<A>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses where, so no memory in use is replaced; it checks descriptor, length and flags.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, fd, 0) };
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
        // `drop`; the kernel refuses a length beyond the array. The XDP program and other processes change the
        // memory meanwhile, which the interior mutability of atomics allows for.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<A: Atomic> Drop for Memory<A> {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped, once; every slice of it has borrowed `self`. It cannot fail for such a
        // range.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length * size_of::<A>()) };
    }
}

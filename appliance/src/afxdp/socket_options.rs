//! Socket options that libxdp does not support, and the two system calls that wake the kernel.
//!
//! Numbers from include/uapi/linux/if_xdp.h and include/uapi/asm-generic/socket.h.
#![allow(unsafe_code)] // system calls on the socket

use std::{io, mem, os::fd::RawFd, ptr};

use super::port_options::BATCH;

const XDP_OPTIONS: i32 = 8;
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// Offsets of a ring in its mapping, in bytes (struct xdp_ring_offset).
pub(super) struct RingOffsets {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) addresses: usize,
    pub(super) flags: usize,
}

const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;

/// Maximum duration of a busy-polling system call in microseconds.
const BUSY_POLL_MICROSECONDS: i32 = 20;
/// Maximum number of packets per busy-polling system call: one batch.
const BUSY_POLL_BUDGET: i32 = BATCH as i32;

/// Whether a descriptor is an AF_XDP socket.
pub(super) fn is_afxdp(fd: RawFd) -> bool {
    get(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, 0).is_ok_and(|domain: i32| domain == libc::AF_XDP)
}

/// Whether the driver bound the socket in zero-copy mode.
pub(super) fn zero_copy(fd: RawFd) -> io::Result<bool> {
    get(fd, libc::SOL_XDP, XDP_OPTIONS, 0).map(|flags: u32| flags & XDP_OPTIONS_ZEROCOPY != 0)
}

/// Where the positions, flags and addresses of the fill ring are (struct xdp_mmap_offsets, Linux ≥ 5.4).
pub(super) fn fill_ring_offsets(fd: RawFd) -> io::Result<RingOffsets> {
    // RX, TX, fill and completion ring; each has producer, consumer, descriptors and flags.
    let [_, _, fill, _] = get(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, [[0u64; 4]; 4])?;
    let [producer, consumer, addresses, flags] = fill.map(|offset| offset as usize);
    Ok(RingOffsets {
        producer,
        consumer,
        addresses,
        flags,
    })
}

/// Lets one wakeup send a whole TX ring in copy mode instead of 32 frames (Linux ≥ 6.18; older kernels
/// refuse it).
pub(super) fn raise_transmit_budget(fd: RawFd, ring: u32) -> io::Result<()> {
    set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, ring as i32)
}

/// Allows this many bytes of socket buffers in flight in copy mode, where each sent frame is one
/// (`SO_SNDBUF` beyond `net.core.wmem_max`; needs CAP_NET_ADMIN).
pub(super) fn raise_send_buffer(fd: RawFd, bytes: i32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
}

/// Makes the owner's system calls drive the NIC's NAPI (Documentation/networking/napi.rst, "Busy
/// polling").
pub(super) fn prefer_busy_poll(fd: RawFd) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
    set(
        fd,
        libc::SOL_SOCKET,
        libc::SO_BUSY_POLL,
        BUSY_POLL_MICROSECONDS,
    )?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET)
}

/// Prevents child processes from inheriting the socket, which would keep its queue busy after this process
/// ends.
pub(super) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and accesses no memory of ours.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Wakes the receive side: the driver checks the fill ring again. With busy polling, it polls the NIC.
#[inline]
pub(super) fn wake_receiver(fd: RawFd) -> Result<(), i32> {
    // SAFETY: receives zero bytes into a null buffer; for AF_XDP sockets this is only a wakeup
    // (net/xdp/xsk.c __xsk_recvmsg).
    outcome(unsafe {
        libc::recvfrom(
            fd,
            ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    })
}

/// Wakes the transmit side: the driver processes the TX ring. In copy mode, this call itself sends its
/// frames.
#[inline]
pub(super) fn wake_transmitter(fd: RawFd) -> Result<(), i32> {
    // SAFETY: sends zero bytes from a null buffer; this is only a wakeup (net/xdp/xsk.c __xsk_sendmsg).
    outcome(unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) })
}

/// Treats "busy, try again" as success: the rings show what is left to do.
#[inline]
fn outcome(result: isize) -> Result<(), i32> {
    if result >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error().raw_os_error() {
        None | Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => Ok(()),
        Some(number) => Err(number),
    }
}

/// Reads an option into `value`, an integer or an array of integers.
fn get<T: Copy>(fd: RawFd, level: i32, option: i32, mut value: T) -> io::Result<T> {
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which has that many, and the new length to `length`.
    // Every caller passes integers, for which all bit patterns are valid.
    let result = unsafe {
        libc::getsockopt(
            fd,
            level,
            option,
            ptr::from_mut(&mut value).cast(),
            &mut length,
        )
    };
    match result {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<i32>()` bytes from `value`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            ptr::from_ref(&value).cast(),
            mem::size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

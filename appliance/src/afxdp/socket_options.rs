//! Socket options that libxdp does not know, and the two system calls that wake the kernel.
//!
//! Numbers from include/uapi/linux/if_xdp.h and include/uapi/asm-generic/socket.h.
#![allow(unsafe_code)] // system calls on the socket

use std::{io, mem, os::fd::RawFd, ptr};

const XDP_OPTIONS: i32 = 8;
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;

/// Microseconds that one busy-polling system call may spin for.
const BUSY_POLL_MICROSECONDS: i32 = 20;
/// Packets that one busy-polling system call may process: one batch.
const BUSY_POLL_BUDGET: i32 = super::BATCH as i32;

/// Whether the driver bound the socket in zero-copy mode.
pub(super) fn zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut flags = 0u32;
    let mut length = mem::size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `flags`, which has that many, and the new
    // length to `length`.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            XDP_OPTIONS,
            ptr::from_mut(&mut flags).cast(),
            &mut length,
        )
    };
    match result {
        0 => Ok(flags & XDP_OPTIONS_ZEROCOPY != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets one wakeup send a whole TX ring in copy mode, not 32 frames (Linux ≥ 6.18; refused by
/// kernels before).
pub(super) fn raise_transmit_budget(fd: RawFd, ring: u32) -> io::Result<()> {
    set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, ring as i32)
}

/// Lets this many bytes of socket buffers be under way in copy mode, where each frame sent is one
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

/// Keeps programs that this process starts from inheriting the socket, which would hold its queue
/// after our end.
pub(super) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory of ours.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Wakes the receive side: the driver looks at the fill ring again; with busy polling, it polls the
/// NIC.
#[inline]
pub(super) fn wake_receiver(fd: RawFd) -> Result<(), i32> {
    // SAFETY: a receive of zero bytes into nothing; AF_XDP sockets only take it as a wakeup
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

/// Wakes the transmit side: the driver looks at the TX ring; in copy mode, this call itself sends
/// what lies there.
#[inline]
pub(super) fn wake_transmitter(fd: RawFd) -> Result<(), i32> {
    // SAFETY: a send of zero bytes from nothing, taken as a wakeup (net/xdp/xsk.c __xsk_sendmsg).
    outcome(unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) })
}

/// Turns "busy at the moment, ask again" into success; the rings show what is left to do.
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

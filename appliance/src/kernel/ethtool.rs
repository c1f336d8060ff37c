//! Queries how many receive queues a driver uses (ETHTOOL_GCHANNELS). Like netlink, and unlike /sys, the ioctl sees the
//! devices of the own network namespace.
#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::mem::size_of_val;

use socket2::{Domain, Socket, Type};

/// struct ethtool_channels (include/uapi/linux/ethtool.h).
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// The number of receive queues that an interface uses.
///
/// # Errors
/// The driver does not report channels.
pub fn receive_queues(interface: &str) -> io::Result<u32> {
    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    // SAFETY: `ifreq` consists of C integers, arrays of them, and pointers. Zero is a valid value of each.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= size_of_val(&request.ifr_name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is a live ifreq with a NUL-terminated name. It points to a live structure of the layout that
    // this command reads and writes. The kernel keeps neither pointer.
    if unsafe { libc::ioctl(fd, libc::SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    match channels.rx + channels.combined {
        0 => Err(io::ErrorKind::InvalidData.into()),
        queues => Ok(queues),
    }
}

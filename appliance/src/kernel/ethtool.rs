//! Asks the driver of an interface (ethtool ioctl): its name, its receive queues, its receive offloads. Like netlink, and
//! unlike /sys, the ioctl sees the devices of the own network namespace.
#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::mem::size_of_val;

use socket2::{Domain, Socket, Type};

use super::netlink::text;

// Commands and flags of include/uapi/linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// A structure that begins with the number of its command and consists of integers.
///
/// # Safety
/// The layout is that of the command, which the kernel reads and writes.
unsafe trait Command {}

/// struct ethtool_channels.
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
// SAFETY: as include/uapi/linux/ethtool.h has it.
unsafe impl Command for Channels {}

/// struct ethtool_drvinfo.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    /// Version, firmware, bus and expansion ROM, and the numbers behind them.
    rest: [u8; 160],
}
// SAFETY: as include/uapi/linux/ethtool.h has it: 4 + 5 * 32 + 12 + 5 * 4 bytes.
unsafe impl Command for DriverInfo {}
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}
// SAFETY: as include/uapi/linux/ethtool.h has it.
unsafe impl Command for Value {}

/// What a NIC does to frames before XDP sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveOffloads {
    /// It removes the VLAN tag (`rx-vlan-offload`).
    pub vlan: bool,
    /// It merges segments (`large-receive-offload`).
    pub lro: bool,
}

/// The number of receive queues that an interface uses.
///
/// # Errors
/// The driver does not report channels.
pub fn receive_queues(interface: &str) -> io::Result<u32> {
    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    ask(interface, &mut channels)?;
    match channels.rx + channels.combined {
        0 => Err(io::ErrorKind::InvalidData.into()),
        queues => Ok(queues),
    }
}

/// The name of the driver of an interface, as `ethtool -i` shows it.
///
/// # Errors
/// There is no such interface, or its driver has no name.
pub fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    ask(interface, &mut info)?;
    match text(&info.driver) {
        name if name.is_empty() => Err(io::ErrorKind::InvalidData.into()),
        name => Ok(name),
    }
}

/// The receive offloads of an interface that are on, as `ethtool -k` shows them.
///
/// # Errors
/// There is no such interface.
pub fn receive_offloads(interface: &str) -> io::Result<ReceiveOffloads> {
    let mut flags = Value {
        command: ETHTOOL_GFLAGS,
        data: 0,
    };
    ask(interface, &mut flags)?;
    Ok(ReceiveOffloads {
        vlan: flags.data & ETH_FLAG_RXVLAN != 0,
        lro: flags.data & ETH_FLAG_LRO != 0,
    })
}

/// Runs a command, which fills in the rest of the structure.
fn ask<C: Command>(interface: &str, command: &mut C) -> io::Result<()> {
    // SAFETY: `ifreq` consists of C integers, arrays of them, and pointers. Zero is a valid value of each.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= size_of_val(&request.ifr_name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is a live ifreq with a NUL-terminated name. It points to a live structure of the layout that
    // its command reads and writes (`Command`). The kernel keeps neither pointer.
    match unsafe { libc::ioctl(fd, libc::SIOCETHTOOL, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_no_receive_offload_and_no_other_interface_its_answers() {
        assert_eq!(receive_offloads("lo").unwrap(), ReceiveOffloads::default());
        let absent = driver("sw-none").unwrap_err();
        assert_eq!(absent.raw_os_error(), Some(libc::ENODEV));
        let long = driver("a-name-of-more-than-fifteen").unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
    }
}

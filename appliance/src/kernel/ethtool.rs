//! Asks for the name of an interface, and asks its driver (ethtool ioctl): its name, its receive queues, its receive offloads, its
//! counters. Like netlink, and unlike /sys, the ioctl sees the devices of the own network namespace.
#![allow(unsafe_code)] // ioctl(2)

use std::io;
use std::mem::size_of_val;

use socket2::{Domain, Socket, Type};

use super::netlink::{text, u32_at};

// Commands and flags of include/uapi/linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_STATS: u32 = 1;
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
struct ChannelNumbers {
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
unsafe impl Command for ChannelNumbers {}

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
/// Offset of `n_stats` in [`DriverInfo::rest`].
const COUNTERS: usize = 4 * 32 + 12 + 4;

/// struct ethtool_value.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}
// SAFETY: as include/uapi/linux/ethtool.h has it.
unsafe impl Command for Value {}

/// The most counters of a driver that are read.
const MOST: usize = 4096;

/// struct ethtool_gstrings with room for [`MOST`] names of `ETH_GSTRING_LEN` bytes.
#[repr(C)]
struct Names {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; 32]; MOST],
}
// SAFETY: as include/uapi/linux/ethtool.h has it. `driver_losses` asks only drivers whose counters fit.
unsafe impl Command for Names {}

/// struct ethtool_stats with room for [`MOST`] counters.
#[repr(C)]
struct Counts {
    command: u32,
    count: u32,
    values: [u64; MOST],
}
// SAFETY: as for `Names`.
unsafe impl Command for Counts {}

/// How many channels an interface uses, and how many it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// In use.
    pub used: u32,
    /// The maximum, at least 1.
    pub most: u32,
}

/// What a NIC does to frames before XDP sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveOffloads {
    /// It removes the VLAN tag (`rx-vlan-offload`).
    pub vlan: bool,
    /// It merges segments (`large-receive-offload`).
    pub lro: bool,
}

/// What the interface with this index is called now; `None`: there is none.
pub fn interface_name(index: u32) -> Option<String> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(&socket, index).ok()
}

/// The number of receive queues that an interface uses.
///
/// # Errors
/// The driver does not report channels.
pub fn receive_queues(interface: &str) -> io::Result<u32> {
    let numbers = channel_numbers(interface)?;
    match numbers.rx + numbers.combined {
        0 => Err(io::ErrorKind::InvalidData.into()),
        queues => Ok(queues),
    }
}

/// Whether the channels of an interface receive or transmit, and none does both.
pub(super) fn has_separate_channels(interface: &str) -> bool {
    channel_numbers(interface).is_ok_and(|numbers| numbers.max_combined == 0)
}

/// The channels of an interface. Where receive and transmit channels are separate, those of the transmit side, which XDP
/// needs more of.
///
/// # Errors
/// The driver does not report channels.
pub fn channels(interface: &str) -> io::Result<Channels> {
    let numbers = channel_numbers(interface)?;
    let (used, most) = match numbers.max_combined {
        0 => (numbers.rx.max(numbers.tx), numbers.max_tx),
        most => (numbers.combined, most),
    };
    match most {
        0 => Err(io::ErrorKind::InvalidData.into()),
        most => Ok(Channels { used, most }),
    }
}

fn channel_numbers(interface: &str) -> io::Result<ChannelNumbers> {
    let mut numbers = ChannelNumbers {
        command: ETHTOOL_GCHANNELS,
        ..ChannelNumbers::default()
    };
    ask(interface, &mut numbers)?;
    Ok(numbers)
}

/// The name of the driver of an interface, as `ethtool -i` shows it.
///
/// # Errors
/// There is no such interface, or its driver has no name.
pub fn driver(interface: &str) -> io::Result<String> {
    match text(&driver_info(interface)?.driver) {
        name if name.is_empty() => Err(io::ErrorKind::InvalidData.into()),
        name => Ok(name),
    }
}

/// The address of the device of an interface on its bus, such as `0000:03:00.0`. Empty if it has none.
///
/// # Errors
/// There is no such interface.
pub fn bus(interface: &str) -> io::Result<String> {
    let info = driver_info(interface)?;
    // Behind the version and that of the firmware.
    Ok(text(&info.rest[2 * 32..3 * 32]))
}

fn driver_info(interface: &str) -> io::Result<DriverInfo> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    ask(interface, &mut info)?;
    Ok(info)
}

/// Parts of the names that drivers give to counters of lost frames. There is no standard.
const LOSSES: [&str; 8] = [
    "drop",
    "discard",
    "missed",
    "no_buf",
    "nobuf",
    "out_of_buf",
    "xmit_err",
    "xdp_tx_err",
];

/// The counters of lost frames of the driver of an interface that are not zero, as `ethtool -S` shows them.
///
/// # Errors
/// There is no such interface, or its driver has no counters or too many.
pub fn driver_losses(interface: &str) -> io::Result<Vec<(String, u64)>> {
    let info = driver_info(interface)?;
    let count = u32_at(&info.rest, COUNTERS).unwrap_or(0) as usize;
    // Half of the room stays free: a driver may add counters with queues between two of these commands.
    if count == 0 || count > MOST / 2 {
        return Ok(Vec::new());
    }
    let mut names = Box::new(Names {
        command: ETHTOOL_GSTRINGS,
        set: ETH_SS_STATS,
        count: count as u32,
        names: [[0; 32]; MOST],
    });
    ask(interface, &mut *names)?;
    let mut counts = Box::new(Counts {
        command: ETHTOOL_GSTATS,
        count: count as u32,
        values: [0; MOST],
    });
    ask(interface, &mut *counts)?;
    let named = names.names.iter().zip(counts.values).take(count);
    let lost = named.filter(|(_, value)| *value > 0);
    let lost = lost.map(|(name, value)| (text(name), value));
    Ok(lost
        .filter(|(name, _)| LOSSES.iter().any(|part| name.contains(part)))
        .collect())
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
    fn an_interface_has_the_name_of_its_index() {
        assert_eq!(interface_name(1).as_deref(), Some("lo"));
        assert_eq!(interface_name(u32::MAX), None);
    }

    #[test]
    fn the_loopback_interface_has_no_receive_offload_and_no_other_interface_its_answers() {
        assert_eq!(receive_offloads("lo").unwrap(), ReceiveOffloads::default());
        assert_eq!(driver_losses("lo").unwrap_or_default(), []);
        let absent = driver("sw-none").unwrap_err();
        assert_eq!(absent.raw_os_error(), Some(libc::ENODEV));
        let long = driver("a-name-of-more-than-fifteen").unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
    }
}

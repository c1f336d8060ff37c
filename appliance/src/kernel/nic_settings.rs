//! Asks for the settings of an interface by generic netlink: XDP features (family `netdev`), channels, rings, offloads and
//! the RSS table (family `ethtool`). Needs no privilege.
//!
//! Sources: Documentation/netlink/specs/netdev.yaml, include/uapi/linux/ethtool_netlink*.h.
#![forbid(unsafe_code)]

use std::io;

use super::generic_netlink::{Attributes, Family, attribute, inside, nest};
use super::netlink::text;

/// What a driver can do with XDP (`enum netdev_xdp_act`, include/uapi/linux/netdev.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// It runs programs: XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX.
    pub fn basic(self) -> bool {
        self.0 & 1 != 0
    }

    /// It carries out XDP_REDIRECT.
    pub fn redirect(self) -> bool {
        self.0 & 2 != 0
    }

    /// It transmits frames that are redirected to it (`ndo_xdp_xmit`). Some drivers say so only while a program is attached.
    pub fn transmits(self) -> bool {
        self.0 & 4 != 0
    }

    /// It has zero-copy AF_XDP.
    pub fn zero_copy(self) -> bool {
        self.0 & 8 != 0
    }

    /// It runs programs on frames in several buffers (`NETDEV_XDP_ACT_RX_SG`).
    pub fn receives_frags(self) -> bool {
        self.0 & 32 != 0
    }

    /// It transmits redirected frames in several buffers (`NETDEV_XDP_ACT_NDO_XMIT_SG`), like [`transmits`](Self::transmits).
    pub fn transmits_frags(self) -> bool {
        self.0 & 64 != 0
    }
}

/// How many of something an interface uses, and how many it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In use.
    pub used: u32,
    /// The maximum; 0: there is no such thing.
    pub most: u32,
}

/// The channels of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounts {
    /// Receive channels.
    pub rx: Count,
    /// Transmit channels.
    pub tx: Count,
    /// Channels that receive and transmit.
    pub combined: Count,
}

/// A feature of an interface, as `ethtool -k` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offload {
    /// The kernel's name, such as `rx-vlan-hw-parse` (net/ethtool/common.c).
    pub name: String,
    /// Whether it is on.
    pub on: bool,
    /// Whether it can be changed.
    pub changeable: bool,
}

/// The XDP features of an interface.
///
/// # Errors
/// The kernel does not tell (Linux 6.3 and later does), or there is no such interface.
pub fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    const DEV_GET: u8 = 1;
    const IFINDEX: u16 = 1;
    const XDP_FEATURES: u16 = 3;
    let reply =
        Family::open("netdev")?.ask(DEV_GET, vec![attribute(IFINDEX, &index.to_ne_bytes())?])?;
    let features = reply.number(XDP_FEATURES);
    Ok(XdpFeatures(features.ok_or(io::ErrorKind::InvalidData)?))
}

/// The channels of an interface.
///
/// # Errors
/// The driver does not report channels.
pub fn channel_counts(interface: &str) -> io::Result<ChannelCounts> {
    const CHANNELS_GET: u8 = 17;
    let reply = ask_ethtool(CHANNELS_GET, interface)?;
    let count = |most, used| Count {
        used: reply.number(used).unwrap_or(0),
        most: reply.number(most).unwrap_or(0),
    };
    Ok(ChannelCounts {
        rx: count(2, 6),
        tx: count(3, 7),
        combined: count(5, 9),
    })
}

/// The descriptors of a receive ring.
///
/// # Errors
/// The driver does not report rings.
pub fn receive_ring(interface: &str) -> io::Result<Count> {
    const RINGS_GET: u8 = 15;
    let reply = ask_ethtool(RINGS_GET, interface)?;
    let number = |kind| reply.number(kind).unwrap_or(0);
    Ok(Count {
        used: number(6),
        most: number(2),
    })
}

/// The RSS table: a queue for each value of the hash.
///
/// # Errors
/// The driver has no such table, or the kernel does not tell (Linux 6.3 and later does).
pub fn rss_table(interface: &str) -> io::Result<Vec<u32>> {
    const RSS_GET: u8 = 38;
    const INDIR: u16 = 4;
    let reply = ask_ethtool(RSS_GET, interface)?;
    let Some(bytes) = reply.bytes(INDIR) else {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    };
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_ne_bytes(*word)).collect())
}

/// Every feature of an interface.
///
/// # Errors
/// There is no such interface.
pub fn offloads(interface: &str) -> io::Result<Vec<Offload>> {
    const FEATURES_GET: u8 = 11;
    // Of the device, as a mask: each feature, set if it can be changed.
    const HW: u16 = 2;
    const ACTIVE: u16 = 4;
    let reply = ask_ethtool(FEATURES_GET, interface)?;
    let active: Vec<_> = bits(&reply, ACTIVE)?
        .into_iter()
        .filter(|(_, set)| *set)
        .collect();
    let offload = |(name, changeable): (String, bool)| Offload {
        on: active.iter().any(|(other, _)| *other == name),
        name,
        changeable,
    };
    Ok(bits(&reply, HW)?.into_iter().map(offload).collect())
}

/// The bits of a bit set in its verbose form, by name, and whether each is set
/// (Documentation/networking/ethtool-netlink.rst, "Bit sets").
fn bits(reply: &Attributes, kind: u16) -> io::Result<Vec<(String, bool)>> {
    const NOMASK: u16 = 1;
    const BITS: u16 = 3;
    const NAME: u16 = 2;
    const VALUE: u16 = 3;
    let set = reply.nested(kind).ok_or(io::ErrorKind::InvalidData)?;
    let all_set = set.find(NOMASK).is_some();
    let listed = set.nested(BITS).ok_or(io::ErrorKind::InvalidData)?;
    let bit = |one| {
        let bit = inside(one)?;
        Some((text(bit.bytes(NAME)?), all_set || bit.find(VALUE).is_some()))
    };
    Ok(listed.iter().filter_map(bit).collect())
}

/// Requests something about an interface from the family `ethtool`, in whose requests attribute 1 is the header.
fn ask_ethtool(command: u8, interface: &str) -> io::Result<Attributes> {
    const HEADER: u16 = 1;
    const DEV_NAME: u16 = 2;
    let name = [interface.as_bytes(), b"\0"].concat();
    let header = nest(HEADER, &attribute(DEV_NAME, &name)?)?;
    Family::open("ethtool")?.ask(command, vec![header])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_the_loopback_interface_are_told_by_name() {
        let found = offloads("lo").unwrap();
        let of = |name: &str| found.iter().find(|one| one.name == name).unwrap();
        assert!(!of("rx-lro").on);
        let loopback = of("loopback");
        assert!(loopback.on && !loopback.changeable, "{loopback:?}");
        assert!(of("rx-gro").changeable);
    }

    #[test]
    fn what_a_device_does_not_have_is_an_error() {
        let without = [
            channel_counts("lo").err(),
            receive_ring("lo").err(),
            rss_table("lo").err(),
        ];
        for error in without {
            let number = error.unwrap().raw_os_error();
            assert_eq!(number, Some(libc::EOPNOTSUPP));
        }
        let absent = offloads("sw-none").unwrap_err();
        assert_eq!(absent.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn the_loopback_interface_has_no_xdp() {
        match xdp_features(1) {
            Ok(features) => assert!(!features.zero_copy() && !features.transmits()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "an older kernel"),
        }
    }
}

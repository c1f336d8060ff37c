//! IPv4 and IPv6 addresses in one 16-byte form, as the maps hold them.

use core::net::IpAddr;

/// An IP address as four words of network-order bytes; IPv4 is mapped (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2).
///
/// The words are in memory order, so that eBPF copies a header field without swapping bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

/// The third word of every mapped IPv4 address.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// The address in an IPv4 header field, given as a word in memory order.
    #[inline(always)]
    pub const fn v4(raw: u32) -> Self {
        Self([0, 0, MAPPED, raw])
    }

    /// Whether this is a mapped IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// Whether no client can have this source address: unspecified, "this network", loopback, multicast and limited broadcast
    /// (RFC 1122 §3.2.1.3; RFC 4291 §2.5.2, §2.5.3, §2.7). These are the sources that Linux takes for martian whatever its
    /// routes say (`ip_route_input_slow`, `ip6_rcv_core`). 240.0.0.0/4 is not among them ([`Self::is_reserved_v4`]).
    #[inline(always)]
    pub const fn is_impossible_source(&self) -> bool {
        let [a, b, c, d] = self.0;
        if self.is_v4() {
            let first = d.to_ne_bytes()[0];
            first == 0 || first == 127 || first & 0xf0 == 0xe0 || d == u32::MAX
        } else {
            a.to_ne_bytes()[0] == 0xff || (a | b | c == 0 && u32::from_be(d) <= 1)
        }
    }

    /// Whether it is in 240.0.0.0/4, which is reserved (RFC 1112 §4). Linux accepts it, and some private networks use it.
    #[inline(always)]
    pub const fn is_reserved_v4(&self) -> bool {
        self.is_v4() && self.0[3].to_ne_bytes()[0] & 0xf0 == 0xf0
    }

    /// Whether it is in fe80::/10: routers forward no packet from there (RFC 4291 §2.5.6).
    #[inline(always)]
    pub const fn is_link_local_v6(&self) -> bool {
        let [first, second, ..] = self.0[0].to_ne_bytes();
        first == 0xfe && second & 0xc0 == 0x80
    }

    /// A superset of [`Self::is_impossible_source`] and [`Self::is_reserved_v4`] for an IPv4 address, in two comparisons: the
    /// fast path leaves these sources to the general path.
    #[inline(always)]
    pub const fn is_unusual_v4_source(&self) -> bool {
        let first = self.0[3].to_ne_bytes()[0] as u32;
        first.wrapping_sub(1) >= 223 || first == 127
    }

    /// The 16 bytes in network order.
    pub fn octets(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        let bytes = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self([word(0), word(4), word(8), word(12)])
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        core::net::Ipv6Addr::from(address.octets()).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_addresses_survive_the_round_trip() {
        for text in ["192.0.2.1", "2001:db8::1"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
            assert_eq!(Address::from(ip).is_v4(), ip.is_ipv4());
        }
    }

    #[test]
    fn impossible_sources_are_those_that_linux_takes_for_martian() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("an address"));
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
        ] {
            assert!(address(text).is_impossible_source(), "{text}");
            assert!(address(text).is_unusual_v4_source(), "{text}");
        }
        for text in ["::", "::1", "ff02::1", "ff0e::1"] {
            assert!(address(text).is_impossible_source(), "{text}");
        }
        for text in [
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "223.255.255.255",
            "198.51.100.2",
        ] {
            assert!(!address(text).is_impossible_source(), "{text}");
            assert!(!address(text).is_unusual_v4_source(), "{text}");
        }
        for text in ["240.0.0.1", "::2", "2001:db8::1", "fe80::1", "fd00::1"] {
            assert!(!address(text).is_impossible_source(), "{text}");
        }
    }

    #[test]
    fn reserved_and_link_local_sources_are_told_by_their_first_bits() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("an address"));
        for text in ["240.0.0.0", "240.0.0.1", "254.255.255.255"] {
            assert!(address(text).is_reserved_v4(), "{text}");
            assert!(address(text).is_unusual_v4_source(), "{text}");
        }
        for text in ["fe80::1", "febf:ffff::1"] {
            assert!(address(text).is_link_local_v6(), "{text}");
        }
        for text in ["239.255.255.255", "169.254.0.1", "fec0::1", "fe7f::1", "::"] {
            assert!(!address(text).is_reserved_v4(), "{text}");
            assert!(!address(text).is_link_local_v6(), "{text}");
        }
    }
}

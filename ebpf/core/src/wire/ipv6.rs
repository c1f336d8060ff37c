//! IPv6 (RFC 8200) and the extension headers that may precede TCP.

use super::{Address, be16, put, raw32};
use core::borrow::{Borrow, BorrowMut};

/// Bytes of the fixed header.
pub const LENGTH: usize = 40;
/// Next-header number of ICMPv6.
pub const ICMP: u8 = 58;
/// Next-header number of a fragment header (RFC 8200 §4.5).
pub const FRAGMENT: u8 = 44;
/// Bytes of a fragment header.
pub const FRAGMENT_LENGTH: usize = 8;

/// The payload's protocol of a fragment that begins with the payload's own header; `None` for the others.
#[inline(always)]
pub fn first_fragment_protocol(header: &[u8; FRAGMENT_LENGTH]) -> Option<u8> {
    if be16(header, 2) >> 3 == 0 {
        Some(header[0])
    } else {
        None
    }
}

/// The most extension headers that are walked. RFC 8200 §4.1 lists seven; a legitimate SYN carries at most two.
pub const MAX_EXTENSIONS: usize = 4;

/// Whether a next-header number is an extension whose second byte is its length, in units of 8 bytes without the first 8:
/// hop-by-hop, routing, destination options (RFC 8200 §4.3, §4.4, §4.6), mobility, HIP, Shim6 (RFC 6275, 7401, 5533).
#[inline(always)]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | 60 | 135 | 139 | 140)
}

/// The fixed IPv6 header.
pub struct Ipv6<T>(pub T);

impl<T: Borrow<[u8; LENGTH]>> Ipv6<T> {
    /// Whether the version is 6.
    #[inline(always)]
    pub fn is_sound(&self) -> bool {
        self.0.borrow()[0] >> 4 == 6
    }

    /// Bytes after the fixed header.
    #[inline(always)]
    pub fn payload_length(&self) -> u16 {
        be16(self.0.borrow(), 4)
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (be16(self.0.borrow(), 0) >> 4) as u8
    }

    /// The number of the next header: an extension or a protocol.
    #[inline(always)]
    pub fn next_header(&self) -> u8 {
        self.0.borrow()[6]
    }

    /// The remaining hops.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        self.0.borrow()[7]
    }

    /// The sender.
    #[inline(always)]
    pub fn source(&self) -> Address {
        let b = self.0.borrow();
        Address([raw32(b, 8), raw32(b, 12), raw32(b, 16), raw32(b, 20)])
    }

    /// The receiver.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        let b = self.0.borrow();
        Address([raw32(b, 24), raw32(b, 28), raw32(b, 32), raw32(b, 36)])
    }
}

impl<T: BorrowMut<[u8; LENGTH]>> Ipv6<T> {
    /// Decrements the hop limit, which must not be 0.
    #[inline(always)]
    pub fn decrement_hop_limit(&mut self) {
        self.0.borrow_mut()[7] -= 1;
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.0.borrow_mut()[7] = hop_limit;
    }

    /// Writes a whole IPv6 header for TCP; `payload_length` is the length of the TCP segment in bytes.
    #[inline(always)]
    pub fn emit(
        &mut self,
        source: &Address,
        destination: &Address,
        class: u8,
        payload_length: u16,
    ) {
        let b = self.0.borrow_mut();
        put(b, 0, (0x6000_0000 | (class as u32) << 20).to_be_bytes());
        put(b, 4, payload_length.to_be_bytes());
        put(b, 6, [super::protocol::TCP, super::ipv4::TTL]);
        for (at, word) in [(8, source.0), (24, destination.0)] {
            put(b, at, word[0].to_ne_bytes());
            put(b, at + 4, word[1].to_ne_bytes());
            put(b, at + 8, word[2].to_ne_bytes());
            put(b, at + 12, word[3].to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emitted_fields_read_back() {
        let (a, b) = (Address([1, 2, 3, 4]), Address([5, 6, 7, 8]));
        let mut header = Ipv6([0u8; LENGTH]);
        header.emit(&a, &b, 0xab, 40);
        assert!(header.is_sound());
        assert_eq!((header.source(), header.destination()), (a, b));
        assert_eq!(
            (header.traffic_class(), header.payload_length()),
            (0xab, 40)
        );
        header.decrement_hop_limit();
        assert_eq!((header.hop_limit(), header.next_header()), (63, 6));
    }
}

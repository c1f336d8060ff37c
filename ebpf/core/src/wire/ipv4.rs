//! IPv4 (RFC 791).

use super::checksum::Sum;
use super::{Address, be16, protocol, put, raw32};
use core::borrow::{Borrow, BorrowMut};

/// Bytes of the header without options.
pub const LENGTH: usize = 20;
/// TTL of packets that synward generates (the default that RFC 1340 recommends).
pub const TTL: u8 = 64;
/// The "don't fragment" bit of the field for flags and fragment offset.
pub const DONT_FRAGMENT: u16 = 0x4000;

/// The fixed part of an IPv4 header.
pub struct Ipv4<T>(pub T);

impl<T: Borrow<[u8; LENGTH]>> Ipv4<T> {
    /// Whether the version is 4 and the header length at least 20 bytes.
    #[inline(always)]
    pub fn is_sound(&self) -> bool {
        let first = self.0.borrow()[0];
        first >> 4 == 4 && first & 0xf >= 5
    }

    /// Bytes of the header with its options, 0 to 60.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        (self.0.borrow()[0] & 0xf) as usize * 4
    }

    /// Bytes of header and payload.
    #[inline(always)]
    pub fn total_length(&self) -> u16 {
        be16(self.0.borrow(), 2)
    }

    /// Whether this is a fragment: it has "more fragments" or an offset.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        be16(self.0.borrow(), 6) & 0x3fff != 0
    }

    /// Whether a fragment begins with the payload's own header: its offset is 0.
    #[inline(always)]
    pub fn is_first_fragment(&self) -> bool {
        be16(self.0.borrow(), 6) & 0x1fff == 0
    }

    /// Whether routers must not fragment the packet.
    #[inline(always)]
    pub fn dont_fragment(&self) -> bool {
        be16(self.0.borrow(), 6) & DONT_FRAGMENT != 0
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        self.0.borrow()[1]
    }

    /// The remaining hops.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        self.0.borrow()[8]
    }

    /// The payload's protocol number.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.0.borrow()[9]
    }

    /// The sender.
    #[inline(always)]
    pub fn source(&self) -> Address {
        Address::v4(raw32(self.0.borrow(), 12))
    }

    /// The receiver.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        Address::v4(raw32(self.0.borrow(), 16))
    }
}

impl<T: BorrowMut<[u8; LENGTH]>> Ipv4<T> {
    /// Decrements the TTL, which must not be 0, and updates the checksum (RFC 1624).
    #[inline(always)]
    pub fn decrement_ttl(&mut self) {
        let b = self.0.borrow_mut();
        let old = be16(b, 8);
        let checksum = Sum(0).replace_u16(old, old - 0x100).update([b[10], b[11]]);
        b[8] -= 1;
        put(b, 10, checksum);
    }

    /// Sets the TTL and updates the checksum (RFC 1624).
    pub fn set_ttl(&mut self, ttl: u8) {
        let b = self.0.borrow_mut();
        let old = be16(b, 8);
        let new = u16::from_be_bytes([ttl, b[9]]);
        let checksum = Sum(0).replace_u16(old, new).update([b[10], b[11]]);
        b[8] = ttl;
        put(b, 10, checksum);
    }

    /// Writes a whole IPv4 header for TCP, without options; both addresses must be IPv4. `total_length`: header and payload in
    /// bytes.
    #[inline(always)]
    pub fn emit(&mut self, source: &Address, destination: &Address, class: u8, total_length: u16) {
        let b = self.0.borrow_mut();
        put(b, 0, [0x45, class]);
        put(b, 2, total_length.to_be_bytes());
        put(b, 4, (DONT_FRAGMENT as u32).to_be_bytes()); // identification 0 (RFC 6864 §4.1)
        put(b, 8, [TTL, protocol::TCP, 0, 0]);
        put(b, 12, source.0[3].to_ne_bytes());
        put(b, 16, destination.0[3].to_ne_bytes());
        let sum = Sum(0)
            .u16(u16::from_be_bytes([0x45, class]))
            .u16(total_length)
            .u16(DONT_FRAGMENT)
            .u16(u16::from_be_bytes([TTL, protocol::TCP]))
            .word(source.0[3])
            .word(destination.0[3]);
        put(b, 10, sum.checksum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_checksum_is_correct_when_emitted_and_after_a_hop() {
        let a = Address::v4(0x0102_0304);
        let mut header = Ipv4([0u8; LENGTH]);
        header.emit(&a, &Address::v4(0xfffe_fdfc), 2, 60);
        assert!(header.is_sound() && header.dont_fragment() && !header.is_fragment());
        assert_eq!(Sum(0).bytes(&header.0).fold(), 0xffff);
        header.decrement_ttl();
        assert_eq!((header.ttl(), Sum(0).bytes(&header.0).fold()), (63, 0xffff));
        header.set_ttl(254);
        assert_eq!(
            (header.ttl(), Sum(0).bytes(&header.0).fold()),
            (254, 0xffff)
        );
    }
}

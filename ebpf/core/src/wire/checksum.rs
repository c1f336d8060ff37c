//! The Internet checksum, in full (RFC 1071) and incrementally (RFC 1624).
//!
//! Sums are kept unfolded in 64 bits, over the bytes in memory order: one's-complement addition does not depend on the byte
//! order (RFC 1071 §2 B). So nothing is swapped; checksums too are compared and stored in memory order.

use super::Address;

/// An unfolded one's-complement sum of 16-bit words in memory order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(pub u64);

impl Sum {
    /// Adds a 32-bit word in memory order (two 16-bit words at once).
    #[inline(always)]
    pub const fn word(self, raw: u32) -> Self {
        Self(self.0 + raw as u64)
    }

    /// Adds a 16-bit value given in host order.
    #[inline(always)]
    pub const fn u16(self, value: u16) -> Self {
        Self(self.0 + value.to_be() as u64)
    }

    /// Adds a 32-bit value given in host order.
    #[inline(always)]
    pub const fn u32(self, value: u32) -> Self {
        self.word(value.to_be())
    }

    /// Adds an address: the pseudo header of IPv4 (RFC 9293 §3.1) or IPv6 (RFC 8200 §8.1).
    #[inline(always)]
    pub const fn address(self, address: &Address) -> Self {
        if address.is_v4() {
            self.word(address.0[3])
        } else {
            self.word(address.0[0])
                .word(address.0[1])
                .word(address.0[2])
                .word(address.0[3])
        }
    }

    /// Adds bytes that start at an even offset of the message. An odd last byte is padded with zero.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            self = self.word(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
        let mut last = [0u8; 4];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.word(u32::from_ne_bytes(last))
    }

    /// Adds the change of a 16-bit field (host order) at an even offset: `~old + new` (RFC 1624 equation 3).
    #[inline(always)]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old).to_be() as u64 + new.to_be() as u64)
    }

    /// Adds the change of a 32-bit field (host order) at an even offset.
    #[inline(always)]
    pub const fn replace_u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old).to_be() as u64 + new.to_be() as u64)
    }

    /// Adds the change of a 32-bit field (host order) at an odd offset. Its bytes are in the other halves of the 16-bit words;
    /// in one's-complement arithmetic that is a factor of 256.
    #[inline(always)]
    pub const fn replace_u32_odd(self, old: u32, new: u32) -> Self {
        Self(self.0 + ((!old).to_be() as u64 + new.to_be() as u64) * 256)
    }

    /// The sum folded into 16 bits, in memory order.
    #[inline(always)]
    pub const fn fold(self) -> u16 {
        // Adding the rotated sum puts the sum of both halves, with its carry, into the upper half.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        sum as u16
    }

    /// The checksum field of a message with this sum, in memory order. The field itself counts as zero.
    #[inline(always)]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The checksum field after the changes in this sum, from the `old` one (RFC 1624 equation 3); in memory order.
    #[inline(always)]
    pub const fn update(self, old: [u8; 2]) -> [u8; 2] {
        Self(self.0 + (!u16::from_ne_bytes(old)) as u64).checksum()
    }
}

/// The sum of a TCP pseudo header; `length` is the length of TCP header and payload in bytes.
#[inline(always)]
pub const fn pseudo_header(source: &Address, destination: &Address, length: u16) -> Sum {
    Sum(0)
        .address(source)
        .address(destination)
        .u16(length)
        .u16(super::protocol::TCP as u16)
}

/// Whether a TCP segment (header and payload) has a correct checksum.
pub fn segment_is_intact(source: &Address, destination: &Address, segment: &[u8]) -> bool {
    let Ok(length) = u16::try_from(segment.len()) else {
        return false;
    };
    pseudo_header(source, destination, length)
        .bytes(segment)
        .fold()
        == 0xffff
}

/// Whether the checksum of a TCP segment is the sum of its pseudo header alone: the sender's kernel left the rest to the
/// hardware (CHECKSUM_PARTIAL, Documentation/networking/checksum-offloads.rst). Of damaged segments, one in 65,536 is.
pub fn segment_is_unfinished(source: &Address, destination: &Address, segment: &[u8]) -> bool {
    let Ok(length) = u16::try_from(segment.len()) else {
        return false;
    };
    let sum = pseudo_header(source, destination, length).fold();
    segment.get(16..18) == Some(&sum.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of RFC 1071 §3.
    #[test]
    fn rfc_1071_example() {
        let sum = Sum(0).bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold().to_ne_bytes(), [0xdd, 0xf2]);
    }

    /// The example of RFC 1624 §4, where the older equation 2 yields the wrong zero.
    #[test]
    fn rfc_1624_example() {
        assert_eq!(
            Sum(0).replace_u16(0x5555, 0x3285).update([0xdd, 0x2f]),
            [0x00, 0x00]
        );
    }

    #[test]
    fn updates_at_odd_offsets_equal_a_full_sum() {
        let mut message = [7u8, 1, 2, 3, 4, 250, 251, 252, 9, 9];
        let before = Sum(0).bytes(&message).checksum();
        let old = u32::from_be_bytes([1, 2, 3, 4]);
        message[1..5].copy_from_slice(&0xfedc_ba98u32.to_be_bytes());
        let after = Sum(0).bytes(&message).checksum();
        assert_eq!(
            Sum(0).replace_u32_odd(old, 0xfedc_ba98).update(before),
            after
        );
    }
}

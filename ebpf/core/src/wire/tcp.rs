//! TCP (RFC 9293 §3.1).

use super::{be16, be32, put};
use core::borrow::{Borrow, BorrowMut};

/// Bytes of the header without options.
pub const LENGTH: usize = 20;
/// The most bytes of options.
pub const MAX_OPTIONS: usize = 40;

/// Header flags (RFC 9293 §3.1; ECE and CWR: RFC 3168 §6.1).
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is valid.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is valid.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// The fixed part of a TCP header.
pub struct Tcp<T>(pub T);

impl<T: Borrow<[u8; LENGTH]>> Tcp<T> {
    /// The sender's port.
    #[inline(always)]
    pub fn source(&self) -> u16 {
        be16(self.0.borrow(), 0)
    }

    /// The receiver's port.
    #[inline(always)]
    pub fn destination(&self) -> u16 {
        be16(self.0.borrow(), 2)
    }

    /// SEG.SEQ.
    #[inline(always)]
    pub fn sequence(&self) -> u32 {
        be32(self.0.borrow(), 4)
    }

    /// SEG.ACK.
    #[inline(always)]
    pub fn acknowledgement(&self) -> u32 {
        be32(self.0.borrow(), 8)
    }

    /// Bytes of the header with its options, 0 to 60.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        (self.0.borrow()[12] >> 4) as usize * 4
    }

    /// The flags, see [`flags`].
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.0.borrow()[13]
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.flags() & flags == flags
    }

    /// SEG.WND, not scaled.
    #[inline(always)]
    pub fn window(&self) -> u16 {
        be16(self.0.borrow(), 14)
    }

    /// The checksum, in memory order.
    #[inline(always)]
    pub fn checksum(&self) -> [u8; 2] {
        let b = self.0.borrow();
        [b[16], b[17]]
    }
}

impl<T: BorrowMut<[u8; LENGTH]>> Tcp<T> {
    /// Sets SEG.SEQ. The caller updates the checksum, also after the other setters.
    #[inline(always)]
    pub fn set_sequence(&mut self, sequence: u32) {
        put(self.0.borrow_mut(), 4, sequence.to_be_bytes());
    }

    /// Sets SEG.ACK.
    #[inline(always)]
    pub fn set_acknowledgement(&mut self, acknowledgement: u32) {
        put(self.0.borrow_mut(), 8, acknowledgement.to_be_bytes());
    }

    /// Sets SEG.WND.
    #[inline(always)]
    pub fn set_window(&mut self, window: u16) {
        put(self.0.borrow_mut(), 14, window.to_be_bytes());
    }

    /// Sets the checksum, given in memory order.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: [u8; 2]) {
        put(self.0.borrow_mut(), 16, checksum);
    }
}

/// The fields of a header, except for options and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// SEG.SEQ.
    pub sequence: u32,
    /// SEG.ACK.
    pub acknowledgement: u32,
    /// The flags, see [`flags`].
    pub flags: u8,
    /// SEG.WND, not scaled.
    pub window: u16,
    /// Bytes of options that follow the fixed header: a multiple of 4, at most 40.
    pub options: u8,
}

impl Repr {
    /// Writes the fixed header with a zero checksum.
    #[inline(always)]
    pub fn emit(&self, b: &mut [u8; LENGTH]) {
        put(b, 0, self.source.to_be_bytes());
        put(b, 2, self.destination.to_be_bytes());
        put(b, 4, self.sequence.to_be_bytes());
        put(b, 8, self.acknowledgement.to_be_bytes());
        put(b, 12, [(LENGTH as u8 + self.options) << 2, self.flags]);
        put(b, 14, self.window.to_be_bytes());
        put(b, 16, [0; 4]);
    }

    /// Adds the fixed header to `sum`, for the checksum.
    #[inline(always)]
    pub const fn sum(&self, sum: super::checksum::Sum) -> super::checksum::Sum {
        sum.u16(self.source)
            .u16(self.destination)
            .u32(self.sequence)
            .u32(self.acknowledgement)
            .u16(u16::from_be_bytes([
                (LENGTH as u8 + self.options) << 2,
                self.flags,
            ]))
            .u16(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checksum::Sum;
    use super::*;

    #[test]
    fn emitted_fields_read_back() {
        let repr = Repr {
            source: 1,
            destination: 0xfffe,
            sequence: 0x0102_0304,
            acknowledgement: 0xf0f1_f2f3,
            flags: flags::SYN | flags::ACK,
            window: 14600,
            options: 20,
        };
        let mut bytes = [0u8; LENGTH];
        repr.emit(&mut bytes);
        assert_eq!(repr.sum(Sum(0)).fold(), Sum(0).bytes(&bytes).fold());
        let tcp = Tcp(&bytes);
        assert_eq!((tcp.source(), tcp.destination()), (1, 0xfffe));
        assert_eq!(
            (tcp.sequence(), tcp.acknowledgement()),
            (0x0102_0304, 0xf0f1_f2f3)
        );
        assert_eq!((tcp.header_length(), tcp.window()), (40, 14600));
        assert!(tcp.has(flags::SYN | flags::ACK) && !tcp.has(flags::RST));
    }
}

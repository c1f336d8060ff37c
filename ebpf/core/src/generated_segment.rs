//! Segments that synward generates: SYN-ACKs, RSTs, and those that open the connection to the server.

use crate::wire::Address;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tcp::{self, Repr, Tcp, flags};
use crate::wire::tcp_options::kind;

/// The most 4-byte words of options: MSS, SACK permitted and timestamps, window scale.
pub const MAX_OPTION_WORDS: usize = 5;

/// The headers of a TCP segment, without IP options or extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sender.
    pub source: Address,
    /// The receiver, of the same family.
    pub destination: Address,
    /// The TCP header; its `options` is the number of bytes of [`Self::options`] that are sent.
    pub tcp: Repr,
    /// The options, as words of network-order bytes; words that are not sent are zero.
    pub options: [u32; MAX_OPTION_WORDS],
}

impl Segment {
    /// A segment with all fields zero, to be written over.
    pub const NONE: Self = Self {
        source: Address([0; 4]),
        destination: Address([0; 4]),
        tcp: Repr {
            source: 0,
            destination: 0,
            sequence: 0,
            acknowledgement: 0,
            flags: 0,
            window: 0,
            options: 0,
        },
        options: [0; MAX_OPTION_WORDS],
    };

    /// The number of words of [`Self::options`] that are sent.
    #[inline(always)]
    pub const fn option_words(&self) -> usize {
        self.tcp.options as usize / 4
    }

    /// Bytes of the TCP header with its options.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        tcp::LENGTH + self.tcp.options as usize
    }

    /// Writes the fixed IPv4 and TCP headers, checksums included, of a segment without payload.
    #[inline(always)]
    pub fn emit_v4(&self, ip: &mut [u8; 20], header: &mut [u8; 20]) {
        Ipv4(ip).emit(
            &self.source,
            &self.destination,
            0,
            20 + self.header_length() as u16,
        );
        self.emit_tcp(header, Sum(0), 0);
    }

    /// Writes the fixed IPv6 and TCP headers, checksum included, of a segment without payload.
    #[inline(always)]
    pub fn emit_v6(&self, ip: &mut [u8; 40], header: &mut [u8; 20]) {
        Ipv6(ip).emit(
            &self.source,
            &self.destination,
            0,
            self.header_length() as u16,
        );
        self.emit_tcp(header, Sum(0), 0);
    }

    /// Writes the options to `area`, the bytes behind the fixed header; words that do not fit are left out.
    #[inline(always)]
    pub fn emit_options(&self, area: &mut [u8]) {
        for (bytes, word) in area
            .chunks_exact_mut(4)
            .zip(&self.options[..self.option_words()])
        {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
    }

    /// Writes the whole packet with `payload` to the start of `packet` and returns its length in bytes; `None` if it does
    /// not fit.
    pub fn emit(&self, packet: &mut [u8], payload: &[u8]) -> Option<usize> {
        let ip_length = if self.source.is_v4() { 20 } else { 40 };
        let head = ip_length + self.header_length();
        let packet = packet.get_mut(..head + payload.len())?;
        let segment_length = u16::try_from(self.header_length() + payload.len()).ok()?;
        if self.source.is_v4() {
            let ip: &mut [u8; 20] = packet.first_chunk_mut()?;
            Ipv4(ip).emit(
                &self.source,
                &self.destination,
                0,
                segment_length.checked_add(20)?,
            );
        } else {
            let ip: &mut [u8; 40] = packet.first_chunk_mut()?;
            Ipv6(ip).emit(&self.source, &self.destination, 0, segment_length);
        }
        let segment = &mut packet[ip_length..];
        let header: &mut [u8; 20] = segment.first_chunk_mut()?;
        self.emit_tcp(header, Sum(0).bytes(payload), payload.len() as u16);
        self.emit_options(&mut segment[tcp::LENGTH..]);
        segment[self.header_length()..].copy_from_slice(payload);
        Some(head + payload.len())
    }

    #[inline(always)]
    fn emit_tcp(&self, header: &mut [u8; 20], payload: Sum, payload_length: u16) {
        self.tcp.emit(header);
        let length = self.header_length() as u16 + payload_length;
        let mut sum = self
            .tcp
            .sum(pseudo_header(&self.source, &self.destination, length));
        let mut i = 0;
        while i < MAX_OPTION_WORDS {
            sum = sum.word(self.options[i]);
            i += 1;
        }
        // The payload's sum is folded first, so that the total cannot overflow.
        sum = sum.word(payload.fold() as u32);
        Tcp(header).set_checksum(sum.checksum());
    }
}

/// The options of a SYN or SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeOptions {
    /// MSS in bytes.
    pub mss: u16,
    /// Whether SACK is permitted.
    pub sack: bool,
    /// TSval and TSecr.
    pub times: Option<(u32, u32)>,
    /// The window shift, 0–14.
    pub scale: Option<u8>,
}

const fn word(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

impl HandshakeOptions {
    /// The options as 4-byte words, and the number of words that they take.
    #[inline(always)]
    pub const fn words(&self) -> ([u32; MAX_OPTION_WORDS], u8) {
        let [high, low] = self.mss.to_be_bytes();
        let mut words = [word([kind::MSS, 4, high, low]), 0, 0, 0, 0];
        let mut count = 1;
        if let Some((tsval, tsecr)) = self.times {
            words[1] = if self.sack {
                word([kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10])
            } else {
                word([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10])
            };
            words[2] = tsval.to_be();
            words[3] = tsecr.to_be();
            count = 4;
        } else if self.sack {
            words[1] = word([kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]);
            count = 2;
        }
        if let Some(scale) = self.scale {
            let scale = word([kind::NOP, kind::WINDOW_SCALE, 3, scale]);
            // With constant indices the XDP program keeps the array in registers.
            match count {
                1 => words[1] = scale,
                2 => words[2] = scale,
                _ => words[4] = scale,
            }
            count += 1;
        }
        (words, count)
    }
}

/// `NOP NOP TS`, the options of every segment after the handshake, and the number of words that they take.
#[inline(always)]
pub const fn padded_timestamps(tsval: u32, tsecr: u32) -> ([u32; MAX_OPTION_WORDS], u8) {
    let head = word([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]);
    ([head, tsval.to_be(), tsecr.to_be(), 0, 0], 3)
}

/// The RST for a segment `received` by `destination` from `source` that matches no flow (RFC 9293 §3.10.7.1). `length` is its
/// SEG.LEN, SYN and FIN included. The segment must not be a RST itself.
#[inline(always)]
pub const fn reset_for(
    source: Address,
    destination: Address,
    received: &Repr,
    length: u32,
) -> Segment {
    let (sequence, acknowledgement, flags) = if received.flags & flags::ACK != 0 {
        (received.acknowledgement, 0, flags::RST)
    } else {
        (
            0,
            received.sequence.wrapping_add(length),
            flags::RST | flags::ACK,
        )
    };
    Segment {
        source: destination,
        destination: source,
        tcp: Repr {
            source: received.destination,
            destination: received.source,
            sequence,
            acknowledgement,
            flags,
            window: 0,
            options: 0,
        },
        options: [0; MAX_OPTION_WORDS],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::segment_is_intact;

    #[test]
    fn checksums_cover_payloads_of_any_length() {
        for v4 in [true, false] {
            let (source, destination) = if v4 {
                (Address::v4(1), Address::v4(2))
            } else {
                (Address([1, 0, 0, 9]), Address([2, 0, 0, 9]))
            };
            let (options, words) = padded_timestamps(3, 4);
            let tcp = Repr {
                source: 1,
                destination: 2,
                sequence: 3,
                acknowledgement: 4,
                flags: flags::ACK,
                window: 5,
                options: words * 4,
            };
            let segment = Segment {
                source,
                destination,
                tcp,
                options,
            };
            let payload = [0xa5u8; 1460];
            for length in 0..payload.len() {
                let mut packet = [0u8; 1600];
                let end = segment.emit(&mut packet, &payload[..length]).expect("room");
                let ip = if v4 { 20 } else { 40 };
                assert_eq!(end, ip + 32 + length);
                assert!(segment_is_intact(&source, &destination, &packet[ip..end]));
            }
            assert_eq!(segment.emit(&mut [0; 60], &payload), None);
        }
    }
}

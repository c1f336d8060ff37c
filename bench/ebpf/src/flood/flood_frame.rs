//! Writing one segment: the template, then the fields that vary, then the checksums.

use crate::flood_plan::{self, Segment};
use crate::random;

const IPV4: usize = 14;
const IPV6: usize = 14;
const TCP_OVER_IPV4: usize = IPV4 + 20;
const TCP_OVER_IPV6: usize = IPV6 + 40;

/// Writes `segment` with random fields to the frame at `data..end`; `false` if the frame is too short.
///
/// `bits` are 64 random bits whose lowest is in use already; more are drawn from `state`.
#[inline(always)]
pub(crate) fn write(
    data: usize,
    end: usize,
    segment: &Segment,
    ack: bool,
    bits: u64,
    state: &mut u64,
) -> bool {
    let length = segment.length.load() as usize;
    if data + length > end {
        return false;
    }
    let frame = Frame { data, length };
    frame.copy(segment);
    if flood_plan::KIND.load() == flood_plan::EXACT {
        return true;
    }

    let mut source = 0;
    let tcp = if flood_plan::FAMILY.load() == 4 {
        let low = random::next(state);
        for word in 0..2 {
            source += frame.source(IPV4 + 12, word, low >> (16 * word));
        }
        frame.put(IPV4 + 10, checksum(segment.ip_sum.load() + source));
        TCP_OVER_IPV4
    } else {
        let (high, low) = (random::next(state), random::next(state));
        for word in 0..4 {
            source += frame.source(IPV6 + 8, word, high >> (16 * word));
            source += frame.source(IPV6 + 8, word + 4, low >> (16 * word));
        }
        TCP_OVER_IPV6
    };

    let port = 1024 + ((bits >> 48) as u32 * (65536 - 1024) >> 16);
    let mut sum = segment.tcp_sum.load() + source;
    sum += frame.put(tcp, (port as u16).to_be());
    sum += frame.put_u32(tcp + 4, (bits >> 16) as u32);
    let tsval = segment.tsval.load() as usize;
    if ack || tsval != 0 {
        let more = random::next(state);
        if tsval != 0 {
            sum += frame.put_u32(tsval, more as u32);
        }
        if ack {
            sum += frame.put_u32(tcp + 8, (more >> 32) as u32);
            if tsval != 0 {
                sum += frame.put_u32(tsval + 4, (more >> 16) as u32);
            }
        }
    }
    frame.put(tcp + 16, checksum(sum));
    true
}

/// The one's complement of the one's complement sum (RFC 1071): the same in any byte order.
#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !sum as u16
}

/// A frame whose first `length` bytes may be written.
struct Frame {
    data: usize,
    length: usize,
}

impl Frame {
    /// Copies the template. It is unrolled by hand, because LLVM would make a loop of it: the verifier knows the length and
    /// removes what is not needed.
    #[inline(always)]
    fn copy(&self, segment: &Segment) {
        self.copy_word(segment, 0);
        self.copy_word(segment, 1);
        self.copy_word(segment, 2);
        self.copy_word(segment, 3);
        self.copy_word(segment, 4);
        self.copy_word(segment, 5);
        self.copy_word(segment, 6);
        self.copy_word(segment, 7);
        self.copy_word(segment, 8);
        self.copy_word(segment, 9);
        self.copy_word(segment, 10);
        self.copy_word(segment, 11);
        self.copy_word(segment, 12);
    }

    /// Copies eight bytes of the template, or those that are left, in pairs.
    #[inline(always)]
    fn copy_word(&self, segment: &Segment, word: usize) {
        let (at, value) = (8 * word, segment.words[word].load());
        if at + 8 <= self.length {
            // SAFETY: at + 8 is within the length that `write` compared with the frame's end, and a frame
            // starts on a multiple of eight (XDP_PACKET_HEADROOM in a page).
            unsafe { ((self.data + at) as *mut u64).write(value) };
        } else {
            for pair in 0..3 {
                self.put(at + 2 * pair, (value >> (16 * pair)) as u16);
            }
        }
    }

    /// Writes one word of the source address; returns what it adds to a checksum.
    #[inline(always)]
    fn source(&self, at: usize, word: usize, random: u64) -> u32 {
        let random = random as u16 & flood_plan::SOURCE_RANDOM[word].load();
        self.put(at + 2 * word, flood_plan::SOURCE[word].load() | random)
    }

    /// Writes two bytes at an even offset, if that is in the frame; returns what they add to a checksum.
    #[inline(always)]
    fn put(&self, at: usize, value: u16) -> u32 {
        if at + 2 <= self.length {
            // SAFETY: the place is within the frame (as in `copy`), and even.
            unsafe { ((self.data + at) as *mut u16).write(value) };
        }
        value.into()
    }

    #[inline(always)]
    fn put_u32(&self, at: usize, value: u32) -> u32 {
        self.put(at, value as u16) + self.put(at + 2, (value >> 16) as u16)
    }
}

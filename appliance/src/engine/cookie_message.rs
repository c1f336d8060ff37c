//! Reads packet headers as the 64-bit little-endian words of a cookie's message (see
//! [`synward_core::cookie`]).

use synward_core::wire::checksum::Sum;

/// Ports and sequence number of a TCP header, laid out as in the message.
#[inline(always)]
pub fn ports_and_sequence<const N: usize>(segment: &[u8; N]) -> u64 {
    let word = read_word(segment, 0);
    word & 0xffff_ffff | word.swap_bytes() << 32
}

/// The checksum sum of `few`, which is a sum of a few 32-bit words, and of the memory in `words`.
#[inline(always)]
pub fn sum_words<const N: usize>(few: u64, words: [u64; N]) -> Sum {
    // One's complement: an end-around carry is added, here together with the next word.
    let (sum, carry) = words
        .iter()
        .fold((0, false), |(sum, carry): (u64, _), word| {
            sum.carrying_add(word.to_le(), carry)
        });
    // Adding the last carry cannot overflow, because `few` is small.
    let (sum, carry) = sum.carrying_add(few, carry);
    Sum(sum.wrapping_add(carry.into()))
}

/// Reads eight bytes as a word of a message. `at` must be a constant within `N`.
#[inline(always)]
pub fn read_word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Writes a word of a message. `at` must be a constant within the slice.
#[inline(always)]
pub fn write_word(bytes: &mut [u8], at: usize, word: u64) {
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
}

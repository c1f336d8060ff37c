//! Headers as the words of a cookie's message: eight bytes of memory, little-endian (see
//! [`synward_core::cookie`]).

use synward_core::wire::checksum::Sum;

/// Ports and sequence number of a TCP header, as the message has them.
#[inline(always)]
pub(super) fn ports_and_sequence<const N: usize>(segment: &[u8; N]) -> u64 {
    let word = read_word(segment, 0);
    word & 0xffff_ffff | word.swap_bytes() << 32
}

/// The sum of `few`, which holds a few words of 32 bits, and of the memory in `words`.
#[inline(always)]
pub(super) fn sum_words<const N: usize>(few: u64, words: [u64; N]) -> Sum {
    // One's complement: a carry comes in again at the other end, here with the next word.
    let (sum, carry) = words
        .iter()
        .fold((0, false), |(sum, carry): (u64, _), word| {
            sum.carrying_add(word.to_le(), carry)
        });
    // The last carry leaves room for itself, since `few` is small.
    let (sum, carry) = sum.carrying_add(few, carry);
    Sum(sum.wrapping_add(carry.into()))
}

/// Eight bytes as a word of a message. `at` must be a constant inside `N`.
#[inline(always)]
pub(super) fn read_word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Writes a word of a message. `at` must be a constant inside the slice.
#[inline(always)]
pub(super) fn write_word(bytes: &mut [u8], at: usize, word: u64) {
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
}

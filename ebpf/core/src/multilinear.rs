//! Multilinear hashing (Carter and Wegman, "Universal classes of hash functions", 1979; with 64-bit keys for 32-bit words:
//! Lemire and Kaser, "Strongly universal string hashing is fast", 2014): one multiplication a word.
//!
//! The sum of the words, each multiplied by a random number of its own, modulo 2⁶⁴. Without these numbers nobody can choose
//! two messages that collide more often than random ones. A mixer spreads the upper bits of the sum, which are the best,
//! over all bits, and hides that the sum is linear. This is not a pseudorandom function: it places entries and
//! authenticates nothing.

/// Words of a message: two addresses and the ports.
pub const WORDS: usize = 9;

/// A random number for each word, and one more. They must be independent: dependent ones let messages collide.
pub type Key = [u64; WORDS + 1];

/// Fractional digits of pi: as good as random, but public. For tests and measurements only.
pub const PI: Key = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
    0x9216_d5d9_8979_fb1b,
    0xd131_0ba6_98df_b5ac,
];

/// The 64-bit hash of a message.
#[inline(always)]
pub const fn multilinear_hash(key: &Key, message: [u32; WORDS]) -> u64 {
    mix_bits(multilinear_sum(key, message))
}

/// The sum before mixing. If some words of the message are zero, their products may be added to it later.
#[inline(always)]
pub const fn multilinear_sum(key: &Key, message: [u32; WORDS]) -> u64 {
    let mut sum = key[WORDS];
    let mut i = 0;
    while i < WORDS {
        sum = sum.wrapping_add(key[i].wrapping_mul(message[i] as u64));
        i += 1;
    }
    sum
}

/// A permutation in which every output bit depends on every input bit (Stafford's variant 13 of MurmurHash3's mixer, as in
/// SplitMix64).
#[inline(always)]
pub const fn mix_bits(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    extern crate std;

    /// SplitMix64's n-th output is this mixer of its state plus n times the golden ratio; here the state is 1234567.
    #[test]
    fn the_mixer_is_that_of_splitmix64() {
        let next =
            |n: u64| mix_bits(1_234_567u64.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        assert_eq!(next(1), 6_457_827_717_110_365_317);
        assert_eq!(next(2), 3_203_168_211_198_807_973);
        assert_eq!(next(3), 9_817_491_932_198_370_423);
    }

    /// Whichever word counts up, and from whichever byte: neither half of the hash crowds.
    #[test]
    fn messages_that_differ_in_one_word_spread_evenly() {
        const BINS: usize = 256;
        const MESSAGES: usize = 256 * BINS;
        for word in 0..WORDS {
            for shift in [0, 8, 16] {
                for half in [0, 32] {
                    let mut bins = vec![0u32; BINS];
                    for n in 0..MESSAGES {
                        let mut message = [7; WORDS];
                        message[word] = (n as u32) << shift;
                        bins[(multilinear_hash(&PI, message) >> half) as usize % BINS] += 1;
                    }
                    // Expected: 256 a bin, with a standard deviation of 16.
                    let (least, most) = (bins.iter().min(), bins.iter().max());
                    assert!(
                        least > Some(&160) && most < Some(&352),
                        "word {word} << {shift}, bits {half}: {least:?} to {most:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_word_changes_the_hash() {
        let base = multilinear_hash(&PI, [1; WORDS]);
        for word in 0..WORDS {
            let mut message = [1; WORDS];
            message[word] ^= 1 << 31;
            assert_ne!(multilinear_hash(&PI, message), base, "word {word}");
        }
    }
}

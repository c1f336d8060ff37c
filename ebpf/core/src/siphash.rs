//! SipHash-c-d (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
//!
//! `Hasher<2, 4>` authenticates cookies; `Hasher<1, 3>` makes the fingerprints of the replay cache.

/// A SipHash in progress: `C` compression rounds a word, `D` finalization rounds.
#[derive(Clone, Copy)]
pub struct Hasher<const C: usize, const D: usize> {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl<const C: usize, const D: usize> Hasher<C, D> {
    /// Starts with a 128-bit key, given as two little-endian words.
    #[inline(always)]
    pub const fn new(key: &[u64; 2]) -> Self {
        Self {
            v0: key[0] ^ 0x736f_6d65_7073_6575,
            v1: key[1] ^ 0x646f_7261_6e64_6f6d,
            v2: key[0] ^ 0x6c79_6765_6e65_7261,
            v3: key[1] ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    const fn round(mut self) -> Self {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
        self
    }

    /// Absorbs eight bytes of the message as a little-endian word.
    #[inline(always)]
    pub const fn word(mut self, message: u64) -> Self {
        self.v3 ^= message;
        let mut round = 0;
        while round < C {
            self = self.round();
            round += 1;
        }
        self.v0 ^= message;
        self
    }

    /// Absorbs the last 0 to 7 bytes and the length of the whole message in bytes, and returns the hash.
    #[inline(always)]
    pub const fn finish(self, tail: u64, length: u8) -> u64 {
        let mut state = self.word(tail | (length as u64) << 56);
        state.v2 ^= 0xff;
        let mut round = 0;
        while round < D {
            state = state.round();
            round += 1;
        }
        state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's appendix A: key 00..0f, message 00..0e.
    #[test]
    fn hash_equals_the_papers_test_vector() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let hash = Hasher::<2, 4>::new(&key)
            .word(0x0706_0504_0302_0100)
            .finish(0x000e_0d0c_0b0a_0908, 15);
        assert_eq!(hash, 0xa129_ca61_49be_45e5);
    }
}

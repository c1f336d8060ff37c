//! SipHash-2-4 of up to 64 short messages with SIMD: eight at a time, each with its own key.
//!
//! The cookies of a batch make up most of its cost, and they are independent of each other: vector
//! instructions compute eight of them in the time of two or three.
//!
//! | file | idea |
//! |---|---|
//! | [`messages`] | the messages, word by word |
//! | `rounds` | SipHash over vectors, generic over the instruction set |
//! | `avx512` | eight messages in one register |
//! | `avx2` | eight messages in two |
//! | `scalar` | one message at a time, on every processor; the reference for the others |
//!
//! There is no NEON version: with two messages per register, and three instructions for a rotation that is
//! one instruction in scalar code, it would gain nothing.
//!
//! This module contains unsafe code: the vector functions themselves are safe, but calling one is sound only
//! on a processor that has its instructions.
#![allow(unsafe_code)] // calls functions that need instructions

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod messages;
#[cfg(target_arch = "x86_64")]
mod rounds;
mod scalar;

pub use messages::Messages;

/// An implementation that this machine's processor supports. Chosen once, at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashBackend(Kind);

/// Private, so that a [`HashBackend`] exists only if the processor supports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

/// Up to this many messages, hashing one at a time is faster than hashing eight at once.
const FEW: usize = 2;

impl HashBackend {
    /// One message at a time, on every processor.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// All implementations that this processor supports, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let kinds = [
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx512f").then_some(Kind::Avx512),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx2").then_some(Kind::Avx2),
            Some(Kind::Scalar),
        ];
        kinds.into_iter().flatten().map(Self)
    }

    /// The fastest implementation.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::SCALAR)
    }

    /// Its name, for benchmarks.
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Scalar => "scalar",
        }
    }

    /// Hashes all messages.
    #[inline]
    pub fn hash_all<const W: usize>(self, messages: &mut Messages<W>) {
        if messages.count() <= FEW {
            return scalar::hash(messages);
        }
        match self.0 {
            // SAFETY: a `Kind::Avx512` is made in `available` alone, after the processor reported
            // AVX-512F, the only feature that the function requires.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::hash(messages) },
            // SAFETY: as above, with AVX2.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::hash(messages) },
            Kind::Scalar => scalar::hash(messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synward_core::siphash::Hasher;

    /// Compares full and partly full batches of IPv4 and IPv6 messages with the hash that XDP uses.
    #[test]
    fn every_backend_hashes_like_the_core_library() {
        for backend in HashBackend::available() {
            for count in [0, 1, 7, 8, 9, 63, 64] {
                compare::<3>(backend, count);
                compare::<6>(backend, count);
            }
        }
    }

    fn compare<const W: usize>(backend: HashBackend, count: usize) {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed ^ seed >> 29
        };
        for _ in 0..if cfg!(debug_assertions) { 50 } else { 5000 } {
            let mut messages = Messages::<W>::default();
            let mut expected = Vec::new();
            for lane in 0..count {
                let key = [random(), random()];
                let mut words: [u64; W] = std::array::from_fn(|_| random());
                words[W - 1] &= 0xff_ffff;
                let hasher = words[..W - 1]
                    .iter()
                    .fold(Hasher::<2, 4>::new(&key), |hasher, word| hasher.word(*word));
                expected.push(hasher.finish(words[W - 1], 19));
                words[W - 1] |= 19 << 56;
                assert_eq!(messages.push(&key, &words), Some(lane));
            }
            backend.hash_all(&mut messages);
            for (lane, expected) in expected.iter().enumerate() {
                assert_eq!(messages.hash(lane), *expected, "{} {lane}", backend.name());
            }
        }
    }

    #[test]
    fn a_batch_is_full_after_64_messages() {
        let mut messages = Messages::<3>::default();
        for lane in 0..64 {
            assert_eq!(messages.push(&[1, 2], &[3; 3]), Some(lane));
        }
        assert_eq!(messages.push(&[1, 2], &[3; 3]), None);
        messages.clear();
        assert_eq!(messages.push(&[1, 2], &[3; 3]), Some(0));
    }
}

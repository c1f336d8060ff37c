//! HashBackend: SipHash-2-4 of up to 64 short messages, eight at a time, each under its own key.
//!
//! The cookies of a batch cost most of what the batch costs, and they do not depend on each other:
//! vector instructions make eight of them in the time of two or three.
//!
//! | file | idea |
//! |---|---|
//! | [`messages`] | what is hashed, word by word |
//! | `rounds` | SipHash over vectors, whatever their instructions are |
//! | `avx512` | eight messages in one register |
//! | `avx2` | eight messages in two |
//! | `scalar` | one after the other, on every processor; what the others are compared with |
//!
//! There is no `neon`: two messages a register, and three instructions for a rotation that the scalar
//! code gets in one, gain nothing.
//!
//! This is the third room with unsafe code: the vector functions themselves are safe, but calling one is
//! sound only on a processor that has its instructions.
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

/// A way to hash that this machine's processor has. Chosen once, at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashBackend(Kind);

/// Private, so that a [`HashBackend`] proves what its processor can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

/// So few messages are hashed sooner one after the other than as eight at once.
const FEW: usize = 2;

impl HashBackend {
    /// One message after the other, on every processor.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Every way that this processor has, the fastest first.
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

    /// The fastest way.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::SCALAR)
    }

    /// Its name, for reports.
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
            // SAFETY: a `Kind::Avx512` is made in `available` alone, after the processor said that it has
            // AVX-512F, the one feature that the function asks for.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::hash(messages) },
            // SAFETY: the same with AVX2.
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

    /// Full and partly full batches of IPv4 and IPv6 messages, against the hash that XDP uses.
    #[test]
    fn every_way_hashes_like_the_shared_library() {
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
    fn there_is_no_65th_lane() {
        let mut messages = Messages::<3>::default();
        for lane in 0..64 {
            assert_eq!(messages.push(&[1, 2], &[3; 3]), Some(lane));
        }
        assert_eq!(messages.push(&[1, 2], &[3; 3]), None);
        messages.clear();
        assert_eq!(messages.push(&[1, 2], &[3; 3]), Some(0));
    }
}

//! Derives service keys from a secret, and epoch keys from a service key.
//!
//! This is a wire contract: nodes that share a secret accept each other's cookies only if they derive the same keys.
//! All steps are HKDF with SHA-256 (RFC 5869), extract then expand:
//!
//! | | salt (ASCII, no NUL) | input key material | info | output |
//! |---|---|---|---|---|
//! | service key | `synward v1 service key` | the secret, 32 bytes | the service's name, ASCII | 32 bytes |
//! | replay-bound key | `synward v1 replay-bound key` | the service key | the replay cache's key, 2 × 8 bytes | 32 bytes |
//! | epoch key | `synward v1 epoch key` | the service key, or the replay-bound one | the epoch, 8 bytes | 16 bytes |
//!
//! Numbers are little-endian.
//!
//! The epoch is the unix time divided by 32 s. The epoch key's bytes 0–7 and 8–15, each read little-endian, are
//! SipHash's `k0` and `k1`.
//!
//! With `splice` the connections of a cookie are on one machine, so its cookies are made with a replay-bound key: they expire
//! together with the replay cache, which remembers which of them have opened their connection.

use hkdf::Hkdf;
use sha2::Sha256;
use synward_core::cookie::Key;

use super::key_material::{Secret, ServiceKey};

const SERVICE_SALT: &[u8] = b"synward v1 service key";
const FINGERPRINT_SALT: &[u8] = b"synward fingerprint";
const REPLAY_BOUND_SALT: &[u8] = b"synward v1 replay-bound key";
const EPOCH_SALT: &[u8] = b"synward v1 epoch key";

/// The key of the service of that name.
pub fn derive_service_key(secret: &Secret, service: &str) -> ServiceKey {
    ServiceKey(hkdf(SERVICE_SALT, &secret.0, service.as_bytes()))
}

/// The key of cookies that are valid only with the replay cache that has this key ([`Globals::replay_key`]).
///
/// [`Globals::replay_key`]: synward_core::layout::Globals::replay_key
pub fn bind_to_replay_cache(key: &ServiceKey, replay_key: Key) -> ServiceKey {
    let [low, high] = replay_key.map(u128::from);
    let info = (low | high << 64).to_le_bytes();
    ServiceKey(hkdf(REPLAY_BOUND_SALT, &key.0, &info))
}

/// The SipHash key `[k0, k1]` of a service in an epoch.
pub fn epoch_key(key: &ServiceKey, epoch: u64) -> Key {
    let bytes: [u8; 16] = hkdf(EPOCH_SALT, &key.0, &epoch.to_le_bytes());
    let words = u128::from_le_bytes(bytes);
    [words as u64, (words >> 64) as u64]
}

/// 16 hex digits that differ where keys do, and tell nothing about them.
pub(super) fn fingerprint(key: &[u8; 32]) -> String {
    let bytes: [u8; 8] = hkdf(FINGERPRINT_SALT, key, &[]);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

fn hkdf<const LENGTH: usize>(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; LENGTH] {
    const {
        assert!(
            LENGTH <= 255 * 32,
            "RFC 5869 §2.3: at most 255 times the hash's length"
        )
    };
    let mut output = [0; LENGTH];
    // It fails only for an output longer than the assertion above allows.
    let _ = Hkdf::<Sha256>::new(Some(salt), input).expand(info, &mut output);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendix A.1: the test vector, through the same call as above.
    #[test]
    fn hkdf_is_rfc_5869() {
        let salt: [u8; 13] = std::array::from_fn(|index| index as u8);
        let info: [u8; 10] = std::array::from_fn(|index| 0xf0 + index as u8);
        let output: [u8; 42] = hkdf(&salt, &[0x0b; 22], &info);
        let expected = [
            0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36,
            0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56,
            0xec, 0xc4, 0xc5, 0xbf, 0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65,
        ];
        assert_eq!(output, expected);
    }

    /// The values are pinned and were also computed with Python's hmac. A change breaks fleets of mixed versions.
    #[test]
    fn derivation_is_pinned() {
        let secret = Secret(std::array::from_fn(|index| index as u8));
        let key = derive_service_key(&secret, "web");
        assert_eq!(
            super::super::key_material::to_hex(&key.0),
            "44c98a8d7c06d697cb1a235668ee000fd8875295ec06441990fbdf17f1052f74"
        );
        assert_eq!(
            super::super::key_material::to_hex(&bind_to_replay_cache(&key, [1, 2]).0),
            "6a435e9bad3dc046c57c5e19a9065342d6e3d87d1cae2407a578c7b930b2ea0f"
        );
        assert_eq!(
            epoch_key(&key, 0),
            [0x4cc7_7ea6_4625_5698, 0xe2b3_bcde_36b9_fe6a]
        );
        assert_eq!(
            epoch_key(&key, 55_000_000),
            [0x5c96_b830_2827_d792, 0xa6f6_002d_3709_3bd8]
        );
    }

    #[test]
    fn each_replay_cache_has_its_own_key() {
        let web = derive_service_key(&Secret([7; 32]), "web");
        let bound = bind_to_replay_cache(&web, [1, 2]);
        assert_eq!(bound.0, bind_to_replay_cache(&web, [1, 2]).0);
        let others = [[1, 3], [2, 1], [0, 2]].map(|key| bind_to_replay_cache(&web, key));
        assert!(others.iter().all(|other| other.0 != bound.0));
        assert_ne!(bound.0, web.0);
    }

    #[test]
    fn every_service_and_epoch_has_its_own_key() {
        let secret = Secret([7; 32]);
        let (web, mail) = (
            derive_service_key(&secret, "web"),
            derive_service_key(&secret, "mail"),
        );
        assert_ne!(web.0, mail.0);
        assert_ne!(epoch_key(&web, 1), epoch_key(&mail, 1));
        assert_ne!(epoch_key(&web, 1), epoch_key(&web, 2));
        assert_ne!(
            epoch_key(&web, 1),
            epoch_key(&web, 1 << 56),
            "the byte order of the epoch matters"
        );
    }
}

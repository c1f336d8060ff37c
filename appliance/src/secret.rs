//! Secrets of the cookies: their generation, their file, and the derivation of keys per service and epoch.
//!
//! A *secret* is 32 random bytes that every node of a fleet shares. Each service key is derived from the secret, and the
//! SipHash key of each epoch is derived from the service key (`key_derivation` defines the steps). A machine that
//! serves one service can hold the key of that service only; it cannot forge cookies of other services.

#![forbid(unsafe_code)]

mod error;
mod key_derivation;
mod key_material;
mod secret_file;
mod service_name;

pub use error::Error;
pub use key_derivation::{bind_to_replay_cache, derive_service_key, epoch_key};
pub use key_material::{Secret, ServiceKey};
pub use secret_file::{Keyring, MAX_KEYS, service_line};
pub use service_name::{MAX_SERVICE_NAME, is_service_name};

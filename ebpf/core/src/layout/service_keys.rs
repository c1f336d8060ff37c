//! The keys of services, for each epoch.

use super::service_policy::Service;
use crate::cookie::Key;

/// Epochs for which the XDP program holds keys: it answers SYNs for more than an hour (256 epochs of 32 s) while no process
/// runs. A power of two.
pub const KEY_SLOTS: u32 = 256;
/// The most secrets that are accepted at a time.
pub const MAX_SECRETS: usize = 4;

/// The keys of one service for one epoch, in the slot of [`key_slot`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySlot {
    /// The epoch; another one means that the slot was not refreshed.
    pub epoch: u64,
    /// One key for each secret, in no order; see [`Service::keys`] and [`Service::issuer`].
    pub keys: [Key; MAX_SECRETS],
}

impl KeySlot {
    /// The key that makes cookies.
    #[inline(always)]
    pub const fn issuing_key(&self, service: &Service) -> &Key {
        &self.keys[service.issuer as usize % MAX_SECRETS]
    }
}

/// The index of a key slot: `service * KEY_SLOTS + epoch % KEY_SLOTS`.
#[inline(always)]
pub const fn key_slot(service: u32, epoch: u64) -> u32 {
    service * KEY_SLOTS + (epoch as u32 & (KEY_SLOTS - 1))
}

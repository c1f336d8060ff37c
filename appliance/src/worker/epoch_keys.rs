//! The cookie key of each service for the current epoch.

use std::time::{SystemTime, UNIX_EPOCH};

use synward_core::cookie::{EPOCH_SECONDS, Key};

use crate::secret::{ServiceKey, epoch_key};

/// The keys that issue cookies, one per service, derived once per epoch.
pub struct EpochKeys {
    services: Vec<Option<Cached>>,
}

struct Cached {
    service: ServiceKey,
    epoch: u64,
    key: Key,
}

impl EpochKeys {
    /// Takes the issuing key of each service, by index; `None`: there is no service.
    pub fn new(services: impl IntoIterator<Item = Option<ServiceKey>>) -> Self {
        let cached = |service| Cached {
            service,
            epoch: u64::MAX,
            key: [0; 2],
        };
        Self {
            services: services.into_iter().map(|key| key.map(cached)).collect(),
        }
    }

    /// The key of a service for an epoch.
    pub fn key(&mut self, service: u16, epoch: u64) -> Option<&Key> {
        let cached = self.services.get_mut(usize::from(service))?.as_mut()?;
        if cached.epoch != epoch {
            cached.key = epoch_key(&cached.service, epoch);
            cached.epoch = epoch;
        }
        Some(&cached.key)
    }
}

/// The current epoch: Unix time in units of 32 s.
pub fn current_epoch() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_secs() / EPOCH_SECONDS
}

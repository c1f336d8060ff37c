//! The cookie keys in the map: those of the epochs around now, and of many epochs ahead, for a time without a process.

use synward_core::layout::{KEY_SLOTS, KeySlot, MAX_SECRETS};

use crate::secret::{ServiceKey, epoch_key};

/// Past epochs whose keys stay: their cookies are accepted or recognised as expired.
const BEHIND: u64 = 2;
/// Future epochs. A few slots stay unused, so that no run of the XDP program reads the slot that is being written.
const AHEAD: u64 = KEY_SLOTS as u64 - 8;

/// The service keys from which epoch keys are derived, and the epochs whose keys are in the map.
#[derive(Debug)]
pub(super) struct KeySlots {
    services: Vec<Vec<ServiceKey>>,
    /// The epochs whose keys are in the map.
    filled: std::ops::Range<u64>,
}

impl KeySlots {
    pub(super) fn new(services: Vec<Vec<ServiceKey>>) -> Self {
        Self {
            services,
            filled: 0..0,
        }
    }

    /// The number of keys of each service.
    pub(super) fn counts(&self) -> Vec<u32> {
        self.services.iter().map(|keys| keys.len() as u32).collect()
    }

    /// Calls `write` with the slots (service, slot) that epoch `current` needs and the map does not hold yet. Usually there
    /// are none.
    pub(super) fn fill<E>(
        &mut self,
        current: u64,
        mut write: impl FnMut(u32, KeySlot) -> Result<(), E>,
    ) -> Result<(), E> {
        let wanted = current.saturating_sub(BEHIND)..current + AHEAD + 1;
        // If the clock was set back or far ahead, all slots are written again.
        let start = if self.filled.contains(&wanted.start) {
            self.filled.end
        } else {
            wanted.start
        };
        for epoch in start..wanted.end {
            for (service, keys) in (0..).zip(&self.services) {
                write(service, slot(keys, epoch))?;
            }
        }
        self.filled = wanted;
        Ok(())
    }
}

fn slot(keys: &[ServiceKey], epoch: u64) -> KeySlot {
    let mut slot = KeySlot {
        epoch,
        keys: [[0; 2]; MAX_SECRETS],
    };
    for (place, key) in slot.keys.iter_mut().zip(keys) {
        *place = epoch_key(key, epoch);
    }
    slot
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::{Secret, derive_service_key};

    fn filled(keys: &mut KeySlots, current: u64) -> Vec<u64> {
        let mut epochs = Vec::new();
        let write = |service, slot: KeySlot| {
            assert_eq!(service, 0);
            epochs.push(slot.epoch);
            Ok::<(), ()>(())
        };
        keys.fill(current, write).unwrap();
        epochs
    }

    #[test]
    fn derives_each_epoch_once() {
        let secret = Secret::generate().unwrap();
        let mut keys = KeySlots::new(vec![vec![derive_service_key(&secret, "web")]]);
        assert_eq!(keys.counts(), [1]);
        assert_eq!(filled(&mut keys, 100), (98..=348).collect::<Vec<_>>());
        assert_eq!(filled(&mut keys, 100), [0; 0]);
        assert_eq!(filled(&mut keys, 101), [349]);
        assert_eq!(filled(&mut keys, 104), [350, 351, 352]);
        assert_eq!(filled(&mut keys, 50).len(), 251, "the clock was set back");
        assert_eq!(
            filled(&mut keys, 5_000).len(),
            251,
            "the clock was set ahead"
        );
    }

    #[test]
    fn slots_hold_the_keys_of_their_epoch_in_order() {
        let secret = Secret::generate().unwrap();
        let services = ["a", "b"].map(|name| derive_service_key(&secret, name));
        let slot = slot(&services, 7);
        assert_eq!(slot.keys[0], epoch_key(&services[0], 7));
        assert_eq!(slot.keys[1], epoch_key(&services[1], 7));
        assert_eq!(slot.keys[2], [0; 2]);
    }
}

//! The cookie keys in the map: those of the epochs around now, and of many epochs ahead, for a time without a process.
//!
//! A service has four places for keys. A key keeps its place as long as it is accepted, and no place is written while cookies
//! of its key are: a rotation changes only which places count ([`KeySelection`]). A key that the secret file does not have any
//! more keeps its place until the cookies that it has issued have expired.
//!
//! With `splice` the keys belong to the replay cache ([`cookie_keys`]). A process that takes the cache over accepts the cookies of
//! the one before. After a stop that left nothing they are worthless: nobody knows which of them have had their connection.

use synward_core::cookie::Key;
use synward_core::layout::{KEY_SLOTS, KeySlot, MAX_SECRETS, Service};

use crate::config::Handoff;
use crate::secret::{ServiceKey, bind_to_replay_cache, epoch_key};

/// Past epochs whose keys stay: their cookies are accepted or recognised as expired.
const BEHIND: u64 = 2;
/// Future epochs. A few slots stay unused, so that no run of the XDP program reads the slot that is being written.
const AHEAD: u64 = KEY_SLOTS as u64 - 8;
/// Epochs after that of its removal in which a key is still accepted: cookies are, in the epoch after their own.
const AFTER_REMOVAL: u64 = 1;

/// The keys of a service's cookies, from those in the secret file. `replay_key` is that of the replay cache.
pub(super) fn cookie_keys(
    keys: Vec<ServiceKey>,
    handoff: Handoff,
    replay_key: Key,
) -> Vec<ServiceKey> {
    match handoff {
        Handoff::Splice => {
            let bound = |key| bind_to_replay_cache(key, replay_key);
            keys.iter().map(bound).collect()
        }
        // Other machines issue or accept the same cookies.
        Handoff::Local | Handoff::Forward => keys,
    }
}

/// Which places of a service count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySelection {
    /// As [`Service::keys`].
    pub(super) accepted: u8,
    /// As [`Service::issuer`].
    pub(super) issuer: u8,
}

impl KeySelection {
    /// The policy with this selection.
    pub(super) fn apply(self, policy: Service) -> Service {
        Service {
            keys: self.accepted,
            issuer: self.issuer,
            ..policy
        }
    }
}

/// The service keys from which epoch keys are derived, and the epochs whose keys are in the map.
#[derive(Clone, Debug)]
pub(super) struct KeySlots {
    services: Vec<Places>,
    /// The epochs whose keys are in the map.
    filled: std::ops::Range<u64>,
}

/// The keys of a service.
#[derive(Clone, Debug, Default)]
struct Places {
    places: [Option<Place>; MAX_SECRETS],
    issuer: usize,
    /// The keys in the order of the secret file. One of them has no place while removed keys need all of them.
    wanted: Vec<ServiceKey>,
}

#[derive(Clone, Debug)]
struct Place {
    key: ServiceKey,
    /// The last epoch in which it is accepted; `None`: it is in the secret file.
    until: Option<u64>,
}

impl Places {
    /// Exchanges the keys in epoch `current`.
    fn exchange(&mut self, wanted: Vec<ServiceKey>, current: u64) {
        for place in self.places.iter_mut().flatten() {
            place.until = match wanted.contains(&place.key) {
                true => None,
                false => Some(place.until.unwrap_or(current + AFTER_REMOVAL)),
            };
        }
        self.wanted = wanted;
        self.settle();
    }

    /// Gives each wanted key a place if there is one, and lets the first of those issue cookies.
    fn settle(&mut self) {
        for key in &self.wanted {
            let has_place = |place: &Place| place.key == *key;
            if self.places.iter().flatten().any(has_place) {
                continue;
            }
            let may_give_way = |index: usize, place: &Option<Place>| match place {
                None => true,
                Some(place) => place.until.is_some() && index != self.issuer,
            };
            let empty = self.places.iter().position(Option::is_none);
            let mut places = self.places.iter().enumerate();
            let found = empty.or_else(|| places.position(|(at, place)| may_give_way(at, place)));
            if let Some(found) = found {
                let key = key.clone();
                self.places[found] = Some(Place { key, until: None });
            }
        }
        let place_of = |key: &ServiceKey| {
            let mut places = self.places.iter();
            places.position(|place| place.as_ref().is_some_and(|place| place.key == *key))
        };
        if let Some(issuer) = self.wanted.iter().find_map(place_of) {
            self.issuer = issuer;
        }
    }

    /// Forgets keys whose cookies have expired. Returns whether there were any.
    fn expire(&mut self, current: u64) -> bool {
        let mut expired = false;
        for place in &mut self.places {
            let is_over = |place: &mut Place| place.until.is_some_and(|until| current > until);
            expired |= place.take_if(is_over).is_some();
        }
        expired
    }

    fn selection(&self) -> KeySelection {
        let used = self.places.iter().enumerate();
        let accepted = used.fold(0, |mask, (at, place)| {
            mask | u8::from(place.is_some()) << at
        });
        KeySelection {
            accepted,
            issuer: self.issuer as u8,
        }
    }

    fn slot(&self, epoch: u64) -> KeySlot {
        let mut slot = KeySlot {
            epoch,
            keys: [[0; 2]; MAX_SECRETS],
        };
        for (key, place) in slot.keys.iter_mut().zip(&self.places) {
            if let Some(place) = place {
                *key = epoch_key(&place.key, epoch);
            }
        }
        slot
    }
}

impl KeySlots {
    /// The keys of each service. The first key of a service issues its cookies.
    pub(super) fn new(services: Vec<Vec<ServiceKey>>) -> Self {
        let places = |keys| {
            let mut places = Places::default();
            places.exchange(keys, 0);
            places
        };
        Self {
            services: services.into_iter().map(places).collect(),
            filled: 0..0,
        }
    }

    /// Which places of each service count.
    pub(super) fn selections(&self) -> Vec<KeySelection> {
        self.services.iter().map(Places::selection).collect()
    }

    /// The key that issues the cookies of each service; `None`: it has none.
    pub(super) fn issuing(&self) -> Vec<Option<ServiceKey>> {
        let issuing = |service: &Places| Some(service.places[service.issuer].as_ref()?.key.clone());
        self.services.iter().map(issuing).collect()
    }

    /// Exchanges the keys in epoch `current`. A service with `None` keeps its own; one without keys forgets them at once.
    /// Returns the services whose slots have to be written ([`Self::rewrite`]) before the selections take effect.
    pub(super) fn exchange(
        &mut self,
        services: Vec<Option<Vec<ServiceKey>>>,
        current: u64,
    ) -> Vec<u32> {
        self.services.resize_with(services.len(), Places::default);
        let mut changed = Vec::new();
        for ((index, places), wanted) in (0..).zip(&mut self.services).zip(services) {
            let Some(wanted) = wanted else { continue };
            if wanted.is_empty() {
                *places = Places::default();
            } else if wanted != places.wanted {
                places.exchange(wanted, current);
                changed.push(index);
            }
        }
        changed
    }

    /// Forgets removed keys whose cookies have expired. Returns the services that had some. When their places do not count
    /// any more, call [`Self::settle`].
    pub(super) fn expire(&mut self, current: u64) -> Vec<u32> {
        let services = (0..).zip(&mut self.services);
        let expired =
            services.filter_map(|(index, places)| places.expire(current).then_some(index));
        expired.collect()
    }

    /// Gives free places to keys that have none. The slots have to be written then, as after [`Self::exchange`].
    pub(super) fn settle(&mut self) {
        self.services.iter_mut().for_each(Places::settle);
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
                write(service, keys.slot(epoch))?;
            }
        }
        self.filled = wanted;
        Ok(())
    }

    /// Calls `write` with all slots of these services.
    pub(super) fn rewrite<E>(
        &self,
        services: &[u32],
        mut write: impl FnMut(u32, KeySlot) -> Result<(), E>,
    ) -> Result<(), E> {
        for service in services {
            let Some(keys) = self.services.get(*service as usize) else {
                continue;
            };
            for epoch in self.filled.clone() {
                write(*service, keys.slot(epoch))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::{Secret, derive_service_key};

    fn key() -> ServiceKey {
        derive_service_key(&Secret::generate().unwrap(), "web")
    }

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
    fn only_spliced_services_have_keys_of_their_machine() {
        let keys = vec![key(), key()];
        let of = |handoff, replay_key| cookie_keys(keys.clone(), handoff, replay_key);
        assert_eq!(of(Handoff::Local, [1, 2]), keys);
        assert_eq!(of(Handoff::Forward, [1, 2]), keys);
        let spliced = of(Handoff::Splice, [1, 2]);
        assert_eq!(spliced, of(Handoff::Splice, [1, 2]), "taken over");
        let another = of(Handoff::Splice, [3, 4]);
        let differ = |a: &[ServiceKey], b: &[ServiceKey]| a.iter().zip(b).all(|(a, b)| a != b);
        assert!(differ(&spliced, &keys) && differ(&spliced, &another));
        assert_eq!((spliced.len(), another.len()), (2, 2));
    }

    #[test]
    fn derives_each_epoch_once() {
        let mut keys = KeySlots::new(vec![vec![key()]]);
        assert_eq!(keys.selections()[0].accepted, 1);
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
    fn slots_hold_the_keys_of_their_epoch() {
        let (a, b) = (key(), key());
        let keys = KeySlots::new(vec![vec![a.clone(), b.clone()]]);
        let slot = keys.services[0].slot(7);
        assert_eq!(slot.keys[0], epoch_key(&a, 7));
        assert_eq!(slot.keys[1], epoch_key(&b, 7));
        assert_eq!(slot.keys[2], [0; 2]);
    }

    /// What the first service accepts and issues with.
    fn state(keys: &KeySlots) -> (KeySelection, Option<ServiceKey>) {
        (keys.selections()[0], keys.issuing()[0].clone())
    }

    fn selected(accepted: u8, issuer: u8) -> KeySelection {
        KeySelection { accepted, issuer }
    }

    #[test]
    fn a_new_key_issues_and_the_old_one_stays_in_its_place() {
        let (old, new) = (key(), key());
        let mut keys = KeySlots::new(vec![vec![old.clone()]]);
        let both = vec![new.clone(), old.clone()];
        assert_eq!(keys.exchange(vec![Some(both.clone())], 100), [0]);
        assert_eq!(state(&keys), (selected(0b11, 1), Some(new.clone())));
        assert_eq!(keys.services[0].slot(5).keys[0], epoch_key(&old, 5));
        assert_eq!(keys.exchange(vec![Some(both)], 100), [0; 0], "nothing new");
        assert_eq!(keys.exchange(vec![None], 100), [0; 0]);

        keys.exchange(vec![Some(vec![new.clone()])], 100);
        assert_eq!(
            state(&keys).0,
            selected(0b11, 1),
            "its cookies are still out"
        );
        assert_eq!(keys.expire(101), [0; 0]);
        assert_eq!(keys.expire(102), [0]);
        assert_eq!(state(&keys), (selected(0b10, 1), Some(new)));
    }

    #[test]
    fn the_place_of_an_issuing_key_is_never_written() {
        let four = [key(), key(), key(), key()].to_vec();
        let mut keys = KeySlots::new(vec![four.clone()]);
        let new = key();
        let mut wanted = four.clone();
        wanted[0] = new.clone();
        keys.exchange(vec![Some(wanted)], 100);
        assert_eq!(state(&keys), (selected(0b1111, 1), Some(four[1].clone())));
        assert_eq!(keys.services[0].slot(5).keys[0], epoch_key(&four[0], 5));
        assert_eq!(keys.expire(102), [0]);
        assert_eq!(state(&keys), (selected(0b1110, 1), Some(four[1].clone())));
        keys.settle();
        assert_eq!(state(&keys), (selected(0b1111, 0), Some(new)));
    }

    #[test]
    fn a_service_without_keys_forgets_them() {
        let mut keys = KeySlots::new(vec![vec![key()]]);
        keys.exchange(vec![Some(vec![]), Some(vec![key()])], 100);
        let selections = [selected(0, 0), selected(1, 0)];
        assert_eq!(keys.selections(), selections);
    }
}

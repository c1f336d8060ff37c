//! The policies of addresses that are watched separately. They are those of their service, except for what an attack changes:
//! whether clients are challenged, and until when connections from before are adopted and older cookies are honoured.

use std::collections::{BTreeMap, BTreeSet};

use synward_core::layout::{MAX_SERVICES, Service, mode};

use super::address_places::AddressPlaces;
use super::adoption::COOKIE_LIFE;
use crate::maps::coarse_now;

/// The addresses with a policy of their own, by its index.
#[derive(Debug, Default)]
pub(super) struct AddressPolicies {
    pub(super) places: AddressPlaces,
    /// Those that are under attack.
    pub(super) attacked: BTreeSet<u32>,
    /// What is in force. An address that is not here yet begins with the policy of its service.
    pub(super) in_force: BTreeMap<u32, Service>,
}

impl AddressPolicies {
    pub(super) fn new(places: AddressPlaces, attacked: BTreeSet<u32>) -> Self {
        Self {
            places,
            attacked,
            ..Self::default()
        }
    }

    pub(super) fn challenges(&self, policy: u32) -> bool {
        let policy = self.in_force.get(&policy);
        policy.is_some_and(|policy| policy.mode == mode::ALWAYS)
    }

    /// Has services honour the cookies of those of their addresses that challenge, and that have no policy of their own in `next`.
    pub(super) fn hand_back(&self, next: &AddressPlaces, services: &mut [Service]) {
        let (gone, kept) = (self.places.iter(), next.policies());
        let gone = gone.filter(|(_, place)| !kept.contains(&place.policy));
        for (service, _) in gone.filter(|(_, place)| self.challenges(place.policy)) {
            if let Some(service) = services.get_mut(service as usize)
                && service.mode != mode::ALWAYS
            {
                service.cookies_until = coarse_now().saturating_add(COOKIE_LIFE);
            }
        }
    }

    /// Forgets the addresses that are not in `next`. `false`: there are none.
    pub(super) fn follow(&mut self, next: AddressPlaces) -> bool {
        if self.places == next {
            return false;
        }
        let kept = next.policies();
        self.attacked.retain(|policy| kept.contains(policy));
        self.in_force.retain(|policy, _| kept.contains(policy));
        self.places = next;
        true
    }
}

/// The elements of a bank of policies: those of services, and behind them those of addresses.
pub(super) fn bank(services: &[Service], addresses: &BTreeMap<u32, Service>) -> Vec<Service> {
    let mut bank = services.to_vec();
    if let Some(last) = addresses.keys().next_back() {
        bank.resize(*last as usize + 1, Service::default());
        for (policy, service) in addresses.range(MAX_SERVICES..) {
            bank[*policy as usize] = *service;
        }
    }
    bank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_behind_all_services() {
        let policy = |mode| Service {
            mode,
            ..Service::default()
        };
        let services = [policy(1), policy(2)];
        assert_eq!(bank(&services, &BTreeMap::new()), services);
        let addresses = BTreeMap::from([(MAX_SERVICES, policy(3)), (MAX_SERVICES + 2, policy(4))]);
        let bank = bank(&services, &addresses);
        assert_eq!(bank.len(), MAX_SERVICES as usize + 3);
        let modes = [0, 1, 2, MAX_SERVICES as usize, bank.len() - 1].map(|at| bank[at].mode);
        assert_eq!(modes, [1, 2, 0, 3, 4]);
    }
}

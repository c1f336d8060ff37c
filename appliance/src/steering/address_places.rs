//! Which addresses of services have a policy of their own, and its index (`layout::Endpoint::policy`). Pure data.
//!
//! A service with several addresses has one for each, or for none if there are not enough: it is watched as a whole then. A
//! prefix counts as one address. An address keeps its index as long as its service has it. What becomes free is given away by the
//! next exchange at the earliest, because packets may still find it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use synward_core::layout::{MAX_POLICIES, MAX_SERVICES};

use crate::config::{Mode, Service};

/// An address or prefix of a service that has a policy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the policy.
    pub policy: u32,
    /// The address.
    pub net: IpNet,
}

/// The addresses that have a policy of their own, by the index of their service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressPlaces(BTreeMap<u32, Vec<Place>>);

impl AddressPlaces {
    /// The addresses of a service; empty: it is watched as a whole.
    pub(super) fn of(&self, service: u32) -> &[Place] {
        self.0.get(&service).map_or(&[], Vec::as_slice)
    }

    /// The policy of an address of a service.
    pub(super) fn policy(&self, service: u32, net: IpNet) -> u32 {
        let place = self.of(service).iter().find(|place| place.net == net);
        place.map_or(service, |place| place.policy)
    }

    /// All, each with its service.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Place)> + '_ {
        let services = self.0.iter();
        services.flat_map(|(service, places)| places.iter().map(|place| (*service, *place)))
    }

    /// The places after these, for services with the same indices. Those that may challenge separately are served first.
    pub(super) fn follow(&self, services: &[Service]) -> Self {
        let taken = self.policies();
        let mut free = (MAX_SERVICES..MAX_POLICIES).filter(|policy| !taken.contains(policy));
        let mut room = (MAX_POLICIES - MAX_SERVICES) as usize - taken.len();
        let mut configured: Vec<_> = (0..).zip(services).collect();
        configured.retain(|(_, service)| service.is_configured());
        configured.sort_by_key(|(_, service)| match service.mode {
            Mode::Auto => 0,
            Mode::Monitor => 1,
            Mode::Always | Mode::Off => 2,
        });
        let mut next = BTreeMap::new();
        for (index, service) in configured {
            let nets: BTreeSet<_> = service.addresses.iter().copied().collect();
            let known: BTreeMap<_, _> = self
                .of(index)
                .iter()
                .map(|place| (place.net, place.policy))
                .collect();
            let new = nets.iter().filter(|net| !known.contains_key(net)).count();
            let is_alone = nets.len() < 2 && known.is_empty();
            if is_alone || new > room {
                continue;
            }
            room -= new;
            let place = |net: IpNet| {
                let policy = known.get(&net).copied().or_else(|| free.next())?;
                Some(Place { policy, net })
            };
            next.insert(index, nets.into_iter().filter_map(place).collect());
        }
        Self(next)
    }

    /// These, and those of `before` that are not among them.
    pub(super) fn after(&self, before: &Self) -> Self {
        let mut both = self.0.clone();
        let known = self.policies();
        for (service, place) in before
            .iter()
            .filter(|(_, one)| !known.contains(&one.policy))
        {
            both.entry(service).or_default().push(place);
        }
        Self(both)
    }

    /// The indices of the policies.
    pub(super) fn policies(&self) -> BTreeSet<u32> {
        self.iter().map(|(_, place)| place.policy).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Services in mode `auto` unless their name is another mode, each with these addresses.
    fn services(services: &[(&str, &[&str])]) -> Vec<Service> {
        let mut text = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n".to_owned();
        for (at, (mode, addresses)) in services.iter().enumerate() {
            text += &format!(
                "[[service]]\nname = \"s{at}\"\nmode = \"{mode}\"\naddresses = {addresses:?}\nports = [80]\n"
            );
        }
        Config::of_text(&text).services
    }

    fn policies(places: &AddressPlaces, service: u32) -> Vec<u32> {
        let places = places.of(service).iter();
        places.map(|place| place.policy - MAX_SERVICES).collect()
    }

    #[test]
    fn services_with_several_addresses_have_a_place_for_each() {
        let all = services(&[
            ("auto", &["192.0.2.1"]),
            ("always", &["192.0.2.2", "2001:db8::2"]),
            ("auto", &["192.0.2.3", "198.51.100.0/24"]),
        ]);
        let places = AddressPlaces::default().follow(&all);
        assert!(places.of(0).is_empty());
        assert_eq!(policies(&places, 1), [2, 3], "`auto` comes first");
        assert_eq!(policies(&places, 2), [0, 1]);
        let net = |text: &str| text.parse().unwrap();
        assert_eq!(places.policy(0, net("192.0.2.1/32")), 0);
        assert_eq!(
            places.policy(2, net("198.51.100.0/24")),
            places.of(2)[1].policy
        );
    }

    #[test]
    fn an_address_keeps_its_place_and_a_free_one_rests() {
        let first = services(&[("auto", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])]);
        let second = services(&[("auto", &["192.0.2.2", "192.0.2.4"])]);
        let third = services(&[("auto", &["192.0.2.2"])]);
        let at_first = AddressPlaces::default().follow(&first);
        let then = at_first.follow(&second);
        assert_eq!(policies(&then, 0), [1, 3]);
        assert_eq!(policies(&then.after(&at_first), 0), [1, 3, 0, 2]);
        let at_last = then.follow(&third);
        assert_eq!(policies(&at_last, 0), [1], "one that is left keeps it");
        assert_eq!(policies(&at_last.follow(&first), 0), [0, 1, 2]);
    }

    #[test]
    fn a_service_without_room_for_all_is_watched_as_a_whole() {
        let mut all = services(&[
            ("auto", &["192.0.2.1"]),
            ("auto", &["192.0.2.2", "192.0.2.3"]),
            ("auto", &["192.0.2.4"]),
        ]);
        let many = (1..MAX_POLICIES - MAX_SERVICES).map(|number| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            IpNet::from(std::net::IpAddr::from(address))
        });
        all[0].addresses = many.collect();
        let places = AddressPlaces::default().follow(&all);
        assert_eq!(places.of(0).len(), all[0].addresses.len());
        assert!(places.of(1).is_empty());
        assert_eq!(places.follow(&[]), AddressPlaces::default());
    }
}

//! Makes the changes one element after another in a model of the maps. After each, every address and port belongs to the
//! service that it had before or to the one that it has then.

use std::collections::BTreeMap;
use std::net::IpAddr;

use synward_core::layout::{ANY_PORT, NO_PORT};

use super::*;
use crate::config::Config;
use crate::steering::address_places::AddressPlaces;
use crate::steering::key_slots::KeySelection;

/// Services by name, so that the indices of both configurations are the same: a, b, c.
fn config(services: &[(&str, &[&str], &str)]) -> Config {
    let mut text = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n".to_owned();
    for (name, addresses, ports) in services {
        text += &format!(
            "[[service]]\nname = \"{name}\"\naddresses = {addresses:?}\nports = {ports}\n"
        );
    }
    Config::of_text(&text)
}

fn plan(config: &Config, first: u32) -> Plan {
    let keys = vec![KeySelection::default(); config.services.len()];
    Plan::new_after(config, &keys, first, &AddressPlaces::default())
}

/// The maps, as the XDP program reads them.
#[derive(Clone, Default)]
struct Maps {
    endpoints: BTreeMap<(IpAddr, u32), Endpoint>,
    prefixes: BTreeMap<IpNet, u32>,
    ports: BTreeMap<(u32, u32), Endpoint>,
}

impl Maps {
    fn new(plan: &Plan) -> Self {
        let ports = plan.prefix_ports.iter();
        Self {
            endpoints: plan.endpoints.clone(),
            prefixes: plan.prefixes.clone(),
            ports: ports
                .map(|(key, at)| ((key.prefix, key.port), *at))
                .collect(),
        }
    }

    fn find(&self, address: IpAddr, port: u32) -> Option<u32> {
        if let Some(exact) = self.endpoints.get(&(address, port)) {
            return Some(exact.service);
        }
        let holding = self
            .prefixes
            .iter()
            .filter(|(net, _)| net.contains(&address));
        let (_, prefix) = holding.max_by_key(|(net, _)| net.prefix_len())?;
        let found = |port| self.ports.get(&(*prefix, port));
        found(port).or_else(|| found(ANY_PORT)).map(|at| at.service)
    }

    /// All that probes find.
    fn seen(&self) -> Vec<Option<u32>> {
        let addresses = (0..4).flat_map(|net| (0..4).map(move |host| [10, 0, net, host]));
        let probes =
            addresses.flat_map(|address| [80, 443, 9, NO_PORT].map(|port| (address, port)));
        probes
            .map(|(address, port)| self.find(address.into(), port))
            .collect()
    }
}

/// Makes the changes in their order, and checks after each.
fn make(maps: &mut Maps, changes: &PlanChanges, mut check: impl FnMut(&Maps)) {
    for written in [&changes.new, &changes.moved] {
        for (at, endpoint) in &written.endpoints {
            maps.endpoints.insert(*at, *endpoint);
            check(maps);
        }
        for AddedPrefix { net, index, ports } in &written.prefixes {
            for (key, endpoint) in ports {
                maps.ports.insert((key.prefix, key.port), *endpoint);
                check(maps);
            }
            maps.prefixes.insert(*net, *index);
            check(maps);
        }
    }
    for net in &changes.gone_prefixes {
        maps.prefixes.remove(net);
        check(maps);
    }
    for key in &changes.gone_ports {
        maps.ports.remove(&(key.prefix, key.port));
        check(maps);
    }
    for at in &changes.gone_endpoints {
        maps.endpoints.remove(at);
        check(maps);
    }
}

/// Changes from one configuration to the other and back.
fn changes(one: &Config, other: &Config) {
    for (before, after) in [(one, other), (other, one)] {
        let old = plan(before, 0);
        let mut next = plan(after, old.next_prefix);
        let changes = old.changes_to(&mut next, 7);
        let mut maps = Maps::new(&old);
        let (was, wanted) = (maps.seen(), Maps::new(&plan(after, 0)).seen());
        make(&mut maps, &changes, |maps| {
            for ((seen, was), wanted) in maps.seen().iter().zip(&was).zip(&wanted) {
                assert!(
                    seen == was || seen == wanted,
                    "{seen:?}: {was:?} -> {wanted:?}"
                );
            }
        });
        assert_eq!(maps.seen(), wanted);
        let left = Maps::new(&next);
        assert_eq!(maps.prefixes, left.prefixes);
        assert_eq!(
            maps.ports.keys().collect::<Vec<_>>(),
            left.ports.keys().collect::<Vec<_>>()
        );
        assert_eq!(
            maps.endpoints.keys().collect::<Vec<_>>(),
            left.endpoints.keys().collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_address_belongs_to_its_old_or_its_new_service_at_any_time() {
    let variants = [
        config(&[
            ("a", &["10.0.0.1", "10.0.0.2"], "[80]"),
            ("b", &["10.0.1.1"], "[443]"),
        ]),
        config(&[
            ("a", &["10.0.0.1"], "[443]"),
            ("b", &["10.0.0.2", "10.0.1.1"], "[80]"),
        ]),
        config(&[
            ("a", &["10.0.0.0/24"], "\"any\""),
            ("b", &["10.0.0.1"], "[80, 443]"),
        ]),
        config(&[
            ("a", &["10.0.0.0/16"], "[80]"),
            ("b", &["10.0.0.0/24"], "[443]"),
        ]),
        config(&[
            ("a", &["10.0.0.0/16", "10.0.1.1"], "\"any\""),
            ("b", &["10.0.1.0/24", "10.0.0.3"], "[80, 443]"),
            ("c", &["10.0.1.0/24", "10.0.2.0/31"], "[9]"),
        ]),
        config(&[("a", &["10.0.3.3"], "[9]"), ("b", &["10.0.0.0/22"], "[80]")]),
    ];
    for one in &variants {
        for other in &variants {
            changes(one, other);
        }
    }
}

#[test]
fn what_stays_is_not_written() {
    let same = || config(&[("a", &["10.0.0.0/24", "10.0.1.1"], "[80]")]);
    let old = plan(&same(), 0);
    let mut next = plan(&same(), old.next_prefix);
    assert_eq!(old.changes_to(&mut next, 7), PlanChanges::default());
    assert_eq!(
        (old.prefixes, old.prefix_ports),
        (next.prefixes, next.prefix_ports)
    );
}

#[test]
fn other_options_of_a_prefix_take_effect_with_the_next_epoch() {
    let old = plan(&config(&[("a", &["10.0.0.0/24"], "[80]")]), 0);
    let mut changed = config(&[("a", &["10.0.0.0/24"], "[80]")]);
    changed.services[0].offer.mss = Some(1300);
    let mut next = plan(&changed, old.next_prefix);
    let changes = old.changes_to(&mut next, 7);
    assert!(!changes.offers.is_empty());
    for (key, endpoint) in &changes.offers {
        assert_eq!((key.prefix, endpoint.since), (0, 7));
        assert_eq!((endpoint.now.mss, endpoint.before.mss), (1300, 1460));
    }
    assert_eq!(
        (changes.new, changes.moved),
        (Written::default(), Written::default())
    );
}

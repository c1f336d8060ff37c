//! What has to change in the maps of addresses when one plan follows another. Pure data.
//!
//! A packet reads one endpoint, or one prefix and its port, and then one policy. So it sees the old plan or the new one, if
//! every element changes as a whole: a prefix whose ports change gets a new index, and its new ports are there before that.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use synward_core::layout::{Endpoint, PrefixPort};

use super::endpoint_profiles;
use super::left_out::AddedPrefix;
use super::map_plan::Plan;

/// Elements to write: endpoints first, so that no prefix decides about them meanwhile.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) endpoints: Vec<((IpAddr, u32), Endpoint)>,
    pub(super) prefixes: Vec<AddedPrefix>,
}

/// The changes, in the order in which they are made.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PlanChanges {
    /// Where no service was. Written before policies change: until then a new service challenges nobody.
    pub(super) new: Written,
    /// Where another service was. Written when the policies of both are in force.
    pub(super) moved: Written,
    /// Ports of prefixes that stay and offer other options.
    pub(super) offers: Vec<(PrefixPort, Endpoint)>,
    /// What no service has any more, or has by a wider prefix. Removed after that.
    pub(super) gone_endpoints: Vec<(IpAddr, u32)>,
    pub(super) gone_prefixes: Vec<IpNet>,
    pub(super) gone_ports: Vec<PrefixPort>,
}

/// The ports of each prefix, by its index.
fn ports_by_prefix(plan: &Plan) -> BTreeMap<u32, BTreeMap<u32, Endpoint>> {
    let mut ports = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (PrefixPort { prefix, port }, endpoint) in &plan.prefix_ports {
        ports.entry(*prefix).or_default().insert(*port, *endpoint);
    }
    ports
}

/// Whether both have the same services and policies at the same ports.
fn same_services(one: &BTreeMap<u32, Endpoint>, other: &BTreeMap<u32, Endpoint>) -> bool {
    let services = |ports: &BTreeMap<u32, Endpoint>| -> Vec<_> {
        let ports = ports.iter();
        ports
            .map(|(port, at)| (*port, at.service, at.policy))
            .collect()
    };
    services(one) == services(other)
}

impl PlanChanges {
    /// Puts prefixes into an order in which no address belongs to a third service meanwhile: narrow ones appear before wide ones
    /// that hold them, and disappear after them.
    fn order_prefixes(&mut self) {
        let moved: Vec<_> = self.moved.prefixes.iter().map(|one| one.net).collect();
        let holds_moved = |one: &AddedPrefix| moved.iter().any(|net| one.net.contains(net));
        let (late, new) = self.new.prefixes.drain(..).partition(holds_moved);
        self.new.prefixes = new;
        self.moved.prefixes.extend::<Vec<_>>(late);
        let narrow_first = |one: &AddedPrefix| Reverse(one.net.prefix_len());
        self.new.prefixes.sort_by_key(narrow_first);
        self.moved.prefixes.sort_by_key(narrow_first);
        self.gone_prefixes.sort_by_key(IpNet::prefix_len);
    }
}

impl Plan {
    /// What changes from this plan to `next`, whose prefixes have other indices. Those that stay get the index that they have.
    /// New options of a prefix are offered from epoch `since` on.
    pub(super) fn changes_to(&self, next: &mut Plan, since: u64) -> PlanChanges {
        let mut changes = PlanChanges::default();
        self.change_prefixes(next, since, &mut changes);
        for (at, endpoint) in &next.endpoints {
            let (address, port) = *at;
            let exact = self.endpoints.get(at).copied();
            match exact.or_else(|| self.by_prefix(address, port)) {
                None => changes.new.endpoints.push((*at, *endpoint)),
                Some(old) if exact.is_none() || !old.belongs_as(endpoint) => {
                    changes.moved.endpoints.push((*at, *endpoint));
                }
                Some(_) => {}
            }
        }
        let gone = self.endpoints.keys();
        let gone = gone.filter(|at| !next.endpoints.contains_key(at)).copied();
        changes.gone_endpoints = gone.collect();
        changes
    }

    fn change_prefixes(&self, next: &mut Plan, since: u64, changes: &mut PlanChanges) {
        let (old_ports, next_ports) = (ports_by_prefix(self), ports_by_prefix(next));
        let none = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for (net, index) in &next.prefixes {
            let ports = next_ports.get(index).unwrap_or(&none);
            let old = self.prefixes.get(net);
            if let Some(old) = old
                && same_services(ports, old_ports.get(old).unwrap_or(&none))
            {
                kept.insert(*index, *old);
                continue;
            }
            let key = |(port, endpoint): (&u32, &Endpoint)| {
                let (prefix, port) = (*index, *port);
                (PrefixPort { prefix, port }, *endpoint)
            };
            let added = AddedPrefix {
                net: *net,
                index: *index,
                ports: ports.iter().map(key).collect(),
            };
            if self.covering(net.addr()).next().is_none() {
                changes.new.prefixes.push(added);
            } else {
                changes.moved.prefixes.push(added);
            }
        }
        let stay: BTreeSet<_> = kept.values().copied().collect();
        let gone = self.prefix_ports.iter().map(|(key, _)| *key);
        changes.gone_ports = gone.filter(|key| !stay.contains(&key.prefix)).collect();
        let gone = self.prefixes.keys();
        let gone = gone.filter(|net| !next.prefixes.contains_key(net)).copied();
        changes.gone_prefixes = gone.collect();
        changes.order_prefixes();
        next.renumber(&kept);
        for (key, endpoint) in &mut next.prefix_ports {
            let old = old_ports.get(&key.prefix);
            let Some(old) = old.and_then(|ports| ports.get(&key.port)) else {
                continue;
            };
            let wanted = endpoint.now;
            *endpoint = endpoint_profiles::reoffered(old, wanted, since);
            if endpoint != old {
                changes.offers.push((*key, *endpoint));
            }
        }
    }

    fn renumber(&mut self, numbers: &BTreeMap<u32, u32>) {
        let number = |index: u32| *numbers.get(&index).unwrap_or(&index);
        for index in self.prefixes.values_mut() {
            *index = number(*index);
        }
        for (key, _) in &mut self.prefix_ports {
            key.prefix = number(key.prefix);
        }
        self.own.renumber(numbers);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

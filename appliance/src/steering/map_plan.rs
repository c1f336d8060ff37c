//! The content of the maps for a configuration. Pure data, so that it is tested without a kernel.
//!
//! The XDP program finds an address with listed ports by an exact look-up, and prefixes and `ports = "any"` by the longest
//! prefix. The second look-up returns one prefix only. The port table of each prefix therefore also holds the entries of
//! the shorter prefixes that contain it, for ports that it does not decide itself. The longest prefix wins, and within it
//! a listed port over "any".

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use synward_core::layout::{
    ANY_PORT, Endpoint, NO_PORT, PrefixPort, Profile, Service, cookies, handoff, mode,
};

use super::address_places::AddressPlaces;
use super::client_mss::ClientMss;
use super::key_slots::KeySelection;
use super::left_out::OwnAddresses;
use super::map_encoding::{endpoint, initial_mss, service};
use super::removed_addresses;
use crate::config::{self, Config, Offer, Ports};
use crate::lists::{Contents, RunTimeLists};

/// The content of the maps that depend on the configuration.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) services: Vec<Service>,
    /// The addresses with a policy of their own.
    pub(super) places: AddressPlaces,
    /// Ports as in [`EndpointKey::port`].
    pub(super) endpoints: BTreeMap<(IpAddr, u32), Endpoint>,
    /// Each with its index.
    pub(super) prefixes: BTreeMap<IpNet, u32>,
    /// The index of the next new prefix.
    pub(super) next_prefix: u32,
    pub(super) prefix_ports: Vec<(PrefixPort, Endpoint)>,
    /// The verdicts of allow and deny lists.
    pub(super) lists: Contents,
    /// This machine's addresses that prefixes of services hold; see [`own_addresses`](super::own_addresses).
    pub(super) own: OwnAddresses,
}

impl Plan {
    /// The plan for `config`; `keys` are those of each service, in order.
    pub(super) fn new(config: &Config, keys: &[KeySelection]) -> Self {
        Self::new_after(config, keys, 0, &AddressPlaces::default())
    }

    /// The same; `first` is the index of its first prefix, `places` are those of the plan before.
    pub(super) fn new_after(
        config: &Config,
        keys: &[KeySelection],
        first: u32,
        places: &AddressPlaces,
    ) -> Self {
        let services = config.services.iter().zip(keys);
        let mut plan = Self {
            services: services
                .map(|(config, keys)| keys.apply(service(config)))
                .collect(),
            places: places.follow(&config.services),
            next_prefix: first,
            ..Self::default()
        };
        let mut configs = PrefixConfigs::new();
        let services = || (0..).zip(&config.services);
        for (index, service) in services().filter(|(_, service)| !service.is_configured()) {
            for (net, ports) in removed_addresses::left(service, &config.services) {
                plan.add_addresses(index, service, net, &ports, &mut configs);
            }
        }
        for (index, service) in services().filter(|(_, service)| service.is_configured()) {
            for net in &service.addresses {
                plan.add_addresses(index, service, *net, &service.ports, &mut configs);
            }
        }
        let none_yet = RunTimeLists::default();
        plan.lists = Contents::new(&config.services, &none_yet, Instant::now());
        plan.inherit(config, &configs);
        plan.name_addresses();
        plan
    }

    /// Whether the XDP program has to look up prefixes.
    pub(super) fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Uses the kernel's own cookies for all local services, for a kernel that cannot create connections from ours.
    pub(super) fn leave_cookies_to_the_kernel(&mut self) {
        let services = self.services.iter_mut();
        for service in services.filter(|service| service.handoff == handoff::LOCAL) {
            service.cookies |= cookies::KERNEL;
        }
    }

    /// Bounds the MSS of every endpoint by what fits through the links and routes towards clients. `offer_of` is what the
    /// configuration fixes for a service.
    pub(super) fn bound_mss(&mut self, offer_of: impl Fn(u32) -> Offer, most: &ClientMss) {
        let exact = self.endpoints.iter_mut();
        let exact = exact.map(|((address, _), endpoint)| (*address, endpoint));
        let prefixes: BTreeMap<u32, IpAddr> = self
            .prefixes
            .iter()
            .map(|(net, index)| (*index, net.addr()))
            .collect();
        let by_prefix = self.prefix_ports.iter_mut();
        let by_prefix =
            by_prefix.filter_map(|(key, endpoint)| Some((*prefixes.get(&key.prefix)?, endpoint)));
        for (address, endpoint) in exact.chain(by_prefix) {
            let offer = offer_of(endpoint.service);
            let mss = offer.mss.unwrap_or_else(|| initial_mss(address));
            for profile in [&mut endpoint.now, &mut endpoint.before] {
                *profile = most.bound(&offer, address, Profile { mss, ..*profile });
            }
        }
    }

    /// Whether some local service uses our cookies.
    pub(super) fn assigns(&self) -> bool {
        self.services.iter().any(|service| {
            service.handoff == handoff::LOCAL && service.cookies & cookies::KERNEL == 0
        })
    }

    /// The endpoint that the XDP program finds for an address and port by prefix.
    pub(super) fn by_prefix(&self, address: IpAddr, port: u32) -> Option<Endpoint> {
        let (_, prefix) = self.covering(address).next_back()?;
        let find = |port| {
            let key = PrefixPort { prefix, port };
            self.prefix_ports
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, endpoint)| *endpoint)
        };
        find(port).or_else(|| find(ANY_PORT))
    }

    /// The prefixes that hold an address, the longest last, and their indices.
    pub(super) fn covering(
        &self,
        address: IpAddr,
    ) -> impl DoubleEndedIterator<Item = (IpNet, u32)> {
        let holds = |(net, _): &(&IpNet, &u32)| net.contains(&address);
        let prefixes = self.prefixes.iter().filter(holds);
        let mut prefixes: Vec<_> = prefixes.map(|(net, index)| (*net, *index)).collect();
        prefixes.sort_by_key(|(net, _)| net.prefix_len());
        prefixes.into_iter()
    }

    /// Adds a prefix without ports. Returns its index.
    pub(super) fn add_prefix(&mut self, net: IpNet) -> u32 {
        let index = self.next_prefix;
        self.next_prefix += 1;
        self.prefixes.insert(net, index);
        index
    }

    fn add_addresses(
        &mut self,
        index: u32,
        service: &config::Service,
        net: IpNet,
        ports: &Ports,
        configs: &mut PrefixConfigs,
    ) {
        let host = net.prefix_len() == net.max_prefix_len();
        match ports {
            Ports::List(ports) if host => {
                let policy = self.places.policy(index, net);
                let endpoint = endpoint(index, policy, service, net.addr());
                let keys = ports
                    .iter()
                    .map(|port| ((net.addr(), u32::from(*port)), endpoint));
                self.endpoints.extend(keys);
            }
            Ports::List(ports) => {
                let named = &mut configs.entry(net).or_default().named;
                named.extend(ports.iter().map(|port| (*port, index)));
            }
            Ports::Any => configs.entry(net).or_default().any = Some(index),
        }
    }

    /// Adds [`NO_PORT`] of each address and prefix, which decides about packets whose ports cannot be read. It refers to the
    /// strictest service there.
    fn name_addresses(&mut self) {
        let laxness = |endpoint: &Endpoint| self.laxness(endpoint);
        let addresses = strictest(
            self.endpoints.iter().map(|((ip, _), at)| (*ip, *at)),
            laxness,
        );
        let prefixes = strictest(
            self.prefix_ports.iter().map(|(key, at)| (key.prefix, *at)),
            laxness,
        );
        let keys = addresses
            .into_iter()
            .map(|(address, endpoint)| ((address, NO_PORT), endpoint));
        self.endpoints.extend(keys);
        let port = NO_PORT;
        let keys = prefixes
            .into_iter()
            .map(|(prefix, endpoint)| (PrefixPort { prefix, port }, endpoint));
        self.prefix_ports.extend(keys);
    }

    /// How much the service of an endpoint lets through whose ports cannot be read.
    pub(super) fn laxness(&self, endpoint: &Endpoint) -> impl Ord + use<> {
        let service = &self.services[endpoint.service as usize];
        (service.pass_fragments, service.mode != mode::ALWAYS)
    }

    fn inherit(&mut self, config: &Config, configs: &PrefixConfigs) {
        for net in configs.keys() {
            let prefix = self.add_prefix(*net);
            let entry = |places: &AddressPlaces, around: IpNet, port: u32, service: u32| {
                let config = &config.services[service as usize];
                let policy = places.policy(service, around);
                let endpoint = endpoint(service, policy, config, net.addr());
                (PrefixPort { prefix, port }, endpoint)
            };
            let mut decided = BTreeSet::new();
            for (around, ports) in from_longest(*net, configs) {
                for (port, service) in &ports.named {
                    if decided.insert(*port) {
                        let entry = entry(&self.places, *around, u32::from(*port), *service);
                        self.prefix_ports.push(entry);
                    }
                }
                if let Some(service) = ports.any {
                    let entry = entry(&self.places, *around, ANY_PORT, service);
                    self.prefix_ports.push(entry);
                    break;
                }
            }
        }
    }
}

/// The least lax endpoint at each place; the first one among equals.
fn strictest<Place: Ord, Laxness: Ord>(
    endpoints: impl Iterator<Item = (Place, Endpoint)>,
    laxness: impl Fn(&Endpoint) -> Laxness,
) -> BTreeMap<Place, Endpoint> {
    let mut strictest = BTreeMap::new();
    for (place, endpoint) in endpoints {
        let known = strictest.entry(place).or_insert(endpoint);
        if laxness(&endpoint) < laxness(known) {
            *known = endpoint;
        }
    }
    strictest
}

/// The services configured for exactly one prefix.
#[derive(Debug, Default)]
struct PrefixConfig {
    named: BTreeMap<u16, u32>,
    any: Option<u32>,
}

type PrefixConfigs = BTreeMap<IpNet, PrefixConfig>;

/// The configuration of a prefix and of those that contain it, the longest first.
fn from_longest(net: IpNet, configs: &PrefixConfigs) -> Vec<(&IpNet, &PrefixConfig)> {
    let mut around: Vec<_> = configs
        .iter()
        .filter(|(other, _)| other.contains(&net))
        .collect();
    around.sort_by_key(|(other, _)| std::cmp::Reverse(other.prefix_len()));
    around
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! This machine's own addresses inside of a service's prefix.
//!
//! A prefix names servers. An address of this machine inside of it, such as the gateway of their subnet, is not one of them:
//! the operator logs in there. It gets a prefix of full length, with the ports of local services only, so that all other
//! connections to it pass. A service that names the address itself is served: an exact address is never left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use synward_core::layout::{ANY_PORT, Endpoint, NO_PORT, PrefixPort, handoff};

use super::key_slots::KeySelection;
use super::left_out::{AddedPrefix, LeftOut, OwnPrefix, PrefixChanges};
use super::map_plan::Plan;
use crate::config::Config;
use crate::kernel;

/// The warnings of `synward check`: which addresses of this machine are left out. Each with its line of the configuration.
pub fn own_address_warnings(config: &Config) -> Vec<(usize, String)> {
    let mut plan = Plan::new(
        config,
        &vec![KeySelection::default(); config.services.len()],
    );
    // Without the addresses there is nothing to report.
    plan.leave_out(kernel::own_addresses().unwrap_or_default());
    let left_out = plan.left_out();
    left_out.iter().map(|one| one.describe(config)).collect()
}

impl Plan {
    /// Leaves this machine's addresses out of the services whose prefixes hold them, and takes back those that are not this
    /// machine's any more.
    pub(super) fn leave_out(&mut self, own: BTreeSet<IpAddr>) -> PrefixChanges {
        let mut changes = PrefixChanges::default();
        if self.own.known == own {
            return changes;
        }
        let is_gone = |address: &IpAddr, _: &mut OwnPrefix| !own.contains(address);
        let gone: Vec<_> = self.own.left_out.extract_if(.., is_gone).collect();
        for (address, OwnPrefix { index, ports, .. }) in gone {
            let net = IpNet::from(address);
            self.prefixes.remove(&net);
            self.prefix_ports.retain(|(key, _)| key.prefix != index);
            let key = |port| PrefixPort {
                prefix: index,
                port,
            };
            let keys = ports.into_iter().map(key).collect();
            changes.removed.push((net, keys));
        }
        let new: Vec<_> = own.difference(&self.own.known).copied().collect();
        for address in new {
            changes.added.extend(self.leave_out_address(address));
        }
        self.own.known = own;
        changes
    }

    /// The addresses that are left out, each with the service whose prefix holds it.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let left_out = self.own.left_out.iter();
        left_out
            .flat_map(|(&address, prefix)| {
                let services = prefix.services.iter();
                services.map(move |&service| LeftOut { address, service })
            })
            .collect()
    }

    fn leave_out_address(&mut self, address: IpAddr) -> Option<AddedPrefix> {
        let net = IpNet::from(address);
        if self.prefixes.contains_key(&net) {
            // A service names this address with all its ports.
            return None;
        }
        let (kept, services) = self.split_ports(address);
        if services.is_empty() {
            return None;
        }
        let index = self.add_prefix(net);
        let strictest = kept.values().copied().min_by_key(|at| self.laxness(at));
        let unreadable = strictest.map(|endpoint| (NO_PORT, endpoint));
        let entry = |(port, endpoint)| {
            let prefix = index;
            (PrefixPort { prefix, port }, endpoint)
        };
        let ports: Vec<_> = kept.into_iter().chain(unreadable).map(entry).collect();
        self.prefix_ports.extend(ports.iter().copied());
        let prefix = OwnPrefix {
            index,
            ports: ports.iter().map(|(key, _)| key.port).collect(),
            services,
        };
        self.own.left_out.insert(address, prefix);
        Some(AddedPrefix { net, index, ports })
    }

    /// The ports that local services have at an address by prefix, and the other services that have some.
    fn split_ports(&self, address: IpAddr) -> (BTreeMap<u32, Endpoint>, BTreeSet<u32>) {
        let (mut kept, mut services) = (BTreeMap::new(), BTreeSet::new());
        for (_, index) in self.covering(address).rev() {
            let ports = self
                .prefix_ports
                .iter()
                .filter(|(key, _)| key.prefix == index && key.port != NO_PORT);
            for (key, endpoint) in ports {
                let service = endpoint.service;
                if self.services[service as usize].handoff != handoff::LOCAL {
                    services.insert(service);
                } else if !kept.contains_key(&ANY_PORT) {
                    kept.entry(key.port).or_insert(*endpoint);
                }
            }
        }
        (kept, services)
    }
}

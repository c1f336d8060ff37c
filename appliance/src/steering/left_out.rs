//! The addresses of this machine that are left out of the prefixes of services, and what that changes in the maps.
//!
//! [`own_addresses`](super::own_addresses) decides which ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use synward_core::layout::{Endpoint, PrefixPort};

use crate::config::Config;

/// An address of this machine that a prefix of a service holds, and the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The address.
    pub address: IpAddr,
    /// Index of the service.
    pub service: u32,
}

impl LeftOut {
    /// The line of the service in the configuration, and a sentence for people.
    pub fn describe(&self, config: &Config) -> (usize, String) {
        let (line, name) = match config.services.get(self.service as usize) {
            Some(service) => (service.line, service.name.as_str()),
            None => (1, ""),
        };
        let text = format!(
            "service \"{name}\": {} is an address of this machine, so its prefix leaves it out and connections to it pass; \
             a service with handoff = \"local\" that names it protects it",
            self.address
        );
        (line, text)
    }
}

/// The addresses of this machine, and those that are left out.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    pub(super) known: BTreeSet<IpAddr>,
    pub(super) left_out: BTreeMap<IpAddr, OwnPrefix>,
}

/// The prefix of an address that is left out.
#[derive(Debug)]
pub(super) struct OwnPrefix {
    pub(super) index: u32,
    pub(super) ports: Vec<u32>,
    /// The services that it is left out of.
    pub(super) services: BTreeSet<u32>,
}

impl OwnAddresses {
    /// Changes the indices of prefixes.
    pub(super) fn renumber(&mut self, numbers: &BTreeMap<u32, u32>) {
        for prefix in self.left_out.values_mut() {
            prefix.index = *numbers.get(&prefix.index).unwrap_or(&prefix.index);
        }
    }
}

/// What has to change in the maps. What is removed goes first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PrefixChanges {
    pub(super) removed: Vec<(IpNet, Vec<PrefixPort>)>,
    pub(super) added: Vec<AddedPrefix>,
}

/// A prefix that the maps do not have yet.
#[derive(Debug, PartialEq)]
pub(super) struct AddedPrefix {
    pub(super) net: IpNet,
    pub(super) index: u32,
    pub(super) ports: Vec<(PrefixPort, Endpoint)>,
}

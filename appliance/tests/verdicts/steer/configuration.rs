//! What the appliance configures: policies, endpoints, lists, VLANs, interfaces.

use std::net::{IpAddr, SocketAddr};

use aya::maps::lpm_trie::Key as Prefix;
use synward_core::layout::{
    Endpoint, EndpointKey, Globals, Interface, Interfaces, Profile, Service, VlanTags, mode,
    plain_cookies, policy_slot, push_vlan_tag, side,
};
use synward_core::wire::Address;

use super::{SERVICE, Shared, Steer};

impl Steer {
    pub(crate) fn globals(&self) -> Globals {
        Globals {
            table_key: [7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            replay_key: [7, 8],
            bucket_mask: self.mask,
            passed_idle: 60,
            prefixes: 0,
            generation: self.generation,
        }
    }

    /// Puts the bank of policies in force that `generation` names.
    pub(crate) fn in_generation(&mut self, generation: u32) {
        self.generation = generation;
        self.set("GLOBALS", 0, Shared(self.globals()));
    }

    /// Changes the service's policy from what most tests have: `always`, drop what is unknown, no limits.
    pub(crate) fn policy(&mut self, change: impl FnOnce(&mut Service)) {
        let mut service = Service {
            mode: mode::ALWAYS,
            keys: 0b11,
            plain_cookies: plain_cookies::ACCEPT,
            ..Service::default()
        };
        change(&mut service);
        self.put_policy(SERVICE, service);
    }

    /// Puts a policy in force.
    pub(crate) fn put_policy(&mut self, policy: u32, service: Service) {
        for generation in 0..2 {
            let slot = policy_slot(policy, generation);
            self.set("SERVICES", slot, Shared(service));
        }
    }

    /// Protects an address and port.
    pub(crate) fn endpoint(&mut self, at: SocketAddr, profile: Profile) {
        self.protect(at.ip(), at.port().into(), profile);
    }

    pub(crate) fn protect(&mut self, address: IpAddr, port: u32, profile: Profile) {
        self.protect_by(SERVICE, address, port, profile);
    }

    /// The same by another policy than the service's.
    pub(crate) fn protect_by(&mut self, policy: u32, address: IpAddr, port: u32, profile: Profile) {
        let key = EndpointKey {
            address: address.into(),
            port,
        };
        let endpoint = Endpoint {
            service: SERVICE,
            policy,
            since: 1,
            now: profile,
            before: profile,
        };
        self.hash_map("ENDPOINTS")
            .insert(Shared(key), Shared(endpoint), 0)
            .unwrap();
        self.generation += 1;
        self.set("GLOBALS", 0, Shared(self.globals()));
    }

    /// Puts a source prefix on a list of the service: 1 allowed, 2 denied.
    pub(crate) fn list(&mut self, prefix: &str, verdict: u32) {
        let (address, length) = prefix.split_once('/').unwrap();
        let ip: IpAddr = address.parse().unwrap();
        let length: u32 = length.parse::<u32>().unwrap() + if ip.is_ipv4() { 96 } else { 0 };
        let [a, b, c, d] = Address::from(ip).0;
        self.trie("LISTS")
            .insert(&Prefix::new(32 + length, [SERVICE, a, b, c, d]), verdict, 0)
            .unwrap();
    }

    /// Makes a VLAN device on every interface, as far as the program is concerned: (protocol, id), the outer tag first.
    pub(crate) fn vlan_device(&mut self, tags: &[(u16, u16)]) {
        let push = |before, (protocol, id): &(u16, u16)| push_vlan_tag(before, *protocol, *id);
        let tags = tags.iter().fold(0, push);
        for interface in self.interfaces {
            let key = VlanTags {
                tags,
                interface,
                reserved: 0,
            };
            let mut map = self.hash_map::<Shared<VlanTags>, u32>("VLANS");
            map.insert(Shared(key), 0, 0).unwrap();
        }
    }

    /// Says how the interface in a slot is steered.
    pub(crate) fn steered(&mut self, slot: usize, interface: Interface) {
        let Shared(mut all) = self
            .array::<Shared<Interfaces>>("INTERFACES")
            .get(&0, 0)
            .unwrap();
        all.index[slot] = self.interfaces[slot];
        all.interface[slot] = interface;
        self.set("INTERFACES", 0, Shared(all));
    }

    /// Has a worker answer SYNs of queue 0 outside.
    pub(crate) fn answer_by_worker(&mut self) {
        self.answer_by_workers([0]);
    }

    /// Has workers answer SYNs of these queues outside.
    pub(crate) fn answer_by_workers(&mut self, queues: impl IntoIterator<Item = u32>) {
        let interface = Interface {
            side: side::OUTSIDE,
            slot: 0,
            afxdp: queues.into_iter().collect(),
        };
        self.steered(0, interface);
    }
}

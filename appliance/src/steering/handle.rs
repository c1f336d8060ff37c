//! The handle to the loaded program: what it holds, and what it hands out to others.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aya::programs::SchedClassifier;
use synward_core::counters::{SLOTS, ServiceCounters};
use synward_core::layout::{Clock, MAX_INTERFACES, MAX_QUEUES, Service, VlanTags};
use synward_core::queue_set::QueueSet;

use super::address_policies::AddressPolicies;
use super::adoption::Adoption;
use super::attach::Attachment;
use super::chain::{Arrivals, Entry};
use super::classifier::TcAttachment;
use super::client_mss::ClientWays;
use super::endpoint_profiles::EndpointProfiles;
use super::error::{SteeringError, map_failed};
use super::interface_discovery::{Attached, Found, SteeredInterface};
use super::kept_attacks::KeptAttacks;
use super::key_slots::KeySlots;
use super::next_hops::NextHops;
use super::object::Object;
use super::own_sources::OwnSources;
use super::pins::Pins;
use super::policy_banks::PolicyBanks;
use super::standby_ports::StandbyPorts;
use crate::config::{self, Mode};
use crate::kernel::LinkWatch;
use crate::lists::Contents;
use crate::maps::{FlowTable, Heartbeats, Plain, ReplayCache};
use crate::secret::ServiceKey;

/// The loaded XDP program, its maps and its attachments.
///
/// Dropping it without [`Steering::stop`] detaches the program. A panic leaves what is pinned in place, as a killed process
/// does.
pub struct Steering {
    pub(super) object: Object,
    pub(super) found: Vec<Found>,
    pub(super) interfaces: Vec<SteeredInterface>,
    /// The `[[interface]]` sections, in the same order.
    pub(super) wanted: Vec<config::Interface>,
    /// What the interfaces had when the program was attached.
    pub(super) watched: Vec<Attached>,
    /// Reports which of them are deleted. `None`: the kernel has no socket for it, and only those are noticed that are gone for
    /// a second.
    pub(super) link_watch: Option<LinkWatch>,
    /// The ports that their bond does not use.
    pub(super) standby_ports: StandbyPorts,
    pub(super) attachments: Vec<Attachment>,
    /// The program that others call, if an interface has `attach = "none"`.
    pub(super) entry: Option<Entry>,
    /// What arrived by it, by interface index.
    pub(super) arrivals: BTreeMap<u32, Arrivals>,
    /// The TC program runs after XDP, so it is dropped after `attachments`.
    pub(super) assignments: Vec<TcAttachment>,
    pub(super) pins: Option<Pins>,
    pub(super) taken_over: Option<u32>,
    /// The policies in force.
    pub(super) services: Vec<Service>,
    /// ... and of addresses.
    pub(super) addresses: AddressPolicies,
    /// The attacks in progress, for the next process.
    pub(super) kept_attacks: KeptAttacks,
    pub(super) banks: PolicyBanks,
    /// Whether the kernel creates connections from our cookies; `None`: it has not been asked, as no service is local.
    pub(super) takes_connections: Option<bool>,
    /// What the map of lists holds.
    pub(super) lists: Contents,
    /// Whether SYNs are dropped because the process is about to end.
    pub(super) draining: bool,
    /// Whether some local service uses our cookies, and so needs the TC program.
    pub(super) assigns: bool,
    pub(super) keys: KeySlots,
    pub(super) clock: Clock,
    /// The mode of each service.
    pub(super) modes: Vec<Mode>,
    /// How connections that exist at the start are adopted.
    pub(super) adoption: Adoption,
    /// After how long an idle connection may be forgotten.
    pub(super) idle: Duration,
    pub(super) next_hops: NextHops,
    /// The links and routes towards clients.
    pub(super) client_ways: ClientWays,
    /// The VLANs in the map.
    pub(super) vlans: BTreeSet<VlanTags>,
    pub(super) own_sources: OwnSources,
    pub(super) table: Arc<FlowTable>,
    pub(super) replays: Arc<ReplayCache>,
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) endpoints: Arc<EndpointProfiles>,
}

impl Steering {
    /// The steered interfaces, in the order of the configuration and of their slots.
    pub fn interfaces(&self) -> &[SteeredInterface] {
        &self.interfaces
    }

    /// The id by which the kernel knows the XDP program.
    ///
    /// # Errors
    /// The kernel does not describe it.
    pub fn program_id(&mut self) -> Result<u32, SteeringError> {
        self.object.program_id()
    }

    /// The smallest MTU of the interfaces that face clients, bytes, as it was seen last.
    pub fn mtu(&self) -> u32 {
        self.client_ways.link_mtu
    }

    /// The number of spliced connections taken over from a process that was killed or left its program attached; `None`:
    /// there was no such process.
    pub fn taken_over(&self) -> Option<u32> {
        self.taken_over
    }

    /// Enters the AF_XDP socket `fd`, bound to `queue`, in the XSKMAP. The kernel removes it when the socket is closed.
    ///
    /// # Errors
    /// `slot` or `queue` is out of range, or the kernel refuses the descriptor.
    pub fn set_socket(&mut self, slot: u32, queue: u32, fd: RawFd) -> Result<(), SteeringError> {
        if slot >= MAX_INTERFACES || queue >= MAX_QUEUES {
            return Err(SteeringError::Slot { slot, queue });
        }
        self.object
            .sockets
            .set(slot * MAX_QUEUES + queue, fd, 0)
            .map_err(map_failed("SOCKETS"))
    }

    /// Lets workers answer SYNs on these queues of the interface in `slot`, and the XDP program on all others.
    ///
    /// # Errors
    /// No interface has the slot, or the kernel refuses the write.
    pub fn set_responder(
        &mut self,
        slot: u32,
        afxdp_queues: QueueSet,
    ) -> Result<(), SteeringError> {
        if slot as usize >= self.interfaces.len() {
            return Err(SteeringError::Slot { slot, queue: 0 });
        }
        let Plain(mut interfaces) = self
            .object
            .interfaces
            .get(&0, 0)
            .map_err(map_failed("INTERFACES"))?;
        interfaces.interface[slot as usize].afxdp = afxdp_queues;
        self.object
            .interfaces
            .set(0, Plain(interfaces), 0)
            .map_err(map_failed("INTERFACES"))
    }

    /// The flow table, shared with workers.
    pub fn table(&self) -> Arc<FlowTable> {
        Arc::clone(&self.table)
    }

    /// The replay cache, shared with workers.
    pub fn replays(&self) -> Arc<ReplayCache> {
        Arc::clone(&self.replays)
    }

    /// The heartbeats of workers.
    pub fn heartbeats(&self) -> Arc<Heartbeats> {
        Arc::clone(&self.heartbeats)
    }

    /// The TCP options that SYN-ACKs offer.
    pub fn endpoints(&self) -> Arc<EndpointProfiles> {
        Arc::clone(&self.endpoints)
    }

    /// Reads the counters of a service, summed over all CPUs.
    ///
    /// # Errors
    /// The service does not exist, or the kernel refuses the read.
    pub fn counters(&self, service: u32) -> Result<ServiceCounters, SteeringError> {
        self.service(service)?;
        let cpus = self
            .object
            .counters
            .get(&service, 0)
            .map_err(map_failed("COUNTERS"))?;
        let mut sum = [0u64; SLOTS];
        for Plain(ServiceCounters(counters)) in cpus.iter() {
            for (sum, count) in sum.iter_mut().zip(counters) {
                *sum = sum.wrapping_add(*count);
            }
        }
        Ok(ServiceCounters(sum))
    }

    /// The key that issues the cookies of each service; `None`: it has none.
    pub fn issuing_keys(&self) -> Vec<Option<ServiceKey>> {
        self.keys.issuing()
    }

    /// Whether a local service can be added while the program runs: the programs for it are loaded and attached.
    pub fn can_serve_locally(&self, cookies: config::Cookies) -> bool {
        match self.takes_connections {
            None => false,
            Some(false) => true,
            Some(true) => self.assigns || cookies == config::Cookies::Kernel,
        }
    }

    /// What the map of lists holds.
    pub fn lists(&self) -> &Contents {
        &self.lists
    }

    /// The program that injects a frame on an interface, and the interfaces, for probes before [`Steering::attach`].
    ///
    /// # Errors
    /// The object has no such program.
    pub fn injector(&mut self) -> Result<(&SchedClassifier, &[SteeredInterface]), SteeringError> {
        Ok((self.object.injector()?, &self.interfaces))
    }

    pub(super) fn service(&self, service: u32) -> Result<Service, SteeringError> {
        let found = self.services.get(service as usize).copied();
        found.ok_or(SteeringError::NoService { service })
    }
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pins = self
            .pins
            .as_ref()
            .map(Pins::folder)
            .unwrap_or(Path::new(""));
        f.debug_struct("Steering")
            .field("interfaces", &self.interfaces)
            .field("pin", &pins)
            .finish_non_exhaustive()
    }
}

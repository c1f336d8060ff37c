//! The handle to the loaded program: attaches, updates and detaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aya::programs::SchedClassifier;
use synward_core::counters::{SLOTS, ServiceCounters};
use synward_core::layout::{
    Clock, MAX_INTERFACES, MAX_QUEUES, Service, VlanTags, cookies, handoff, key_slot,
};
use synward_core::queue_set::QueueSet;

use super::address_policies::{self, AddressPolicies};
use super::attach::{self, Attachment};
use super::chain;
use super::chain::{Arrivals, Entry};
use super::classifier::{self, TcAttachment};
use super::endpoint_profiles::EndpointProfiles;
use super::error::{SteeringError, map_failed};
use super::fill;
use super::interface_discovery::{Attached, Found, SteeredInterface};
use super::kept_attacks::KeptAttacks;
use super::key_slots::KeySlots;
use super::modes::Adoption;
use super::next_hops::NextHops;
use super::object::{HANDED_OVER, NEXT, Object};
use super::own_sources::OwnSources;
use super::pins::Pins;
use super::policy_banks::PolicyBanks;
use crate::config::{self, Mode};
use crate::kernel;
use crate::lists::{Change, Contents};
use crate::maps::{FlowTable, Heartbeats, Plain, ReplayCache, Times, coarse_now};
use crate::secret::ServiceKey;

/// Nanoseconds of drift from the wall clock below which the clock is not written.
const DRIFT: u64 = 10_000_000;

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
    /// The attacks that the next process has to know of.
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
    /// The VLANs in the map.
    pub(super) vlans: BTreeSet<VlanTags>,
    pub(super) own_sources: OwnSources,
    pub(super) table: Arc<FlowTable>,
    pub(super) replays: Arc<ReplayCache>,
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) endpoints: Arc<EndpointProfiles>,
}

impl Steering {
    /// Attaches the program to every interface and pins the links. XDP is native if the driver supports it and the
    /// configuration allows it.
    ///
    /// # Errors
    /// One interface cannot be steered. Then none is, except those that a killed process left steered.
    pub fn attach(&mut self) -> Result<(), SteeringError> {
        if !self.attachments.is_empty() {
            return Ok(());
        }
        // The adoption period begins here, not at loading.
        self.start_adoption(coarse_now())?;
        self.renew_vlans()?;
        self.renew_own_addresses()?;
        // Workers are expected from now on, though none is alive yet.
        (0..MAX_QUEUES).for_each(|queue| self.heartbeats.stop(queue));
        if self.taken_over.is_some() {
            self.keep_unanswered(&Times::now())?;
        }
        let result = self.pin_and_attach();
        match result {
            Ok(attachments) => self.attachments = attachments,
            Err(error) => {
                self.assignments.drain(..).for_each(classifier::detach);
                if let (Some(pins), None) = (&self.pins, self.taken_over) {
                    let _ = pins.clear();
                }
                return Err(error);
            }
        }
        self.watch_attached()?;
        for interface in &self.interfaces {
            for notice in &interface.notices {
                tracing::warn!("{notice}");
            }
            let (name, native) = (&interface.name, interface.native);
            match &self.entry {
                Some(entry) if interface.called => tracing::info!(
                    interface = name,
                    native,
                    "steered once another program calls {}",
                    entry.path().display()
                ),
                _ => tracing::info!(interface = name, native, "steered"),
            }
        }
        if let Some(flows) = self.taken_over {
            tracing::info!(flows, "taken over from a process before this one");
        }
        Ok(())
    }

    fn pin_and_attach(&mut self) -> Result<Vec<Attachment>, SteeringError> {
        let pins = self.pins.as_ref();
        if let Some(pins) = pins {
            pins.record_schema()?;
            let is_there = |name: &str| {
                self.taken_over.is_some()
                    && matches!(
                        name,
                        "TAGS"
                            | "FLOWS"
                            | "PASSED"
                            | "REPLAY_CACHE"
                            | "WAITING"
                            | HANDED_OVER
                            | "OCCUPANCY"
                    )
                    // The program that is attached now calls by the pinned one.
                    || name == NEXT
            };
            for (name, map) in self
                .object
                .inherited
                .iter()
                .filter(|(name, _)| !is_there(name))
            {
                pins.pin_map(name, map)?;
            }
            self.kept_attacks.pin(pins)?;
        }
        // TC comes first: XDP must not pass ACKs with cookies while no TC program verifies them.
        if self.assigns {
            let program = self.object.classifier()?;
            self.assignments = classifier::attach_all(program, &self.found, pins)?;
        }
        let program = self.object.program()?;
        let attachments = attach::attach_all(program, &mut self.found, &self.wanted, pins)?;
        if let Some(pins) = pins {
            for (name, map) in self
                .object
                .inherited
                .iter()
                .filter(|(name, _)| *name == NEXT)
            {
                pins.pin_map(name, map)?;
            }
            let frags = self.object.frags;
            self.entry = chain::enter(&self.found, self.object.program()?, pins, frags)?;
            let is_steered =
                |name: &String| self.found.iter().any(|found| found.steered.name == *name);
            for interface in pins.links().iter().filter(|name| !is_steered(name)) {
                pins.detach(interface)?;
            }
            classifier::detach_others(pins, &self.assignments)?;
        }
        Ok(attachments)
    }

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

    /// The smallest MTU of the interfaces that face clients, bytes.
    pub fn mtu(&self) -> u32 {
        let outside = self
            .interfaces
            .iter()
            .filter(|one| one.side.faces_clients());
        outside.map(|one| one.mtu).min().unwrap_or(u32::MAX)
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

    /// Has the map of lists hold what is wanted. Prefixes are written before others are removed.
    ///
    /// # Errors
    /// The kernel refuses a write. What was written until then stays.
    pub fn set_lists(&mut self, wanted: &Contents) -> Result<(), SteeringError> {
        self.change_lists(self.lists.changes_to(wanted))?;
        self.control_services()
    }

    /// Changes the map of lists.
    pub(super) fn change_lists(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), SteeringError> {
        for change in changes {
            fill::write_listed(&mut self.object, change)?;
            self.lists.apply(change);
        }
        Ok(())
    }

    /// Begins or ends dropping the SYNs of services that are protected. Cookies that are out and flows go on.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub fn set_draining(&mut self, draining: bool) -> Result<(), SteeringError> {
        self.draining = draining;
        self.control_services()
    }

    /// Writes the services for which lists or drain have changed.
    fn control_services(&mut self) -> Result<(), SteeringError> {
        let services = self.services.clone();
        if self.with_controls(services.clone()) == services {
            return Ok(());
        }
        self.put_policies_in_force(services)
    }

    /// Updates the clock and the keys of the program. Call it several times per epoch (32 s). It is cheap if nothing is due.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub fn refresh(&mut self, now: &Times) -> Result<(), SteeringError> {
        let keys = &mut self.object.keys;
        self.keys
            .fill(now.epoch(), |service, slot| {
                keys.set(key_slot(service, slot.epoch), Plain(slot), 0)
            })
            .map_err(map_failed("KEYS"))?;
        self.expire_keys(now.epoch())?;
        self.endpoints.offer_pending(now.epoch() + 1)?;

        let clock = now.clock();
        let drift = clock.epoch_start.wrapping_sub(self.clock.epoch_start) as i64;
        if clock.epoch != self.clock.epoch || drift.unsigned_abs() > DRIFT {
            // A reader may see one field changed and the other not. Its epoch is then off by one, which every cookie
            // check tolerates.
            self.object
                .clock
                .set(0, Plain(clock), 0)
                .map_err(map_failed("CLOCK"))?;
            self.clock = clock;
        }
        Ok(())
    }

    /// Reads whether the kernel's cookies can carry options (`net.ipv4.tcp_timestamps`), and writes changes to the services.
    /// It is cheap if nothing has changed.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub fn refresh_kernel_clock(&mut self) -> Result<(), SteeringError> {
        let times = if kernel::has_bare_clock() {
            cookies::TIMES
        } else {
            0
        };
        for index in 0..self.services.len() {
            let mut service = self.services[index];
            if service.handoff == handoff::LOCAL && service.cookies & cookies::TIMES != times {
                service.cookies ^= cookies::TIMES;
                self.write_service(index as u32, service)?;
            }
        }
        Ok(())
    }

    /// Leaves the addresses that this machine has now out of the services whose prefixes hold them, and refuses them as
    /// sources. It is cheap if they are the same as before.
    ///
    /// # Errors
    /// The kernel cannot list the addresses or refuses a write.
    pub fn renew_own_addresses(&mut self) -> Result<(), SteeringError> {
        let own = kernel::own_addresses().map_err(SteeringError::Netlink)?;
        self.renew_own_sources(&own)?;
        let object = &mut self.object;
        self.endpoints
            .leave_out(own, |changes| fill::change_prefixes(object, changes))
    }

    /// The program that injects a frame on an interface, and the interfaces, for probes before [`Steering::attach`].
    ///
    /// # Errors
    /// The object has no such program.
    pub fn injector(&mut self) -> Result<(&SchedClassifier, &[SteeredInterface]), SteeringError> {
        Ok((self.object.injector()?, &self.interfaces))
    }

    /// Detaches the program from every interface and removes what is pinned. With `keep`, leaves both in place for the next
    /// process, so that spliced connections continue.
    ///
    /// # Errors
    /// Something cannot be removed; or, with `keep`, nothing is pinned, and everything is detached.
    pub fn stop(mut self, keep: bool) -> Result<(), SteeringError> {
        if !keep {
            return self.detach_all();
        }
        match self.pins.take() {
            // With `pins` taken, dropping only closes descriptors.
            Some(_) => Ok(()),
            None => Err(SteeringError::NothingPinned),
        }
    }

    fn detach_all(&mut self) -> Result<(), SteeringError> {
        self.attachments.drain(..).for_each(attach::detach);
        self.assignments.drain(..).for_each(classifier::detach);
        // It stays pinned: the next process finds its callers still there.
        if let Some(mut entry) = self.entry.take() {
            entry.clear();
        }
        match self.pins.take() {
            Some(pins) => pins.clear().map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn service(&self, service: u32) -> Result<Service, SteeringError> {
        let found = self.services.get(service as usize).copied();
        found.ok_or(SteeringError::NoService { service })
    }

    /// What drains and lists say about a service. With mode `off` and `monitor` the program leaves it alone; with `monitor` it
    /// counts what the lists would have done.
    fn with_control(&self, index: u32, service: Service) -> Service {
        let mode = self.modes.get(index as usize);
        let acts = !matches!(mode, Some(Mode::Off | Mode::Monitor));
        let counts = acts || mode == Some(&Mode::Monitor);
        Service {
            listed: u8::from(counts && self.lists.lists(index)),
            draining: u8::from(acts && self.draining),
            ..service
        }
    }

    pub(super) fn write_service(
        &mut self,
        index: u32,
        service: Service,
    ) -> Result<(), SteeringError> {
        let mut services = self.services.clone();
        services[index as usize] = service;
        self.put_policies_in_force(services)
    }

    /// Changes the policies of all services at one moment, and with them those of their addresses.
    ///
    /// # Errors
    /// The kernel refuses a write; the policies are unchanged.
    pub(super) fn put_policies_in_force(
        &mut self,
        services: Vec<Service>,
    ) -> Result<(), SteeringError> {
        let services = self.with_controls(services);
        let addresses = self.address_policies(&services);
        let bank = address_policies::bank(&services, &addresses);
        let generation = self.endpoints.generation();
        self.banks
            .prepare(&mut self.object.services, generation, &bank)?;
        self.endpoints.change_bank()?;
        self.services = services;
        self.addresses.in_force = addresses;
        Ok(())
    }

    fn with_controls(&self, services: Vec<Service>) -> Vec<Service> {
        let services = (0..).zip(services);
        services
            .map(|(index, service)| self.with_control(index, service))
            .collect()
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.attachments.is_empty() {
            // Never attached: keep what a killed process left, but remove an empty folder.
            if let Some(pins) = &self.pins {
                pins.remove_if_empty();
            }
            return;
        }
        if self.pins.is_some() {
            let _ = self.detach_all();
        }
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

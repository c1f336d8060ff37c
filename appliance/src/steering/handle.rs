//! The handle to the program in the kernel: attached, kept up to date, taken off.

use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aya::programs::SchedClassifier;
use synward_core::counters::{SLOTS, ServiceCounters};
use synward_core::layout::{
    Clock, Interface, MAX_INTERFACES, MAX_QUEUES, Service, cookies, handoff, key_slot, mode,
};

use super::attach::{self, Attachment};
use super::classifier::{self, Assignment};
use super::endpoint_profiles::EndpointProfiles;
use super::error::{SteeringError, map_failed};
use super::interface_discovery::{Found, SteeredInterface, side_bits};
use super::key_slots::KeySlots;
use super::map_plan;
use super::object::Object;
use super::pins::Pins;
use crate::config::{Mode, XdpMode};
use crate::kernel;
use crate::maps::{FlowTable, Heartbeats, Plain, Times, coarse_now};

/// A clock that has drifted less than this from the wall clock is left alone.
const DRIFT: u64 = 10_000_000;

/// The XDP program in the kernel and everything that belongs to it.
///
/// Dropped without [`Steering::stop`], it takes itself off; only a panic leaves what is pinned in place, as a killed
/// process does.
pub struct Steering {
    pub(super) object: Object,
    pub(super) found: Vec<Found>,
    pub(super) interfaces: Vec<SteeredInterface>,
    pub(super) modes: Vec<XdpMode>,
    pub(super) attachments: Vec<Attachment>,
    /// Behind them: dropped after them.
    pub(super) assignments: Vec<Assignment>,
    pub(super) pins: Option<Pins>,
    pub(super) taken_over: Option<u32>,
    pub(super) services: Vec<Service>,
    /// Whether the program at TC has anything to do.
    pub(super) assigns: bool,
    pub(super) keys: KeySlots,
    pub(super) clock: Clock,
    pub(super) adopt: Duration,
    pub(super) table: Arc<FlowTable>,
    pub(super) heartbeats: Arc<Heartbeats>,
    pub(super) endpoints: Arc<EndpointProfiles>,
}

impl Steering {
    /// Puts the program on every interface, in its driver if that can and the configuration does not forbid it, and
    /// pins it.
    ///
    /// # Errors
    /// Why one interface cannot be steered; then none is, but for those that a killed process left steered.
    pub fn attach(&mut self) -> Result<(), SteeringError> {
        if !self.attachments.is_empty() {
            return Ok(());
        }
        // Adoption counts from here, not from the loading.
        self.adopt_from(coarse_now())?;
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
        self.interfaces = self
            .found
            .iter()
            .map(|found| found.steered.clone())
            .collect();
        for interface in &self.interfaces {
            for notice in &interface.notices {
                tracing::warn!("{notice}");
            }
            let (interface, native) = (&interface.name, interface.native);
            tracing::info!(interface, native, "steered");
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
                        "TAGS" | "FLOWS" | "PASSED" | "REPLAY_CACHE" | "OCCUPANCY"
                    )
            };
            for (name, map) in self
                .object
                .inherited
                .iter()
                .filter(|(name, _)| !is_there(name))
            {
                pins.pin_map(name, map)?;
            }
        }
        // In front of it nothing may pass a cookie that nobody takes.
        if self.assigns {
            let program = self.object.classifier()?;
            self.assignments = classifier::attach_all(program, &self.found, pins)?;
        }
        let program = self.object.program()?;
        let attachments = attach::attach_all(program, &mut self.found, &self.modes, pins)?;
        if let Some(pins) = pins {
            let is_steered =
                |name: &String| self.found.iter().any(|found| found.steered.name == *name);
            for interface in pins.links().iter().filter(|name| !is_steered(name)) {
                pins.detach(interface)?;
            }
            classifier::detach_others(pins, &self.assignments)?;
        }
        Ok(attachments)
    }

    /// The interfaces, in the order of the configuration and of their slots.
    pub fn interfaces(&self) -> &[SteeredInterface] {
        &self.interfaces
    }

    /// Smallest MTU of the links towards clients, bytes.
    pub fn mtu(&self) -> u32 {
        let outside = self
            .interfaces
            .iter()
            .filter(|one| one.side.faces_clients());
        outside.map(|one| one.mtu).min().unwrap_or(u32::MAX)
    }

    /// How many spliced connections were taken over from a process that was killed or left its program in place;
    /// nothing if there was none.
    pub fn taken_over(&self) -> Option<u32> {
        self.taken_over
    }

    /// Gives the AF_XDP socket `fd`, bound to that queue, to the program. The kernel forgets it when it is closed.
    ///
    /// # Errors
    /// The numbers are out of range, or the kernel refuses the descriptor.
    pub fn set_socket(&mut self, slot: u32, queue: u32, fd: RawFd) -> Result<(), SteeringError> {
        if slot >= MAX_INTERFACES || queue >= MAX_QUEUES {
            return Err(SteeringError::Slot { slot, queue });
        }
        self.object
            .sockets
            .set(slot * MAX_QUEUES + queue, fd, 0)
            .map_err(map_failed("SOCKETS"))
    }

    /// Has workers answer SYNs on the queues (bit q) of the interface in `slot`, and the program on all others.
    ///
    /// # Errors
    /// No such slot, or the kernel refuses.
    pub fn set_responder(&mut self, slot: u32, afxdp_queues: u64) -> Result<(), SteeringError> {
        let Some(interface) = self.interfaces.get(slot as usize) else {
            return Err(SteeringError::Slot { slot, queue: 0 });
        };
        let value = Interface {
            side: side_bits(interface.side),
            slot,
            afxdp: afxdp_queues,
        };
        let Plain(mut interfaces) = self
            .object
            .interfaces
            .get(&0, 0)
            .map_err(map_failed("INTERFACES"))?;
        interfaces.interface[slot as usize] = value;
        self.object
            .interfaces
            .set(0, Plain(interfaces), 0)
            .map_err(map_failed("INTERFACES"))
    }

    /// The flow table.
    pub fn table(&self) -> Arc<FlowTable> {
        Arc::clone(&self.table)
    }

    /// Where workers show that they live.
    pub fn heartbeats(&self) -> Arc<Heartbeats> {
        Arc::clone(&self.heartbeats)
    }

    /// What SYN-ACKs promise.
    pub fn endpoints(&self) -> Arc<EndpointProfiles> {
        Arc::clone(&self.endpoints)
    }

    /// What the program has counted for a service, all CPUs together.
    ///
    /// # Errors
    /// No such service, or the kernel refuses.
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

    /// The mode of a service.
    ///
    /// # Errors
    /// No such service.
    pub fn mode(&self, service: u32) -> Result<Mode, SteeringError> {
        self.service(service)
            .map(|service| map_plan::mode_of(service.mode))
    }

    /// Changes the mode of a service. From its activation on, unknown segments are learned from for as long as after
    /// the start.
    ///
    /// # Errors
    /// No such service, or the kernel refuses.
    pub fn set_mode(&mut self, service: u32, to: Mode) -> Result<(), SteeringError> {
        let mut changed = self.service(service)?;
        let was = std::mem::replace(&mut changed.mode, map_plan::mode_byte(to));
        if changed.mode == mode::ALWAYS && was != mode::ALWAYS {
            changed.adopt_until = map_plan::adopt_until(&changed, coarse_now(), self.adopt);
        }
        self.write_service(service, changed)
    }

    /// Keeps the program's time and keys right; to be called some times in each epoch of 32 s. Cheap when nothing is
    /// due.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn refresh(&mut self, now: &Times) -> Result<(), SteeringError> {
        let keys = &mut self.object.keys;
        self.keys
            .fill(now.epoch(), |service, slot| {
                keys.set(key_slot(service, slot.epoch), Plain(slot), 0)
            })
            .map_err(map_failed("KEYS"))?;

        let clock = now.clock();
        let drift = clock.epoch_start.wrapping_sub(self.clock.epoch_start) as i64;
        if clock.epoch != self.clock.epoch || drift.unsigned_abs() > DRIFT {
            // The two fields may be read half changed: then the epoch is wrong by one, which every cookie allows for.
            self.object
                .clock
                .set(0, Plain(clock), 0)
                .map_err(map_failed("CLOCK"))?;
            self.clock = clock;
        }
        Ok(())
    }

    /// Notes whether the kernel's cookies can hold options now (`net.ipv4.tcp_timestamps`). Cheap when nothing has changed.
    ///
    /// # Errors
    /// The kernel refuses.
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

    /// The program that lets a frame arrive on an interface, and the interfaces; for probes before
    /// [`Steering::attach`].
    ///
    /// # Errors
    /// The object has no such program.
    pub fn injector(&mut self) -> Result<(&SchedClassifier, &[SteeredInterface]), SteeringError> {
        Ok((self.object.injector()?, &self.interfaces))
    }

    /// Takes the program off every interface and removes what is pinned. With `keep`, and something pinned, leaves
    /// both in place for the next process instead: spliced connections go on.
    ///
    /// # Errors
    /// Something could not be removed; or nothing is pinned that could be kept, and all is taken off.
    pub fn stop(mut self, keep: bool) -> Result<(), SteeringError> {
        if !keep {
            return self.take_off();
        }
        match self.pins.take() {
            // Without pins in its hand, dropping only closes descriptors.
            Some(_) => Ok(()),
            None => Err(SteeringError::NothingPinned),
        }
    }

    fn take_off(&mut self) -> Result<(), SteeringError> {
        self.attachments.drain(..).for_each(attach::detach);
        self.assignments.drain(..).for_each(classifier::detach);
        match self.pins.take() {
            Some(pins) => pins.clear().map(drop),
            None => Ok(()),
        }
    }

    fn service(&self, service: u32) -> Result<Service, SteeringError> {
        let found = self.services.get(service as usize).copied();
        found.ok_or(SteeringError::NoService { service })
    }

    pub(super) fn write_service(
        &mut self,
        index: u32,
        service: Service,
    ) -> Result<(), SteeringError> {
        self.object
            .services
            .set(index, Plain(service), 0)
            .map_err(map_failed("SERVICES"))?;
        self.services[index as usize] = service;
        self.endpoints.service_changed()
    }

    /// Writes all services, with adoption for as long as configured from `now` on.
    pub(super) fn adopt_from(&mut self, now: u64) -> Result<(), SteeringError> {
        for index in 0..self.services.len() {
            let mut service = self.services[index];
            service.adopt_until = map_plan::adopt_until(&service, now, self.adopt);
            self.write_service(index as u32, service)?;
        }
        Ok(())
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.attachments.is_empty() {
            // Never attached: what a killed process left stays, an empty folder goes.
            if let Some(pins) = &self.pins {
                pins.remove_if_empty();
            }
            return;
        }
        if self.pins.is_some() {
            let _ = self.take_off();
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

//! Attaches the loaded program to all interfaces or to none, and detaches it.

use synward_core::layout::MAX_QUEUES;

use super::attach::{self, Attachment};
use super::chain;
use super::classifier;
use super::error::SteeringError;
use super::handle::Steering;
use super::map_sizes::HANDED_OVER;
use super::object::NEXT;
use crate::maps::{Times, coarse_now};

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
        // Before the first packet comes on a port that its bond does not use.
        self.follow_standby_ports()?;
        // Workers are expected from now on, though none is alive yet.
        (0..MAX_QUEUES).for_each(|queue| self.heartbeats.stop(queue));
        if self.taken_over.is_some() {
            let clients = self.keep_unanswered(&Times::now())?;
            if clients != 0 {
                tracing::info!(
                    clients,
                    "clients that the previous process had not served wait for workers"
                );
            }
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
            tracing::info!(flows, "taken over from the previous process");
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

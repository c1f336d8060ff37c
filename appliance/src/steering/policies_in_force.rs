//! Puts the policies of all services in force at one moment, with what lists and drain add to them.

use synward_core::layout::Service;

use super::address_policies;
use super::error::SteeringError;
use super::fill;
use super::handle::Steering;
use crate::config::Mode;
use crate::lists::{Change, Contents};

impl Steering {
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

    /// Starts or stops dropping the SYNs of protected services. Cookies that were issued stay valid, and flows continue.
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
}

//! Which services challenge their clients, and what continues when one starts or stops.
//!
//! A connection from before is either known to the program, because it learned it from the server, or is adopted:
//! for a while segments of unknown connections pass, and a few pass for hours, and the server decides. A cookie that was
//! issued before a service stopped challenging still opens its connection.

use synward_core::layout::{Service, mode, when_absent};

use super::adoption::{Adoption, COOKIE_LIFE};
use super::error::SteeringError;
use super::handle::Steering;
use super::map_encoding::mode_byte;
use crate::config::{Config, Mode};
use crate::maps::coarse_now;

impl Steering {
    /// The mode of a service.
    ///
    /// # Errors
    /// The service does not exist.
    pub fn mode(&self, service: u32) -> Result<Mode, SteeringError> {
        let mode = self.modes.get(service as usize).copied();
        mode.ok_or(SteeringError::NoService { service })
    }

    /// Whether a service challenges its clients now.
    pub fn challenges(&self, service: u32) -> bool {
        let service = self.services.get(service as usize);
        service.is_some_and(|service| service.mode == mode::ALWAYS)
    }

    /// Changes the mode of a service. With `auto` it goes on as before, until [`Steering::set_attack`].
    ///
    /// # Errors
    /// The service does not exist, or the kernel refuses the write.
    pub fn set_mode(&mut self, service: u32, to: Mode) -> Result<(), SteeringError> {
        let challenged = self.challenges(service);
        let byte = match to {
            Mode::Auto if challenged => mode::ALWAYS,
            other => mode_byte(other),
        };
        let before = self.mode(service)?;
        self.modes[service as usize] = to;
        let written = self.write_mode(service, byte);
        if written.is_err() {
            self.modes[service as usize] = before;
        }
        written
    }

    /// The policy of a service whose mode becomes `to`, when it was `was` before.
    pub(super) fn with_mode(&self, policy: Service, was: &Service, to: Mode) -> Service {
        let byte = match to {
            Mode::Auto if was.mode == mode::ALWAYS => mode::ALWAYS,
            other => mode_byte(other),
        };
        let times = Service {
            mode: was.mode,
            adopt_until: was.adopt_until,
            judge_until: was.judge_until,
            cookies_until: was.cookies_until,
            under_attack: was.under_attack,
            ..policy
        };
        self.challenge(times, byte)
    }

    /// Takes over the times that the configuration sets.
    pub(super) fn follow_times(&mut self, config: &Config) {
        self.idle = config.flows.idle;
        self.adoption = Adoption::at_start(config.appliance.adopt, self.idle);
    }

    fn write_mode(&mut self, service: u32, byte: u8) -> Result<(), SteeringError> {
        let changed = self.challenge(self.service(service)?, byte);
        self.write_service(service, changed)
    }

    /// The policy with another mode. A service that starts challenging adopts the connections that exist; one that stops
    /// honours its cookies for a while.
    pub(super) fn challenge(&self, mut changed: Service, byte: u8) -> Service {
        let was = std::mem::replace(&mut changed.mode, byte);
        let now = coarse_now();
        match (was == mode::ALWAYS, byte == mode::ALWAYS) {
            (false, true) => self
                .adoption
                .while_running(self.idle)
                .begin(&mut changed, now),
            (true, false) => changed.cookies_until = now.saturating_add(COOKIE_LIFE),
            _ => {}
        }
        changed
    }

    /// Has services, and addresses that challenge separately, adopt the connections of clients that passed unchallenged
    /// because workers were absent. Returns whether there was one.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub fn adopt_after_absence(&mut self) -> Result<bool, SteeringError> {
        let (now, mut services) = (coarse_now(), self.services.clone());
        let adoption = self.adoption.while_running(self.idle);
        let mut changed = false;
        // The times of an address are its own, and so is its mode: it may be the only one that is attacked.
        let addresses = self.addresses.in_force.values_mut();
        for policy in services
            .iter_mut()
            .chain(addresses)
            .filter(|one| passed_meanwhile(one))
        {
            adoption.begin(policy, now);
            changed = true;
        }
        if !changed {
            return Ok(false);
        }
        tracing::info!("workers were absent: connections that passed meanwhile are adopted");
        self.put_policies_in_force(services)?;
        Ok(true)
    }

    /// Writes all services. Those that challenge adopt connections from `now` on; the others honour the cookies of the
    /// previous process.
    pub(super) fn start_adoption(&mut self, now: u64) -> Result<(), SteeringError> {
        let mut services = self.services.clone();
        // They begin with the state of their services.
        self.addresses.in_force.clear();
        for service in &mut services {
            self.adoption.begin(service, now);
            if service.mode != mode::ALWAYS {
                service.cookies_until = now.saturating_add(COOKIE_LIFE);
            }
        }
        self.put_policies_in_force(services)
    }
}

/// Whether clients of a service passed unchallenged while its workers were absent.
fn passed_meanwhile(service: &Service) -> bool {
    service.when_absent == when_absent::PASS && service.mode == mode::ALWAYS
}

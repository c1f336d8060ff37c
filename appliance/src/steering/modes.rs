//! Which services challenge their clients, and what goes on when one begins or ends to.
//!
//! A connection from before is either known to the program, because it learned it from the server, or is adopted:
//! for a while segments of unknown connections pass, and a few pass for hours for the server to judge. A cookie that was
//! issued before a service stopped to challenge still opens its connection.

use std::collections::BTreeSet;
use std::time::Duration;

use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::layout::{Service, handoff, mode};

use super::error::SteeringError;
use super::handle::Steering;
use crate::config::{Config, Mode};
use crate::maps::coarse_now;

/// How long segments of unknown connections pass when a service begins to challenge while the appliance runs, whatever
/// `adopt_seconds` says: a handshake that was half done is done by then, with some retransmissions (RFC 6298 §2).
const ADOPT_AT_LEAST: Duration = Duration::from_secs(5);
/// How long cookies are good: those of the current and the previous epoch, and of the next one where clocks differ.
pub(super) const COOKIE_LIFE: u64 = 3 * EPOCH_NANOSECONDS;

/// How long connections from before are adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adoption {
    /// Segments of unknown connections pass.
    pub(super) all: Duration,
    /// A few of them pass, for the server to judge.
    pub(super) judged: Duration,
}

impl Adoption {
    /// At the start of the appliance, as configured: with `adopt_seconds = 0` every unknown connection is refused at once.
    pub(super) fn at_start(adopt: Duration, idle: Duration) -> Self {
        Self {
            all: adopt,
            judged: if adopt.is_zero() {
                Duration::ZERO
            } else {
                idle
            },
        }
    }

    /// When a service begins to challenge while the appliance runs: its connections are as legitimate as later ones.
    fn while_running(self, idle: Duration) -> Self {
        Self {
            all: self.all.max(ADOPT_AT_LEAST),
            judged: idle,
        }
    }

    /// Begins now. An edge keeps no state and passes everything but SYNs anyway. The kernel knows the connections of a local
    /// service, but not the handshakes for which it has sent cookies of its own.
    fn begin(self, service: &mut Service, now: u64) {
        let until =
            |time: Duration| now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let (adopt, judge) = match service.handoff {
            handoff::SPLICE => (until(self.all), until(self.judged)),
            handoff::LOCAL => (until(self.all), 0),
            _ => (0, 0),
        };
        service.adopt_until = adopt;
        service.judge_until = judge;
    }
}

/// Encodes a mode for [`Service::mode`]. A service with `auto` challenges nobody at first.
pub(super) fn mode_byte(of: Mode) -> u8 {
    match of {
        Mode::Always => mode::ALWAYS,
        Mode::Monitor => mode::MONITOR,
        Mode::Auto | Mode::Off => mode::OFF,
    }
}

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

    /// Says whether a service is under attack, and which of its addresses are by themselves (the indices of their policies): the
    /// program then samples where their SYNs come from, and with mode `auto` their clients are challenged. Other modes stay as
    /// they are.
    ///
    /// # Errors
    /// The service does not exist, or the kernel refuses the write.
    pub fn set_attack(
        &mut self,
        service: u32,
        on: bool,
        addresses: &BTreeSet<u32>,
    ) -> Result<(), SteeringError> {
        let mut attacked = self.addresses.attacked.clone();
        for place in self.addresses.places.of(service) {
            attacked.remove(&place.policy);
        }
        attacked.extend(addresses);
        let before = std::mem::replace(&mut self.addresses.attacked, attacked);
        let is_changed = before != self.addresses.attacked;
        let written = self.set_service_attack(service, on, is_changed);
        if written.is_err() {
            self.addresses.attacked = before;
        }
        written
    }

    fn set_service_attack(
        &mut self,
        service: u32,
        on: bool,
        is_changed: bool,
    ) -> Result<(), SteeringError> {
        let was = self.service(service)?;
        let byte = match self.mode(service)? {
            Mode::Auto if on => mode::ALWAYS,
            Mode::Auto => mode_byte(Mode::Auto),
            _ => was.mode,
        };
        let under_attack = u8::from(on);
        if !is_changed && (was.mode, was.under_attack) == (byte, under_attack) {
            return Ok(());
        }
        let marked = Service {
            under_attack,
            ..was
        };
        self.write_service(service, self.challenge(marked, byte))
    }

    fn write_mode(&mut self, service: u32, byte: u8) -> Result<(), SteeringError> {
        let changed = self.challenge(self.service(service)?, byte);
        self.write_service(service, changed)
    }

    /// The policy with another mode. A service that begins to challenge adopts the connections that exist; one that stops
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

    /// Writes all services. Those that challenge adopt connections from `now` on; the others honour the cookies of a process
    /// before this one.
    pub(super) fn start_adoption(&mut self, now: u64) -> Result<(), SteeringError> {
        let mut services = self.services.clone();
        // They begin as their services do.
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const IDLE: Duration = Duration::from_secs(7500);

    fn begun(adoption: Adoption, handoff: u8) -> (u64, u64) {
        let mut service = Service {
            handoff,
            ..Service::default()
        };
        adoption.begin(&mut service, 1);
        (service.adopt_until, service.judge_until)
    }

    #[test]
    fn adoption_at_start_is_as_configured() {
        let none = Adoption::at_start(Duration::ZERO, IDLE);
        assert_eq!(begun(none, handoff::SPLICE), (1, 1));
        let three = Adoption::at_start(Duration::from_secs(3), IDLE);
        assert_eq!(
            begun(three, handoff::SPLICE),
            (1 + 3 * SECOND, 1 + 7500 * SECOND)
        );
        assert_eq!(begun(three, handoff::LOCAL), (1 + 3 * SECOND, 0));
        assert_eq!(begun(three, handoff::FORWARD), (0, 0));
    }

    /// Otherwise `adopt_seconds = 0` would cut all connections when an attack begins.
    #[test]
    fn a_service_that_begins_to_challenge_later_always_adopts() {
        let configured = |seconds| Adoption::at_start(Duration::from_secs(seconds), IDLE);
        let later = |seconds| begun(configured(seconds).while_running(IDLE), handoff::SPLICE);
        assert_eq!(later(0), (1 + 5 * SECOND, 1 + 7500 * SECOND));
        assert_eq!(later(60), (1 + 60 * SECOND, 1 + 7500 * SECOND));
    }
}

//! Which services and addresses are under attack: writes that for the programs, and for the process after a kill.

use std::collections::BTreeSet;

use synward_core::layout::{Service, mode};

use super::error::SteeringError;
use super::handle::Steering;
use super::kept_attacks::{Ongoing, ResumedAttack};
use super::map_encoding::mode_byte;
use crate::config::Mode;

impl Steering {
    /// Says whether a service is under attack, and which of its addresses are separately (the indices of their policies): the
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

    /// The attacks that a process before this one knew, also on what is not there any more.
    pub fn resumed_attacks(&self) -> &[ResumedAttack] {
        self.kept_attacks.resumed()
    }

    /// Has the next process know which attacks go on, if this one is killed. It is cheap if they are the same.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub fn keep_attacks<'a>(
        &mut self,
        attacks: impl Iterator<Item = Ongoing<'a>>,
    ) -> Result<(), SteeringError> {
        self.kept_attacks.keep(attacks)
    }
}

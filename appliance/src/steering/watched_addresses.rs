//! The addresses of services that are watched, and challenge, separately: which they are, their policies, and their counts.

use std::collections::BTreeMap;

use synward_core::address_counts::AddressCounts;
use synward_core::layout::{Service, mode};

use super::address_places::Place;
use super::error::SteeringError;
use super::handle::Steering;
use crate::config::Mode;

impl Steering {
    /// The addresses of a service that are watched separately. Empty: the service has only one, or too many, or a mode in
    /// which no attack changes what it does.
    pub fn watched_addresses(&self, service: u32) -> &[Place] {
        if self.modes.get(service as usize).is_some_and(is_watched) {
            self.addresses.places.of(service)
        } else {
            &[]
        }
    }

    /// Whether clients of an address that is watched separately are challenged now.
    pub fn challenges_at(&self, place: Place) -> bool {
        self.addresses.challenges(place.policy)
    }

    /// Whether a service challenges clients now, at all or at some of its addresses.
    pub fn challenges_anywhere(&self, service: u32) -> bool {
        let mut places = self.addresses.places.of(service).iter();
        self.challenges(service) || places.any(|place| self.challenges_at(*place))
    }

    /// The policies of all addresses for these of their services.
    pub(super) fn address_policies(&self, services: &[Service]) -> BTreeMap<u32, Service> {
        let places = self.addresses.places.iter();
        let policy = |(index, place): (u32, Place)| {
            let service = services.get(index as usize)?;
            let mode = self.modes.get(index as usize)?;
            Some((
                place.policy,
                self.address_policy(service, *mode, place.policy),
            ))
        };
        places.filter_map(policy).collect()
    }

    fn address_policy(&self, service: &Service, of: Mode, policy: u32) -> Service {
        let is_attacked = self.addresses.attacked.contains(&policy);
        let was = self.addresses.in_force.get(&policy).unwrap_or(service);
        let own = Service {
            mode: was.mode,
            adopt_until: was.adopt_until,
            judge_until: was.judge_until,
            cookies_until: was.cookies_until,
            under_attack: service.under_attack | u8::from(is_attacked),
            watched: u8::from(is_watched(&of)),
            ..*service
        };
        let byte = if is_attacked && of == Mode::Auto {
            mode::ALWAYS
        } else {
            service.mode
        };
        self.challenge(own, byte)
    }

    /// Reads the counts of the addresses that are watched separately, summed over all CPUs.
    ///
    /// # Errors
    /// The kernel refuses the read. Then no counts are known.
    pub fn read_address_counts(&mut self) -> Result<(), SteeringError> {
        let services = 0..self.modes.len() as u32;
        let watched = services.flat_map(|service| self.watched_addresses(service));
        let last = watched
            .map(|place| AddressCounts::index(place.policy))
            .max();
        let count = last.map_or(0, |last| last + 1);
        self.object.address_counts.read(count)
    }

    /// The counts of an address that is watched separately, as of the last [`Self::read_address_counts`]; `None`: it could not be
    /// read, or was not watched.
    pub fn address_counts(&self, place: Place) -> Option<AddressCounts> {
        let index = AddressCounts::index(place.policy);
        self.object.address_counts.at(index)
    }
}

/// Whether an attack on one address changes what a service does, or would do, there.
fn is_watched(mode: &Mode) -> bool {
    matches!(mode, Mode::Auto | Mode::Monitor)
}

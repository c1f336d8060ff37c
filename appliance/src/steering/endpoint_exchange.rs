//! Exchanges the endpoints in the map while the program runs, with what was learned about their servers.

use std::net::IpAddr;

use synward_core::layout::{ANY_PORT, Endpoint, EndpointKey, PrefixPort, Profile};

use super::client_mss::ClientMss;
use super::endpoint_profiles::{EndpointProfiles, Learned, NEVER, ProfileMaps, inherited};
use super::error::{SteeringError, map_failed};
use super::map_encoding::{endpoint_key, initial_mss};
use super::map_plan::Plan;
use crate::config::Offer;
use crate::maps::Plain;

/// An endpoint and where it is.
pub(super) type At = ((IpAddr, u32), Endpoint);
/// A port of a prefix and its endpoint.
type PrefixPortAt = (PrefixPort, Endpoint);

impl ProfileMaps {
    fn live(&self) -> Vec<(EndpointKey, Endpoint)> {
        let entries = self.endpoints.iter().flatten();
        entries
            .map(|(Plain(key), Plain(endpoint))| (key, endpoint))
            .collect()
    }

    /// Writes an endpoint of the configuration. If the map is full, learned endpoints are removed: they are learned again.
    fn write(&mut self, key: EndpointKey, endpoint: Endpoint) -> Result<(), SteeringError> {
        let written = self.endpoints.insert(Plain(key), Plain(endpoint), 0);
        if written.is_ok() {
            return Ok(());
        }
        for (known, _) in self.live() {
            let at = (known.address.into(), known.port);
            if !self.plan.endpoints.contains_key(&at) {
                let _ = self.endpoints.remove(&Plain(known));
            }
        }
        self.endpoints
            .insert(Plain(key), Plain(endpoint), 0)
            .map_err(map_failed("ENDPOINTS"))
    }

    /// Bounds the MSS of each endpoint by `most`, at once: no cookie holds it. Returns the ports of prefixes as they are now.
    fn bound_mss(&mut self, most: ClientMss) -> Result<Vec<PrefixPortAt>, SteeringError> {
        let offers = std::mem::take(&mut self.offers);
        let offer_of = |service: u32| offers.get(service as usize).copied().unwrap_or_default();
        self.plan.bound_mss(offer_of, &most);
        let rebound = |map: &Self, key: &EndpointKey, endpoint: &Endpoint| {
            let (address, offer) = (IpAddr::from(key.address), offer_of(endpoint.service));
            let said = map.unbound.get(&(address, key.port)).copied();
            let assumed = (endpoint.since == NEVER).then(|| initial_mss(address));
            let mss = offer.mss.or(said).or(assumed).unwrap_or(endpoint.now.mss);
            let profile = |profile| most.bound(&offer, address, Profile { mss, ..profile });
            Endpoint {
                now: profile(endpoint.now),
                before: profile(endpoint.before),
                ..*endpoint
            }
        };
        let mut written = Ok(());
        for (key, endpoint) in self.live() {
            let at = (IpAddr::from(key.address), key.port);
            let new = rebound(self, &key, &endpoint);
            if new == endpoint {
                continue;
            }
            if endpoint.now.mss > new.now.mss {
                self.unbound.entry(at).or_insert(endpoint.now.mss);
            }
            written = written.and(self.write(key, new));
        }
        self.offers = offers;
        written?;
        Ok(self.plan.prefix_ports.clone())
    }

    fn offer_of(&self, service: u32) -> Offer {
        let offer = self.offers.get(service as usize);
        offer.copied().unwrap_or_default()
    }

    /// Offers the options that are pending, from epoch `since` on.
    fn offer_pending(&mut self, since: u64) -> Result<(), SteeringError> {
        for (address, port) in std::mem::take(&mut self.pending) {
            let Some(known) = self.find(address, port) else {
                continue;
            };
            let planned = self
                .plan
                .endpoints
                .get(&(address, u32::from(port)))
                .copied();
            let planned = planned.or_else(|| self.plan.by_prefix(address, port.into()));
            let profile = match planned {
                Some(planned) => inherited(&planned, &known, &self.offer_of(known.service)).now,
                None => known.now,
            };
            if self.offer(address, port, profile, since)? == Learned::TooSoon {
                self.pending.insert((address, port));
            }
        }
        Ok(())
    }
}

impl EndpointProfiles {
    /// Calls `read` with what the maps were filled from.
    pub(super) fn with_plan<T>(&self, read: impl FnOnce(&Plan) -> T) -> T {
        read(&self.lock().plan)
    }

    /// Writes endpoints where none was. `offers` are the options that the configuration fixes from now on, by service;
    /// `prefixes`: prefixes are looked up from now on.
    ///
    /// # Errors
    /// The map has no room.
    pub(super) fn add(
        &self,
        endpoints: &[At],
        offers: Vec<Offer>,
        prefixes: bool,
    ) -> Result<(), SteeringError> {
        let mut map = self.lock();
        map.offers = offers;
        map.globals.prefixes |= u32::from(prefixes);
        for ((address, port), endpoint) in endpoints {
            map.write(endpoint_key(*address, *port), *endpoint)?;
        }
        map.endpoints_changed()
    }

    /// Bounds the MSS of all endpoints by `most`; `write` writes ports of prefixes. It is cheap if the bound is the same. Returns
    /// whether it is another one.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub(super) fn bound_mss(
        &self,
        most: ClientMss,
        write: impl FnOnce(&[PrefixPortAt]) -> Result<(), SteeringError>,
    ) -> Result<bool, SteeringError> {
        let mut map = self.lock();
        if map.client_mss == most {
            return Ok(false);
        }
        let ports = map.bound_mss(most)?;
        write(&ports)?;
        map.endpoints_changed()?;
        // Only now: what could not be written is tried again.
        map.client_mss = most;
        Ok(true)
    }

    /// Removes endpoints. Those that are not there are left out.
    pub(super) fn remove(&self, endpoints: impl Iterator<Item = (IpAddr, u32)>) {
        let mut map = self.lock();
        for (address, port) in endpoints {
            let key = endpoint_key(address, port);
            let _ = map.endpoints.remove(&Plain(key));
        }
    }

    /// Follows `plan` from now on: each endpoint goes to the service that has it now, and offers its options from epoch `since`
    /// on. Returns those that no service has any more; they are still there.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub(super) fn follow(
        &self,
        plan: Plan,
        moved: &[At],
        since: u64,
    ) -> Result<Vec<(IpAddr, u32)>, SteeringError> {
        let mut map = self.lock();
        let old = std::mem::replace(&mut map.plan, plan);
        let mut gone = Vec::new();
        for (key, endpoint) in map.live() {
            let (address, port) = (IpAddr::from(key.address), key.port);
            let exact = map.plan.endpoints.get(&(address, port)).copied();
            // What was learned for a port of a prefix. A packet without a readable port is not one of those.
            let learned = || (port < ANY_PORT).then(|| map.plan.by_prefix(address, port));
            let Some(planned) = exact.or_else(|| learned().flatten()) else {
                gone.push((address, port));
                continue;
            };
            if !planned.belongs_as(&endpoint) {
                let offer = map.offer_of(planned.service);
                let mut moved = inherited(&planned, &endpoint, &offer);
                for profile in [&mut moved.now, &mut moved.before] {
                    *profile = map.client_mss.bound(&offer, address, *profile);
                }
                map.write(key, moved)?;
                continue;
            }
            let before = old.endpoints.get(&(address, port)).copied();
            let before = before.or_else(|| old.by_prefix(address, port));
            let has_changed = before.is_some_and(|before| before.now != planned.now);
            if let Ok(port) = u16::try_from(port)
                && has_changed
            {
                map.pending.insert((address, port));
            }
        }
        for ((address, port), endpoint) in moved {
            let key = endpoint_key(*address, *port);
            if map.endpoints.get(&Plain(key), 0).is_err() {
                map.write(key, *endpoint)?;
            }
        }
        map.endpoints_changed()?;
        map.offer_pending(since)?;
        Ok(gone)
    }

    /// Ends an exchange: prefixes are looked up only if there are some. `passed_idle` is that of `Globals`.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub(super) fn finish(&self, passed_idle: u32) -> Result<(), SteeringError> {
        let mut map = self.lock();
        map.globals.prefixes = u32::from(map.plan.has_prefixes());
        map.globals.passed_idle = passed_idle;
        map.endpoints_changed()
    }

    /// Offers options that a reload has changed and that could not be offered at once. It is cheap if there are none.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub(super) fn offer_pending(&self, since: u64) -> Result<(), SteeringError> {
        self.lock().offer_pending(since)
    }
}

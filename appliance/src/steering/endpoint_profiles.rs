//! What each server was seen to do with TCP options, and what SYN-ACKs in its name promise from when on.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, MapData};
use synward_core::layout::{Endpoint, EndpointKey, Globals, Profile};

use super::error::{SteeringError, map_failed};
use super::map_plan::{Plan, endpoint_key, fixed};
use crate::config::{Offer, Service};
use crate::maps::{EndpointMap, Plain};

type GlobalsMap = Array<MapData, Plain<Globals>>;

/// The endpoints' map, of which the programs remember what they have found until they are told.
pub(super) struct Shown {
    endpoints: EndpointMap,
    map: GlobalsMap,
    globals: Globals,
}

impl fmt::Debug for Shown {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.globals.fmt(to)
    }
}

impl Shown {
    /// `globals` is what the map of that name holds.
    pub(super) const fn new(endpoints: EndpointMap, map: GlobalsMap, globals: Globals) -> Self {
        Self {
            endpoints,
            map,
            globals,
        }
    }

    fn set(&mut self, key: EndpointKey, endpoint: Endpoint) -> Result<(), SteeringError> {
        self.endpoints
            .insert(Plain(key), Plain(endpoint), 0)
            .map_err(map_failed("ENDPOINTS"))?;
        self.tell()
    }

    /// Tells the programs that something has changed.
    fn tell(&mut self) -> Result<(), SteeringError> {
        let globals = &mut self.globals;
        globals.generation = globals.generation.checked_add(1).unwrap_or(1);
        self.map
            .set(0, Plain(*globals), 0)
            .map_err(map_failed("GLOBALS"))
    }
}

/// What became of a new profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing is new.
    Known,
    /// It is promised from the epoch on that was asked for.
    From,
    /// The one before is still being promised or redeemed: come again in the next epoch.
    TooSoon,
    /// Nothing is protected at that address and port.
    Unprotected,
}

/// The endpoints' profiles in the map that the XDP program reads.
///
/// A lock is taken: this is the control thread's, to which workers report what they see.
#[derive(Debug)]
pub struct EndpointProfiles {
    map: Mutex<Shown>,
    plan: Plan,
    offers: Vec<Offer>,
}

impl EndpointProfiles {
    pub(super) fn new(map: Shown, plan: Plan, offers: Vec<Offer>) -> Self {
        let map = Mutex::new(map);
        Self { map, plan, offers }
    }

    /// What is promised for a port of an address; nothing if it is not protected.
    pub fn get(&self, address: IpAddr, port: u16) -> Option<Endpoint> {
        self.find(&self.lock().endpoints, address, port)
    }

    /// Promises `profile` from epoch `since` on, the one after the current; what the configuration fixes stays as it
    /// is. Cookies of earlier epochs are redeemed for what they promised.
    ///
    /// For a server that is protected by prefix this makes an exact entry; when those are used up, the prefix's
    /// profile goes on being promised.
    ///
    /// # Errors
    /// The map refuses, for want of room or memory.
    pub fn set(
        &self,
        address: IpAddr,
        port: u16,
        profile: Profile,
        since: u64,
    ) -> Result<Learned, SteeringError> {
        let mut map = self.lock();
        let Some(old) = self.find(&map.endpoints, address, port) else {
            return Ok(Learned::Unprotected);
        };
        let offer = self
            .offers
            .get(old.service as usize)
            .copied()
            .unwrap_or_default();
        let (new, learned) = change(&old, fixed(&offer, profile), since as u32);
        if let Some(new) = new {
            map.set(endpoint_key(address, port.into()), new)?;
        }
        Ok(learned)
    }

    /// Has the programs look up services again.
    ///
    /// # Errors
    /// The map refuses.
    pub(super) fn service_changed(&self) -> Result<(), SteeringError> {
        self.lock().tell()
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Whoever panicked had either changed an element or not.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, map: &EndpointMap, address: IpAddr, port: u16) -> Option<Endpoint> {
        match map.get(&Plain(endpoint_key(address, port.into())), 0) {
            Ok(Plain(endpoint)) => Some(endpoint),
            Err(_) => self.plan.by_prefix(address, port.into()),
        }
    }
}

/// What is promised when the configuration's `planned` meets what a process before us had learned: the learned
/// options, but for those that the configuration fixes now.
pub(super) fn inherited(planned: &Endpoint, old: &Endpoint, service: &Service) -> Endpoint {
    let profile = |profile| Profile {
        window: planned.now.window,
        ..fixed(&service.offer, profile)
    };
    Endpoint {
        service: planned.service,
        since: old.since,
        now: profile(old.now),
        before: profile(old.before),
    }
}

/// As [`Endpoint::since`]: what is promised has been supposed, not learned.
pub const NEVER: u32 = 0;

/// The endpoint that promises `profile` from `since` on, if that is possible.
fn change(old: &Endpoint, profile: Profile, since: u32) -> (Option<Endpoint>, Learned) {
    if old.now == profile && old.since != NEVER {
        return (None, Learned::Known);
    }
    let new = |before| Endpoint {
        service: old.service,
        since,
        now: profile,
        before,
    };
    match since.wrapping_sub(old.since) as i32 {
        // What was to be promised from then on has not been promised yet.
        i32::MIN..=0 => (Some(new(old.before)), Learned::From),
        // Cookies of the previous epoch are redeemed in the current one, so both profiles are needed still.
        1 => (None, Learned::TooSoon),
        _ => (Some(new(old.now)), Learned::From),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Profile = Profile {
        mss: 1,
        window: 2,
        window_scale: 3,
        flags: 4,
        reserved: [0; 2],
    };
    const B: Profile = Profile { mss: 10, ..A };
    const C: Profile = Profile { mss: 11, ..A };

    #[test]
    fn a_cookie_is_redeemed_for_what_it_promised() {
        let at_start = Endpoint {
            service: 5,
            since: 0,
            now: A,
            before: A,
        };
        let (said, learned) = change(&at_start, A, 101);
        let said = said.unwrap_or(at_start);
        assert_eq!(
            (said.since, learned),
            (101, Learned::From),
            "it was supposed"
        );
        assert_eq!(change(&said, A, 102), (None, Learned::Known));
        let (first, learned) = change(&at_start, B, 101);
        let first = first.unwrap_or(at_start);
        assert_eq!(learned, Learned::From);
        assert_eq!(
            (first.service, *first.profile(100), *first.profile(101)),
            (5, A, B)
        );

        let (second, _) = change(&first, C, 101);
        let second = second.unwrap_or(at_start);
        assert_eq!(
            (*second.profile(100), *second.profile(101)),
            (A, C),
            "B was never promised"
        );

        assert_eq!(change(&first, C, 102), (None, Learned::TooSoon));
        let (third, _) = change(&first, C, 103);
        let third = third.unwrap_or(at_start);
        assert_eq!((*third.profile(102), *third.profile(103)), (B, C));
    }
}

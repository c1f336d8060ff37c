//! The TCP options that were learned from each server, and the epoch from which SYN-ACKs offer them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, MapData};
use synward_core::layout::{Endpoint, EndpointKey, Globals, Profile};

use super::client_mss::ClientMss;
use super::error::{SteeringError, map_failed};
use super::left_out::{AddedPrefix, LeftOut, PrefixChanges};
use super::map_encoding::{apply_offer, endpoint_key};
use super::map_plan::Plan;
use super::policy_banks::next_generation;
use crate::config::Offer;
use crate::maps::{EndpointMap, Plain};

type GlobalsMap = Array<MapData, Plain<Globals>>;

/// The map of endpoints, and `GLOBALS`. The programs cache what they read from endpoints until `Globals::changes` changes.
/// `plan` is what the maps were filled from.
pub(super) struct ProfileMaps {
    pub(super) endpoints: EndpointMap,
    map: GlobalsMap,
    pub(super) globals: Globals,
    pub(super) plan: Plan,
    /// The options that the configuration fixes, by service.
    pub(super) offers: Vec<Offer>,
    pub(super) client_mss: ClientMss,
    /// The MSS of servers, where it is more than that bound.
    pub(super) unbound: BTreeMap<(IpAddr, u32), u16>,
    /// Endpoints whose options a reload has changed, and whose cookies still need those of two changes before.
    pub(super) pending: BTreeSet<(IpAddr, u16)>,
}

impl fmt::Debug for ProfileMaps {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.globals.fmt(to)
    }
}

impl ProfileMaps {
    /// `globals` is the content of `map`.
    pub(super) const fn new(
        endpoints: EndpointMap,
        map: GlobalsMap,
        globals: Globals,
        plan: Plan,
        offers: Vec<Offer>,
        client_mss: ClientMss,
    ) -> Self {
        Self {
            endpoints,
            map,
            globals,
            plan,
            offers,
            client_mss,
            unbound: BTreeMap::new(),
            pending: BTreeSet::new(),
        }
    }

    pub(super) fn find(&self, address: IpAddr, port: u16) -> Option<Endpoint> {
        match self
            .endpoints
            .get(&Plain(endpoint_key(address, port.into())), 0)
        {
            Ok(Plain(endpoint)) => Some(endpoint),
            Err(_) => self.plan.by_prefix(address, port.into()),
        }
    }

    /// Makes the programs look endpoints up again.
    pub(super) fn endpoints_changed(&mut self) -> Result<(), SteeringError> {
        self.notify_programs()
    }

    /// Forgets what was learned about ports of `address` that no service names.
    fn forget_learned(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        let keys: Vec<_> = self.endpoints.keys().flatten().collect();
        for Plain(key) in keys {
            let known = (key.address.into(), key.port);
            if known.0 == address && !self.plan.endpoints.contains_key(&known) {
                self.endpoints
                    .remove(&Plain(key))
                    .map_err(map_failed("ENDPOINTS"))?;
            }
        }
        Ok(())
    }

    /// Offers a profile, as [`EndpointProfiles::set`] says.
    pub(super) fn offer(
        &mut self,
        address: IpAddr,
        port: u16,
        profile: Profile,
        since: u64,
    ) -> Result<Learned, SteeringError> {
        let Some(old) = self.find(address, port) else {
            return Ok(Learned::Unprotected);
        };
        let offer = self.offers.get(old.service as usize);
        let offer = offer.copied().unwrap_or_default();
        let profile = apply_offer(&offer, profile);
        let said = profile.mss;
        let profile = self.client_mss.bound(&offer, address, profile);
        let place = (address, u32::from(port));
        if said > profile.mss {
            self.unbound.insert(place, said);
        } else {
            self.unbound.remove(&place);
        }
        let (new, learned) = change(&old, profile, since as u32);
        if let Some(new) = new {
            self.set(endpoint_key(address, port.into()), new)?;
        }
        Ok(learned)
    }

    fn set(&mut self, key: EndpointKey, endpoint: Endpoint) -> Result<(), SteeringError> {
        self.endpoints
            .insert(Plain(key), Plain(endpoint), 0)
            .map_err(map_failed("ENDPOINTS"))?;
        self.notify_programs()
    }

    /// Invalidates what the programs have cached.
    fn notify_programs(&mut self) -> Result<(), SteeringError> {
        self.next_generation(false)
    }

    fn next_generation(&mut self, other_bank: bool) -> Result<(), SteeringError> {
        let globals = &mut self.globals;
        globals.generation = next_generation(globals.generation, other_bank);
        self.map
            .set(0, Plain(*globals), 0)
            .map_err(map_failed("GLOBALS"))
    }
}

/// The result of [`EndpointProfiles::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The profile is already offered.
    Known,
    /// The profile is offered from the requested epoch on.
    From,
    /// Cookies of the profile before the last change are still sent or valid: retry in the next epoch.
    TooSoon,
    /// No service covers the address and port.
    Unprotected,
}

/// The profiles of endpoints, in the map that the XDP program reads.
///
/// Takes a lock. Only the control thread uses this type; workers report what they learn to the control thread.
#[derive(Debug)]
pub struct EndpointProfiles {
    map: Mutex<ProfileMaps>,
}

impl EndpointProfiles {
    pub(super) fn new(map: ProfileMaps) -> Self {
        let map = Mutex::new(map);
        Self { map }
    }

    /// The profiles offered for an address and port; `None`: no service covers it.
    pub fn get(&self, address: IpAddr, port: u16) -> Option<Endpoint> {
        self.lock().find(address, port)
    }

    /// Offers the options of `profile` at once, and its values (MSS, window, window scale) from epoch `since` on, the one after
    /// the current. What the configuration fixes does not change. Cookies of earlier epochs keep the values that they offered;
    /// each holds the options that it was made for. The MSS stays within what fits through the links towards clients.
    ///
    /// For a server that is protected by prefix, this adds an exact entry. If the map is full, the profile of the prefix
    /// stays in use.
    ///
    /// # Errors
    /// The map has no room or the kernel no memory.
    pub fn set(
        &self,
        address: IpAddr,
        port: u16,
        profile: Profile,
        since: u64,
    ) -> Result<Learned, SteeringError> {
        self.lock().offer(address, port, profile, since)
    }

    /// `Globals::generation`.
    pub(super) fn generation(&self) -> u32 {
        self.lock().globals.generation
    }

    /// Puts the other bank of policies in force.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub(super) fn change_bank(&self) -> Result<(), SteeringError> {
        self.lock().next_generation(true)
    }

    /// Leaves this machine's addresses out of the services whose prefixes hold them. `write` changes the maps of prefixes.
    /// It is cheap if nothing has changed.
    ///
    /// # Errors
    /// The kernel refuses a write.
    pub(super) fn leave_out(
        &self,
        own: BTreeSet<IpAddr>,
        write: impl FnOnce(&PrefixChanges) -> Result<(), SteeringError>,
    ) -> Result<(), SteeringError> {
        let mut map = self.lock();
        let changes = map.plan.leave_out(own);
        if changes == PrefixChanges::default() {
            return Ok(());
        }
        write(&changes)?;
        for AddedPrefix { net, .. } in &changes.added {
            map.forget_learned(net.addr())?;
        }
        map.notify_programs()
    }

    /// This machine's addresses that are left out, each with the service whose prefix holds it.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.lock().plan.left_out()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ProfileMaps> {
        // A thread that panicked has either changed an element or not; both are consistent.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Merges the configuration's `planned` endpoint with `old`, which a previous process learned: the learned options, except
/// those that the configuration fixes now.
pub(super) fn inherited(planned: &Endpoint, old: &Endpoint, offer: &Offer) -> Endpoint {
    let profile = |profile| Profile {
        window: planned.now.window,
        ..apply_offer(offer, profile)
    };
    Endpoint {
        service: planned.service,
        policy: planned.policy,
        since: old.since,
        now: profile(old.now),
        before: profile(old.before),
    }
}

/// The endpoint `old` with the planned options `wanted`, its values from epoch `since` on.
pub(super) fn reoffered(old: &Endpoint, wanted: Profile, since: u64) -> Endpoint {
    if old.now == wanted {
        return *old;
    }
    match change(old, wanted, since as u32) {
        (Some(new), Learned::From) => new,
        // Within two epochs of the change before: cookies of that one lose their values.
        _ => Endpoint {
            since: since as u32,
            now: wanted,
            before: old.now,
            ..*old
        },
    }
}

/// As [`Endpoint::since`]: the offered options are assumed, not learned.
pub const NEVER: u32 = 0;

/// The endpoint that offers `profile`, its values from epoch `since` on if that is possible.
fn change(old: &Endpoint, profile: Profile, since: u32) -> (Option<Endpoint>, Learned) {
    let flags = profile.flags;
    let at_once = Endpoint {
        now: Profile { flags, ..old.now },
        before: Profile {
            flags,
            ..old.before
        },
        ..*old
    };
    let changed = (at_once != *old).then_some(at_once);
    if at_once.now == profile && old.since != NEVER {
        let learned = if changed.is_some() {
            Learned::From
        } else {
            Learned::Known
        };
        return (changed, learned);
    }
    let new = |before| Endpoint {
        service: old.service,
        policy: old.policy,
        since,
        now: profile,
        before,
    };
    match since.wrapping_sub(old.since) as i32 {
        // The values scheduled for this epoch have not been offered yet.
        i32::MIN..=0 => (Some(new(at_once.before)), Learned::From),
        // Cookies of the previous epoch are valid in the current one, so both profiles are still needed.
        1 => (changed, Learned::TooSoon),
        _ => (Some(new(at_once.now)), Learned::From),
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
    fn cookies_keep_the_profile_that_they_offered() {
        let at_start = Endpoint {
            service: 5,
            policy: 5,
            since: 0,
            now: A,
            before: A,
        };
        let (offered, learned) = change(&at_start, A, 101);
        let offered = offered.unwrap_or(at_start);
        assert_eq!(
            (offered.since, learned),
            (101, Learned::From),
            "it was assumed"
        );
        assert_eq!(change(&offered, A, 102), (None, Learned::Known));
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
            "B was never offered"
        );

        assert_eq!(change(&first, C, 102), (None, Learned::TooSoon));
        let (third, _) = change(&first, C, 103);
        let third = third.unwrap_or(at_start);
        assert_eq!((*third.profile(102), *third.profile(103)), (B, C));
    }
    #[test]
    fn options_change_at_once_even_where_values_cannot() {
        let old = Endpoint {
            service: 5,
            policy: 5,
            since: 101,
            now: B,
            before: A,
        };
        let flags = 1;
        let (new, learned) = change(&old, Profile { flags, ..B }, 102);
        let new = new.unwrap_or(old);
        assert_eq!((learned, new.since), (Learned::From, 101));
        assert_eq!((new.now.flags, new.before.flags), (flags, flags));
        assert_eq!((new.now.mss, new.before.mss), (B.mss, A.mss));

        let (new, learned) = change(&old, Profile { flags, ..C }, 102);
        let new = new.unwrap_or(old);
        assert_eq!(learned, Learned::TooSoon);
        assert_eq!(
            (new.now, new.before),
            (Profile { flags, ..B }, Profile { flags, ..A })
        );
    }
}

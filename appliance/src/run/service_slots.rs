//! The indices of services over reloads.
//!
//! The programs, flows and counters know a service by its index, so a service keeps it as long as it has its name. What a reload
//! removes from a spliced service stays behind under an index as long as it has connections: see [`Standing`].

use std::net::IpAddr;

use synward_core::layout::MAX_SERVICES;

use crate::config::{Handoff, Service, Standing};
use crate::steering::addresses_left;

/// Gives the services of a file their indices. `running` are those of the running appliance.
///
/// # Errors
/// There are more services than indices; a sentence for people.
pub(super) fn place(running: &[Service], wanted: Vec<Service>) -> Result<Vec<Service>, String> {
    let mut places: Vec<Option<Service>> = vec![None; running.len()];
    let mut new = Vec::new();
    for service in wanted {
        let is_same = |known: &Service| known.is_configured() && known.name == service.name;
        match running.iter().position(is_same) {
            Some(index) => places[index] = Some(service),
            None => new.push(service),
        }
    }
    // A service that comes back finds its connections and counters again.
    new.retain(|service| {
        let name = service.clone().removed().name;
        let is_same = |(index, known): (usize, &Service)| {
            let is_same = known.standing == Standing::Removed && known.name == name;
            is_same && known.handoff == service.handoff && places[index].is_none()
        };
        let index = running.iter().enumerate().position(is_same);
        if let Some(index) = index {
            places[index] = Some(service.clone());
        }
        index.is_none()
    });
    for (place, known) in places.iter_mut().zip(running) {
        if place.is_none() && known.standing != Standing::Vacant {
            *place = Some(without_file(known));
        }
    }
    for service in new {
        let index = free_index(&mut places).ok_or_else(|| {
            format!(
                "there is no room for service \"{}\": {MAX_SERVICES} services are possible, and removed ones with \
                 connections count; reload again when these have ended",
                service.name
            )
        })?;
        places[index] = Some(service);
    }
    let mut services = fill(places, running);
    keep_lost_addresses(&mut services, running);
    Ok(services)
}

/// Which services have connections.
pub(super) struct InUse<'a> {
    services: &'a [Service],
    /// Those that are not in the file any more: few, while a table may have a million flows of a thousand services.
    removed: Vec<usize>,
    used: Vec<bool>,
}

impl<'a> InUse<'a> {
    pub(super) fn new(services: &'a [Service]) -> Self {
        let is_removed = |index: &usize| services[*index].standing == Standing::Removed;
        Self {
            services,
            removed: (0..services.len()).filter(is_removed).collect(),
            used: vec![false; services.len()],
        }
    }

    /// Takes a flow to account. Its index may be that of an earlier process, whose services had another order. Its server then
    /// tells whose it is. A flow to a server of a service of the file keeps no removed service.
    pub(super) fn note(&mut self, index: usize, server: IpAddr, port: u16) {
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
        let serves = |service: &Service| {
            service.ports.contains(port)
                && service.addresses.iter().any(|net| net.contains(&server))
        };
        // Nearly all flows; the look at all services below would take long for a million of them.
        let own = self.services.get(index);
        if own.is_some_and(|service| service.is_configured() && serves(service)) {
            return;
        }
        for index in &self.removed {
            if !self.used[*index] && serves(&self.services[*index]) {
                let mut configured = self.services.iter().filter(|one| one.is_configured());
                self.used[*index] = !configured.any(serves);
            }
        }
    }

    pub(super) fn is(&self, index: usize) -> bool {
        self.used[index]
    }
}

/// The services without those removed ones that `is_used` no longer; `None`: all are.
pub(super) fn release(
    services: &[Service],
    is_used: impl Fn(usize, &Service) -> bool,
) -> Option<Vec<Service>> {
    let mut left = services.to_vec();
    for (index, service) in left.iter_mut().enumerate() {
        if service.standing == Standing::Removed && !is_used(index, service) {
            service.vacate();
        }
    }
    (left != services).then_some(left)
}

/// What a service becomes that is not in the file.
fn without_file(known: &Service) -> Service {
    let mut left = known.clone();
    match (known.standing, known.handoff) {
        (Standing::Configured, Handoff::Splice) => left = left.removed(),
        // Its kernel, or that of another machine, has its connections.
        (Standing::Configured, _) => left.vacate(),
        (Standing::Removed | Standing::Vacant, _) => {}
    }
    left
}

fn free_index(places: &mut Vec<Option<Service>>) -> Option<usize> {
    let free = places.iter().position(Option::is_none);
    free.or_else(|| {
        let is_room = places.len() < MAX_SERVICES as usize;
        is_room.then(|| {
            places.push(None);
            places.len() - 1
        })
    })
}

fn fill(places: Vec<Option<Service>>, running: &[Service]) -> Vec<Service> {
    let vacant = |index: usize| running.get(index).cloned();
    let places = places.into_iter().enumerate();
    places
        .filter_map(|(index, place)| place.or_else(|| vacant(index)))
        .collect()
}

/// Keeps the addresses that services have lost, with what is left of those services. Without a free index, the connections
/// there end.
fn keep_lost_addresses(services: &mut Vec<Service>, running: &[Service]) {
    for (index, known) in running.iter().enumerate() {
        let next = &services[index];
        let stays = next.is_configured() && known.is_configured();
        let same = next.addresses == known.addresses && next.ports == known.ports;
        if !stays
            || same
            || known.handoff != Handoff::Splice
            || addresses_left(known, services).is_empty()
        {
            continue;
        }
        let left = known.clone().removed();
        let is_vacant = |service: &Service| service.standing == Standing::Vacant;
        match services.iter().position(is_vacant) {
            Some(free) => services[free] = left,
            None if services.len() < MAX_SERVICES as usize => services.push(left),
            None => tracing::warn!(
                service = known.name,
                "has lost addresses, and there is no room to keep their connections"
            ),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Config, Ports};

    fn service(name: &str, address: &str) -> Service {
        let text = format!(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\n\
             [[service]]\nname = \"{name}\"\naddresses = [\"{address}\"]\nports = [80]\n"
        );
        Config::of_text(&text).services.remove(0)
    }

    fn shown(services: &[Service]) -> Vec<&str> {
        services.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn services_keep_their_index_and_new_ones_take_a_free_one() {
        let [a, b, c] = ["a", "b", "c"].map(|name| service(name, "192.0.2.1"));
        let running = place(&[], vec![a.clone(), b.clone()]).unwrap();
        let next = place(&running, vec![c.clone(), b.clone()]).unwrap();
        assert_eq!(shown(&next), ["a (removed)", "b", "c"]);
        assert_eq!(next[0].standing, Standing::Removed);
        let released = release(&next, |_, _| false).unwrap();
        assert_eq!(shown(&released), ["", "b", "c"]);
        assert!(release(&released, |_, _| false).is_none());
        let again = place(&released, vec![a, b, c]).unwrap();
        assert_eq!(shown(&again), ["a", "b", "c"]);
    }

    #[test]
    fn a_service_that_comes_back_has_its_index_again() {
        let [a, b] = ["a", "b"].map(|name| service(name, "192.0.2.1"));
        let running = place(&[], vec![a.clone(), b.clone()]).unwrap();
        let without = place(&running, vec![b.clone()]).unwrap();
        assert_eq!(shown(&place(&without, vec![a, b]).unwrap()), ["a", "b"]);
    }

    #[test]
    fn lost_addresses_stay_behind_unless_another_service_has_them() {
        let (old, new) = (service("a", "192.0.2.1"), service("a", "192.0.2.2"));
        let next = place(std::slice::from_ref(&old), vec![new.clone()]).unwrap();
        assert_eq!(shown(&next), ["a", "a (removed)"]);
        assert_eq!(next[1].addresses, old.addresses);

        let other = service("b", "192.0.2.0/28");
        let next = place(&[old], vec![new, other]).unwrap();
        assert_eq!(shown(&next), ["a", "b"]);
    }

    #[test]
    fn a_removed_service_is_in_use_by_connections_that_no_other_has() {
        let [a, mut b] = ["a", "b"].map(|name| service(name, "192.0.2.1"));
        b.ports = Ports::List(vec![443]);
        let left = place(&[a.clone(), b.clone()], vec![b]).unwrap();
        let (server, elsewhere) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for (index, address, port, expected) in [
            // The flow names it.
            (0, server, 80, true),
            // The flow is of an earlier process.
            (9, server, 80, true),
            (9, server, 443, false),
            (9, server, 81, false),
            (9, elsewhere, 80, false),
            (1, server, 443, false),
        ] {
            let mut in_use = InUse::new(&left);
            in_use.note(index, address, port);
            assert_eq!(in_use.is(0), expected, "{index} {address}:{port}");
        }
        // Another service has taken over what it had.
        let mut c = a;
        c.name = "c".into();
        let left = place(&left, vec![c]).unwrap();
        let mut in_use = InUse::new(&left);
        in_use.note(9, server, 80);
        assert!(!in_use.is(0), "{:?}", shown(&left));
    }

    #[test]
    fn only_spliced_services_leave_connections() {
        let mut a = service("a", "192.0.2.1");
        a.handoff = Handoff::Local;
        let next = place(&[a], vec![]).unwrap();
        assert_eq!(
            (shown(&next), next[0].standing),
            (vec![""], Standing::Vacant)
        );
    }

    #[test]
    fn more_services_than_indices_are_refused() {
        let many = (0..=MAX_SERVICES).map(|n| {
            let mut one = service("a", "192.0.2.1");
            one.name = format!("s{n}");
            one.ports = Ports::List(vec![1 + n as u16]);
            one
        });
        let refused = place(&[], many.collect()).unwrap_err();
        assert!(
            refused.contains("service \"s1024\": 1024 services are possible"),
            "{refused}"
        );
    }
}

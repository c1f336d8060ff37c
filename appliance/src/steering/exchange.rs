//! Exchanges the configuration while the program runs: services, addresses, lists, keys.
//!
//! A packet reads one endpoint and one policy, which change as a whole. Every step leaves a state that is either the old one or
//! the new one for each address:
//!
//! 1. [`Steering::write_ahead`]: keys, lists, and the addresses that belonged to no service. A new service has no policy in
//!    force yet, and so challenges nobody.
//! 2. [`Steering::put_in_force`]: the policies of all services at once, by their bank. Then the addresses that go from one service
//!    to another: both have their policy. What no service has any more is removed. At last, services that are gone challenge
//!    nobody any more; they only carry on their connections.
//!
//! If a step of the first part fails, what it wrote is removed: nothing has changed.

use std::thread;

use synward_core::counters::{SLOTS, ServiceCounters};
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Service, cookies, handoff, key_slot};

use super::error::{SteeringError, map_failed};
use super::fill;
use super::handle::Steering;
use super::key_slots::{KeySlots, cookie_keys};
use super::map_plan::Plan;
use super::next_hops::NextHops;
use super::plan_changes::PlanChanges;
use super::policy_banks::GRACE;
use crate::config::{Config, Standing};
use crate::kernel;
use crate::lists::Contents;
use crate::maps::{Plain, Times};
use crate::secret::{Keyring, ServiceKey};

/// A planned exchange.
pub struct Exchange {
    keys: KeySlots,
    /// The services whose keys are written again.
    rewritten: Vec<u32>,
    plan: Plan,
    changes: PlanChanges,
    policies: Vec<Service>,
    /// What the map of lists holds afterwards.
    lists: Contents,
    /// Services that the file does not have any more.
    removed: Vec<usize>,
    /// New services.
    started: Vec<u32>,
}

impl Exchange {
    /// The key that issues the cookies of each service; `None`: it has none.
    pub fn issuing_keys(&self) -> Vec<Option<ServiceKey>> {
        self.keys.issuing()
    }

    /// Indices of the services that begin now.
    pub fn started(&self) -> &[u32] {
        &self.started
    }
}

impl Steering {
    /// Plans the exchange of `running` for `next`, whose services have the same indices. `keyring` and `lists` are the new ones;
    /// without a keyring every service keeps its keys.
    ///
    /// # Errors
    /// The maps have no room for it, or this machine's addresses cannot be listed.
    pub fn plan_exchange(
        &self,
        running: &Config,
        next: &Config,
        keyring: Option<&Keyring>,
        lists: Contents,
    ) -> Result<Exchange, SteeringError> {
        let epoch = Times::now().epoch();
        let mut keys = self.keys.clone();
        let wanted = next.services.iter().map(|service| match service.standing {
            Standing::Configured => keyring.map(|keyring| {
                let keys = keyring.service_keys(&service.name);
                cookie_keys(keys, service.handoff, self.replays.key())
            }),
            Standing::Removed => None,
            Standing::Vacant => Some(Vec::new()),
        });
        let rewritten = keys.exchange(wanted.collect(), epoch);
        let first = self.endpoints.with_plan(|plan| plan.next_prefix);
        let places = &self.addresses.places;
        let mut plan = Plan::new_after(next, &keys.selections(), first, places);
        if self.takes_connections == Some(false) {
            plan.leave_cookies_to_the_kernel();
        }
        let offer_of = |service: u32| next.services[service as usize].offer;
        plan.bound_mss(offer_of, &self.endpoints.lock().client_mss);
        plan.leave_out(kernel::own_addresses().map_err(SteeringError::Netlink)?);
        let old = |old: &Plan| (old.changes_to(&mut plan, epoch + 1), Needed::new(old));
        let (changes, old) = self.endpoints.with_plan(old);
        self.check_room(&Needed::new(&plan), &old)?;
        let is_new = |index: usize| {
            let was = running.services.get(index);
            let is_now = &next.services[index];
            is_now.is_configured() && was.is_none_or(|was| was.standing == Standing::Vacant)
        };
        let is_removed = |index: &usize| {
            let was = running.services.get(*index);
            was.is_some_and(|was| was.is_configured()) && !next.services[*index].is_configured()
        };
        let indices = 0..next.services.len();
        Ok(Exchange {
            policies: self.next_policies(next, &plan),
            started: indices
                .clone()
                .filter(|index| is_new(*index))
                .map(|index| index as u32)
                .collect(),
            removed: indices.filter(is_removed).collect(),
            keys,
            rewritten,
            plan,
            changes,
            lists,
        })
    }

    /// The policies of the plan. A service keeps what its mode has led to so far.
    fn next_policies(&self, next: &Config, plan: &Plan) -> Vec<Service> {
        let times = if kernel::has_bare_clock() {
            cookies::TIMES
        } else {
            0
        };
        let services = next.services.iter().zip(&plan.services).enumerate();
        let policy = |(index, (config, planned)): (usize, (&crate::config::Service, &Service))| {
            let mut policy = *planned;
            if policy.handoff == handoff::LOCAL {
                policy.cookies |= times;
            }
            let was = self.services.get(index).copied().unwrap_or_default();
            self.with_mode(policy, &was, config.mode)
        };
        services.map(policy).collect()
    }

    fn check_room(&self, next: &Needed, old: &Needed) -> Result<(), SteeringError> {
        let room = self.object.room;
        for (what, needed, room) in [
            ("addresses and ports", next.endpoints, room.endpoints),
            ("prefixes", next.prefixes + old.prefixes, room.prefixes),
            (
                "ports of prefixes",
                next.prefix_ports + old.prefix_ports,
                room.prefix_ports,
            ),
        ] {
            if needed > room as usize {
                return Err(SteeringError::Room { what, needed, room });
            }
        }
        Ok(())
    }

    /// Writes what changes nothing yet.
    ///
    /// # Errors
    /// The kernel refuses a write. What was written is removed again.
    pub fn write_ahead(&mut self, next: &Config, exchange: &Exchange) -> Result<(), SteeringError> {
        let lists = self.lists.clone();
        let written = self.try_write_ahead(next, exchange);
        if written.is_err() {
            self.take_back(exchange, &lists);
        }
        written
    }

    fn try_write_ahead(&mut self, next: &Config, exchange: &Exchange) -> Result<(), SteeringError> {
        let Exchange { keys, changes, .. } = exchange;
        self.write_keys(keys, &exchange.rewritten)?;
        for service in &exchange.started {
            self.clear_counters(*service)?;
        }
        let lists = self.lists.changes_to(&exchange.lists).into_iter();
        self.change_lists(lists.filter(|(_, verdict)| verdict.is_some()))?;
        let offers = next.services.iter().map(|service| service.offer).collect();
        let prefixes = exchange.plan.has_prefixes();
        self.endpoints
            .add(&changes.new.endpoints, offers, prefixes)?;
        fill::add_prefixes(&mut self.object, &changes.new.prefixes)
    }

    fn take_back(&mut self, exchange: &Exchange, lists: &Contents) {
        let new = &exchange.changes.new;
        let nets: Vec<_> = new.prefixes.iter().map(|added| added.net).collect();
        let ports = new.prefixes.iter().flat_map(|added| &added.ports);
        let ports: Vec<_> = ports.map(|(key, _)| *key).collect();
        fill::remove_prefixes(&mut self.object, &nets, &ports);
        self.endpoints
            .remove(new.endpoints.iter().map(|(at, _)| *at));
        // The error that led here is reported.
        let _ = self.change_lists(self.lists.changes_to(lists));
    }

    /// Puts the exchange in force.
    ///
    /// # Errors
    /// The kernel refuses a write, for want of memory. The exchange may be incomplete then.
    pub fn put_in_force(&mut self, next: &Config, exchange: Exchange) -> Result<(), SteeringError> {
        let Exchange {
            keys,
            plan,
            changes,
            mut policies,
            lists,
            removed,
            ..
        } = exchange;
        self.keys = keys;
        self.modes = next.services.iter().map(|service| service.mode).collect();
        let places = plan.places.clone();
        self.addresses.hand_back(&places, &mut policies);
        self.addresses.places = places.after(&self.addresses.places);
        let mut meanwhile = policies.clone();
        for index in &removed {
            meanwhile[*index] = self.services[*index];
        }
        self.put_policies_in_force(meanwhile)?;
        // Nobody works with the bank before any more.
        thread::sleep(GRACE);
        fill::add_ports(&mut self.object, &changes.offers)?;
        let since = Times::now().epoch() + 1;
        let gone = self
            .endpoints
            .follow(plan, &changes.moved.endpoints, since)?;
        fill::add_prefixes(&mut self.object, &changes.moved.prefixes)?;
        fill::remove_prefixes(
            &mut self.object,
            &changes.gone_prefixes,
            &changes.gone_ports,
        );
        self.endpoints
            .remove(gone.into_iter().chain(changes.gone_endpoints));
        if self.addresses.follow(places) || !removed.is_empty() {
            // What a wider prefix of another service covers is that service's by now.
            self.put_policies_in_force(policies)?;
        }
        self.set_lists(&lists)?;
        self.follow_times(next);
        self.next_hops = NextHops::new(next);
        self.endpoints
            .finish(FlowTime::units_of_seconds(next.flows.idle.as_secs()))
    }

    fn write_keys(&mut self, keys: &KeySlots, services: &[u32]) -> Result<(), SteeringError> {
        let map = &mut self.object.keys;
        keys.rewrite(services, |service, slot| {
            map.set(key_slot(service, slot.epoch), Plain(slot), 0)
        })
        .map_err(map_failed("KEYS"))
    }

    /// Forgets removed keys when their cookies have expired. It is cheap if there are none.
    pub(super) fn expire_keys(&mut self, epoch: u64) -> Result<(), SteeringError> {
        let expired = self.keys.expire(epoch);
        if expired.is_empty() {
            return Ok(());
        }
        // The places do not count any more before they are written.
        self.select_keys()?;
        thread::sleep(GRACE);
        self.keys.settle();
        let keys = self.keys.clone();
        self.write_keys(&keys, &expired)?;
        self.select_keys()
    }

    fn select_keys(&mut self) -> Result<(), SteeringError> {
        let mut services = self.services.clone();
        for (service, selection) in services.iter_mut().zip(self.keys.selections()) {
            *service = selection.apply(*service);
        }
        self.put_policies_in_force(services)
    }

    fn clear_counters(&mut self, service: u32) -> Result<(), SteeringError> {
        let counters = &mut self.object.counters;
        let cpus = counters.get(&service, 0).map_err(map_failed("COUNTERS"))?;
        let zeros = vec![Plain(ServiceCounters([0; SLOTS])); cpus.len()];
        let zeros = zeros.try_into().map_err(|error| SteeringError::Map {
            map: "COUNTERS",
            cause: format!("{error:?}"),
        })?;
        counters
            .set(service, zeros, 0)
            .map_err(map_failed("COUNTERS"))
    }
}

/// What a plan needs of the maps.
struct Needed {
    endpoints: usize,
    prefixes: usize,
    prefix_ports: usize,
}

impl Needed {
    fn new(plan: &Plan) -> Self {
        Self {
            endpoints: plan.endpoints.len(),
            prefixes: plan.prefixes.len(),
            prefix_ports: plan.prefix_ports.len(),
        }
    }
}

//! Loads the program for a configuration and fills its maps. Attaches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use synward_core::flow_time::FlowTime;
use synward_core::layout::{Clock, Globals, Service, mode};

use super::address_policies::AddressPolicies;
use super::adoption::Adoption;
use super::chain;
use super::client_mss::ClientWays;
use super::endpoint_profiles::{EndpointProfiles, ProfileMaps};
use super::error::{SteeringError, map_failed};
use super::fill;
use super::frags::needs_frags;
use super::handle::Steering;
use super::interface_discovery::{Found, find_steered};
use super::kept_attacks::{KeptAttacks, ResumedAttack};
use super::key_slots::{KeySlots, cookie_keys};
use super::map_plan::Plan;
use super::map_sizes::Sizes;
use super::next_hops::NextHops;
use super::object::Object;
use super::own_sources::OwnSources;
use super::pins::{Pins, Previous};
use super::policy_banks::PolicyBanks;
use super::standby_ports::StandbyPorts;
use crate::config::{Config, Mode};
use crate::kernel::{self, KernelAbi};
use crate::maps::{FlowTable, Heartbeats, Plain, ReplayCache, Times};
use crate::secret::Keyring;

impl Steering {
    /// Loads the program and fills its maps, but attaches nothing. Call [`check_host`](crate::kernel::check_host) first.
    /// `keyring` must have keys for every service. `abi` is required if some service is local.
    ///
    /// Interfaces are looked up in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The first requirement that is not met. Everything is undone.
    pub fn load(
        config: &Config,
        keyring: &Keyring,
        abi: Option<&KernelAbi>,
    ) -> Result<Self, SteeringError> {
        let found = find_steered(&config.interfaces)?;
        let pins = config
            .appliance
            .pin
            .as_deref()
            .map(Pins::open)
            .transpose()?;
        match Self::load_with(config, keyring, found, abi, pins.as_ref()) {
            Ok(mut steering) => {
                steering.pins = pins;
                Ok(steering)
            }
            Err(error) => {
                if let Some(pins) = &pins {
                    pins.remove_if_empty();
                }
                Err(error)
            }
        }
    }

    fn load_with(
        config: &Config,
        keyring: &Keyring,
        found: Vec<Found>,
        abi: Option<&KernelAbi>,
        pins: Option<&Pins>,
    ) -> Result<Self, SteeringError> {
        let frags = needs_frags(&found, &config.interfaces)?;
        let sizes = Sizes::new(config.flows.capacity);
        let previous = match pins {
            Some(pins) => pins.previous(&sizes.kept())?,
            None => None,
        };
        let (table_key, replay_key) = match &previous {
            Some(Previous { globals, .. }) => (globals.table_key, globals.replay_key),
            None => (random_key()?, random_key()?),
        };
        let keys = config.services.iter().map(|service| {
            let keys = keyring.service_keys(&service.name);
            cookie_keys(keys, service.handoff, replay_key)
        });
        let keys = KeySlots::new(keys.collect());
        let mut plan = Plan::new(config, &keys.selections());
        if abi.is_some_and(|abi| !abi.takes_connections()) {
            plan.leave_cookies_to_the_kernel();
        }
        let client_ways = ClientWays::new(found.iter().map(|found| &found.steered));
        let client_mss = client_ways.bound();
        let offer_of = |service: u32| config.services[service as usize].offer;
        plan.bound_mss(offer_of, &client_mss);
        plan.leave_out(kernel::own_addresses().map_err(SteeringError::Netlink)?);
        let pinned = match (&previous, pins) {
            (Some(_), Some(pins)) => sizes
                .kept()
                .map(|(name, _)| (name, pins.map(name)))
                .to_vec(),
            _ => Vec::new(),
        };
        let (mut object, shared) = Object::load(&sizes, &plan, abi, &pinned, frags)?;

        let globals = Globals {
            table_key,
            replay_key,
            bucket_mask: sizes.buckets - 1,
            passed_idle: FlowTime::units_of_seconds(config.flows.idle.as_secs()),
            prefixes: u32::from(plan.has_prefixes()),
            generation: 2,
        };
        let mut globals_map = shared.globals;
        globals_map
            .set(0, Plain(globals), 0)
            .map_err(map_failed("GLOBALS"))?;
        fill::fill_maps(&mut object, &plan, &found)?;
        chain::put_behind(&config.interfaces, &mut object.next)?;
        let mut endpoints = shared.endpoints;
        fill::fill_endpoints(
            &mut endpoints,
            &plan,
            config,
            &client_mss,
            previous.as_ref(),
        )?;

        let kept_attacks = KeptAttacks::read(pins);
        let (services, attacked) = attacked(config, &plan, kept_attacks.resumed());
        let table = FlowTable::new(
            shared.tags,
            shared.flows,
            shared.occupancy,
            globals.table_key,
            sizes.buckets,
        );
        let taken_over = previous.map(|_| table.recover());
        let now = Times::now();
        let mut steering = Self {
            interfaces: found.iter().map(|found| found.steered.clone()).collect(),
            found,
            wanted: config.interfaces.clone(),
            watched: Vec::new(),
            link_watch: None,
            standby_ports: StandbyPorts::default(),
            attachments: Vec::new(),
            entry: None,
            arrivals: BTreeMap::new(),
            assignments: Vec::new(),
            pins: None,
            taken_over,
            services: vec![Service::default(); plan.services.len()],
            addresses: AddressPolicies::new(plan.places.clone(), attacked),
            kept_attacks,
            banks: PolicyBanks::default(),
            takes_connections: abi.map(KernelAbi::takes_connections),
            lists: std::mem::take(&mut plan.lists),
            draining: false,
            assigns: plan.assigns(),
            keys,
            clock: Clock::default(),
            modes: config.services.iter().map(|service| service.mode).collect(),
            adoption: Adoption::at_start(config.appliance.adopt, config.flows.idle),
            idle: config.flows.idle,
            next_hops: NextHops::new(config),
            client_ways,
            vlans: BTreeSet::new(),
            own_sources: OwnSources::default(),
            table: Arc::new(table),
            replays: Arc::new(ReplayCache::new(shared.replay_cache, globals.replay_key)),
            heartbeats: Arc::new(Heartbeats::new(shared.heartbeats)),
            endpoints: {
                let offers = config
                    .services
                    .iter()
                    .map(|service| service.offer)
                    .collect();
                let map =
                    ProfileMaps::new(endpoints, globals_map, globals, plan, offers, client_mss);
                Arc::new(EndpointProfiles::new(map))
            },
            object,
        };
        steering.refresh(&now)?;
        steering.put_policies_in_force(services)?;
        steering.start_adoption(now.coarse)?;
        steering.refresh_kernel_clock()?;
        Ok(steering)
    }
}

/// The policies of services with the effect of attacks that the previous process knew, and the policies of attacked addresses.
fn attacked(
    config: &Config,
    plan: &Plan,
    attacks: &[ResumedAttack],
) -> (Vec<Service>, BTreeSet<u32>) {
    let mut services = plan.services.clone();
    let mut addresses = BTreeSet::new();
    for ResumedAttack { service, net, .. } in attacks {
        let mut configured = config.services.iter();
        let Some(index) = configured.position(|one| one.name == *service) else {
            continue;
        };
        if let Some(net) = net {
            let mut places = plan.places.of(index as u32).iter();
            addresses.extend(
                places
                    .find(|place| place.net == *net)
                    .map(|place| place.policy),
            );
            continue;
        }
        if let Some(policy) = services.get_mut(index) {
            policy.under_attack = 1;
            if config.services[index].mode == Mode::Auto {
                policy.mode = mode::ALWAYS;
            }
        }
    }
    (services, addresses)
}

fn random_key<const WORDS: usize>() -> Result<[u64; WORDS], SteeringError> {
    let mut key = [0; WORDS];
    for word in &mut key {
        *word = getrandom::u64().map_err(|error| SteeringError::Random(error.to_string()))?;
    }
    Ok(key)
}

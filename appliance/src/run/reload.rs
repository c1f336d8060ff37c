//! `synward reload` and SIGHUP: reads the configuration again and puts it in force, or changes nothing.
//!
//! The control thread does it: it alone can read the directory of the configuration. Other threads ask it and wait.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::control_pulse::Activity;
use super::reload_request::PastCounts;
use super::running_appliance::{Inner, RunningAppliance};
use super::service_slots;
use super::start::{Appliance, policies};
use crate::config::config_facts::{Difference, Facts};
use crate::config::{Abilities, Config, Cookies, Handoff, Service, Standing};
use crate::engine::Outcome;
use crate::events::EventLog;
use crate::lists::Contents;
use crate::local_checks;
use crate::observe::control_protocol::{ReloadReport, RunningConfiguration};
use crate::observe::notify;
use crate::secret::ServiceKey;
use crate::steering::SteeringError;
use crate::worker::settings::WorkerSettings;

/// How long the control thread waits for workers to take their settings. One that is stopped for longer takes them when it
/// goes on; until then the XDP program does not use it.
const WORKERS: Duration = Duration::from_millis(500);
/// Interval between two looks for removed services without connections.
const RELEASE: Duration = Duration::from_secs(5);

impl RunningAppliance {
    /// Frees the places of removed services whose connections have ended. Cheap if it is not due.
    pub(super) fn release_services(&self) {
        release_services(&mut self.lock());
    }

    /// Reads the configuration again and puts it in force, or changes nothing. Only the control thread calls it.
    pub fn reload_now(&self) -> ReloadReport {
        notify::notify_reloading();
        let began = Instant::now();
        self.pulse.begin(Activity::Reload, began);
        let result = self.source.read().and_then(|next| {
            let mut inner = self.lock();
            follow(&mut inner, next)
        });
        let report = match result {
            Ok(lines) => ReloadReport { done: true, lines },
            Err(lines) => ReloadReport::refused(lines),
        };
        let milliseconds = began.elapsed().as_millis() as u64;
        for line in &report.lines {
            if report.done {
                tracing::info!("reload: {line}");
            } else {
                tracing::warn!("reload refused: {line}");
            }
        }
        if report.done {
            tracing::info!(milliseconds, "reload done");
        } else {
            tracing::warn!(milliseconds, "reload refused, nothing changed");
        }
        self.lock().last_reload.note(&report);
        notify::notify_ready();
        report
    }

    /// What is in force, to compare a file with it.
    pub(super) fn running_configuration(&self) -> RunningConfiguration {
        let inner = self.lock();
        let appliance = inner.appliance.as_ref();
        let abilities = appliance.map(|appliance| abilities(appliance, &inner.events));
        RunningConfiguration {
            facts: Facts::of(&inner.config),
            control_is_given: self.source.control.is_some(),
            abilities: abilities.unwrap_or_default(),
        }
    }
}

fn abilities(appliance: &Appliance, events: &EventLog) -> Abilities {
    let steering = &appliance.steering;
    Abilities {
        workers: !appliance.workers.is_empty(),
        local: steering.can_serve_locally(Cookies::Auto),
        local_kernel_cookies: steering.can_serve_locally(Cookies::Kernel),
        programs: events.programs().to_vec(),
    }
}

/// Puts `next` in force. Returns what changes, or why nothing does.
fn follow(inner: &mut Inner, next: Config) -> Result<Vec<String>, Vec<String>> {
    let Some(appliance) = &inner.appliance else {
        return Err(vec!["synward is stopping".into()]);
    };
    let differences = Facts::of(&inner.config).differences(&Facts::of(&next));
    let abilities = abilities(appliance, &inner.events);
    let reason = |difference: &Difference| {
        let reason = difference.restart_reason(&abilities)?;
        Some(format!("{difference}: {reason}"))
    };
    let needs_restart: Vec<_> = differences.iter().filter_map(reason).collect();
    if !needs_restart.is_empty() {
        return Err(needs_restart);
    }
    if differences.is_empty() {
        return Ok(vec!["nothing changes".into()]);
    }
    exchange(inner, next).map_err(|why| vec![why])?;
    Ok(differences.iter().map(ToString::to_string).collect())
}

/// Exchanges the running configuration for `next`. The error is a sentence; nothing has changed then.
fn exchange(inner: &mut Inner, mut next: Config) -> Result<(), String> {
    let services = std::mem::take(&mut next.services);
    next.services = service_slots::place(&inner.config.services, services)?;
    let Some(appliance) = &mut inner.appliance else {
        return Err("synward is stopping".into());
    };
    let is_new = |(index, service): (usize, &Service)| {
        let was = inner.config.services.get(index);
        service.handoff == Handoff::Local && was.is_none_or(|was| was.handoff != Handoff::Local)
    };
    if next.services.iter().enumerate().any(is_new) {
        local_checks::check_kernel(&next).map_err(|error| error.to_string())?;
        local_checks::check_routes(&next, appliance.steering.interfaces())
            .map_err(|error| error.to_string())?;
    }
    put_in_force(inner, next, Keys::Read)
}

/// The keys of an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Those that were read with the configuration.
    Read,
    /// Every service keeps its own. The configuration in force has none any more.
    Kept,
}

/// Exchanges the running configuration for `next`, whose services are at their indices.
fn put_in_force(inner: &mut Inner, mut next: Config, keys: Keys) -> Result<(), String> {
    let Some(appliance) = &mut inner.appliance else {
        return Err("synward is stopping".into());
    };
    let keyring = match (keys, next.cookie.content.keyring()) {
        (Keys::Kept, _) => None,
        (Keys::Read, Some(keyring)) => Some(keyring),
        (Keys::Read, None) => return Err("there is no secret".into()),
    };
    let lists = Contents::new(&next.services, &inner.lists, Instant::now());
    let steering = &mut appliance.steering;
    let text = |error: SteeringError| error.to_string();
    let exchange = steering
        .plan_exchange(&inner.config, &next, keyring, lists)
        .map_err(text)?;
    steering.write_ahead(&next, &exchange).map_err(text)?;
    // Workers know new services before their clients come.
    let mut issuing = steering.issuing_keys();
    let issuing_next = exchange.issuing_keys();
    issuing.resize(issuing_next.len().max(issuing.len()), None);
    for index in exchange.started().iter().map(|index| *index as usize) {
        issuing[index].clone_from(&issuing_next[index]);
        forget_counts(&mut inner.past, appliance, index);
    }
    set_workers(appliance, &next, issuing);
    inner.profiles.follow(&inner.config, &next);
    inner.attacks.follow(&next, exchange.started());
    inner.events.follow(&next.services);
    let done = appliance.steering.put_in_force(&next, exchange);
    // The programs accept the cookies of new keys before workers issue them.
    set_workers(appliance, &next, issuing_next);
    appliance.config.services.clone_from(&next.services);
    appliance.config.flows = next.flows;
    appliance.config.appliance.adopt = next.appliance.adopt;
    inner.notes.renew(&next);
    next.cookie.wipe();
    inner.config = Arc::new(next);
    done.map_err(|error| format!("the reload is not complete; restart synward: {error}"))
}

fn forget_counts(past: &mut PastCounts, appliance: &Appliance, index: usize) {
    for one in &appliance.workers {
        if let Some(stats) = one.stats.get(index) {
            past.handoffs.add(&stats.latency());
            past.table_full += stats.count_of(Outcome::TableFull);
            stats.clear();
        }
    }
}

/// Gives all workers the policies of `config` and these keys, and waits until they have them.
fn set_workers(appliance: &Appliance, config: &Config, issuing: Vec<Option<ServiceKey>>) {
    let settings = WorkerSettings {
        policies: policies(config),
        issuing,
    };
    for one in &appliance.workers {
        one.settings.post(settings.clone());
        one.mailbox.waker.wake();
    }
    let until = Instant::now() + WORKERS;
    let waits = |appliance: &Appliance| {
        let mut workers = appliance.workers.iter();
        workers.any(|one| !one.settings.is_taken() && one.fault().is_none())
    };
    while waits(appliance) && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Frees the places of removed services whose connections have ended.
fn release_services(inner: &mut Inner) {
    let mut services = inner.config.services.iter();
    let is_removed = |service: &Service| service.standing == Standing::Removed;
    if inner.released_at.elapsed() < RELEASE || !services.any(is_removed) {
        return;
    }
    inner.released_at = Instant::now();
    let Some(appliance) = &inner.appliance else {
        return;
    };
    let services = &inner.config.services;
    let mut in_use = service_slots::InUse::new(services);
    appliance.steering.table().for_each(|_, flow| {
        let server = IpAddr::from(flow.key.server);
        in_use.note(usize::from(flow.service), server, flow.key.server_port());
    });
    let Some(left) = service_slots::release(services, |index, _| in_use.is(index)) else {
        return;
    };
    let next = Config {
        services: left,
        ..Config::clone(&inner.config)
    };
    if let Err(error) = put_in_force(inner, next, Keys::Kept) {
        tracing::error!("removed services cannot be released: {error}");
    }
}

//! What observers and the control socket ask of the running appliance.

use std::sync::Arc;
use std::time::Instant;

use super::capture_target;
use super::drain::{self, Drain};
use super::flow_listing;
use super::list_control;
use super::outcome_counts::count_outcomes;
use super::reload_request::{self, STOPPING};
use super::running_appliance::RunningAppliance;
use super::snapshot_builder::{interface_views, removed_notes, service_view, worker_views};
use super::transmission_watch;
use crate::config::{Mode, Service};
use crate::engine::Outcome;
use crate::events::unix_seconds;
use crate::lists::{ListAnswer, ListRequest};
use crate::observe::control_protocol::{CaptureTarget, ReloadReport, RunningConfiguration};
use crate::observe::flow_query::FlowQuery;
use crate::observe::{
    ApplianceHandle, DrainCommand, DrainView, FlowList, FlowsView, SCHEMA_VERSION, ServiceView,
    Snapshot, client_notes,
};

impl ApplianceHandle for RunningAppliance {
    fn why_unreadable(&self) -> Option<String> {
        self.why_unreadable()
    }

    fn snapshot(&self) -> Snapshot {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let last_reload = &inner.last_reload;
        let mut snapshot = Snapshot {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            time: unix_seconds(),
            uptime_seconds: self.began.elapsed().as_secs_f64(),
            config_file: self.source.file.clone(),
            config_last_reload_successful: last_reload.successful,
            config_last_reload_success_timestamp_seconds: last_reload.success_at,
            config_last_reload: last_reload.report.clone(),
            serving: inner.serving,
            drain: inner.drain.map(|drain| drain.view(Instant::now())),
            notes: [
                inner.notes.texts(),
                inner.watch.left_out().to_vec(),
                removed_notes(&inner.config),
            ]
            .concat(),
            ..Snapshot::default()
        };
        snapshot.events = inner.events.events().cloned().collect();
        snapshot.notes.extend(inner.events.note());
        let Some(appliance) = &inner.appliance else {
            return snapshot;
        };
        // What follows was found out by the control thread.
        snapshot.degraded = self.pulse.fault(Instant::now()).into_iter().collect();
        snapshot
            .degraded
            .extend(inner.watch.faults().iter().cloned());
        snapshot
            .notes
            .extend(appliance.self_test_notes.iter().cloned());
        snapshot.notes.extend(appliance.steering.expected_callers());
        snapshot.notes.extend(appliance.shared_queues());
        snapshot.notes.extend(appliance.receive_only_queues());
        let unfinished = transmission_watch::unfinished_checksums(appliance);
        let is_new = |note: &String| !inner.watch.faults().contains(note);
        snapshot.notes.extend(unfinished.filter(is_new));
        snapshot.workers = worker_views(appliance, &mut snapshot.degraded);
        snapshot.interfaces = interface_views(appliance, inner.watch.latest_reports(appliance));
        let servers = inner.profiles.by_service(inner.config.services.len());
        let sources = inner.attacks.sources(&appliance.steering);
        snapshot.services = servers
            .iter()
            .enumerate()
            .map(|(index, servers)| {
                let view = service_view(
                    &inner.config,
                    appliance,
                    &inner.profiles,
                    servers,
                    index,
                    inner.flows[index],
                    &mut snapshot.degraded,
                );
                ServiceView {
                    attack: inner.attacks.view(index, &sources),
                    ..view
                }
            })
            .collect();
        list_control::add_sizes(&mut snapshot.services, appliance.steering.lists());
        let mut configured = inner.config.services.iter().map(Service::is_configured);
        snapshot
            .services
            .retain(|_| configured.next() == Some(true));
        snapshot.notes.extend(client_notes(&snapshot.services));
        snapshot.flows = FlowsView {
            capacity: u64::from(inner.config.flows.capacity),
            used: inner.flows.iter().sum(),
            expired_total: inner.expired,
            full_total: inner.past.table_full + count_outcomes(appliance, None, Outcome::TableFull),
        };
        snapshot.handoff_seconds = inner.past.handoffs;
        for one in &appliance.workers {
            for stats in &*one.stats {
                snapshot.handoff_seconds.add(&stats.latency());
            }
        }
        snapshot
    }

    fn flows(&self, query: &FlowQuery) -> Result<FlowList, String> {
        // The lock is released before the walk: a million flows take a tenth of a second.
        let (table, config) = {
            let inner = self.lock();
            let table = inner.appliance.as_ref().map(|one| one.steering.table());
            (table, Arc::clone(&inner.config))
        };
        table.map_or_else(
            || Ok(FlowList::default()),
            |table| flow_listing::list(&table, &config, query),
        )
    }

    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let appliance = inner.appliance.as_mut().ok_or(STOPPING)?;
        let index = inner
            .config
            .services
            .iter()
            .position(|known| known.name == service);
        let index = index.ok_or_else(|| format!("there is no service {service}"))?;
        appliance
            .steering
            .set_mode(index as u32, mode)
            .map_err(|error| error.to_string())?;
        Arc::make_mut(&mut inner.config).services[index].mode = mode;
        tracing::info!(service, mode = %mode, "mode set");
        Ok(())
    }

    fn lists(&self, request: &ListRequest) -> Result<ListAnswer, String> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let appliance = inner.appliance.as_mut().ok_or(STOPPING)?;
        list_control::answer(
            request,
            &mut inner.lists,
            &inner.config,
            &mut appliance.steering,
        )
    }

    fn capture_target(&self, service: &str) -> Result<CaptureTarget, String> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let appliance = inner.appliance.as_mut().ok_or(STOPPING)?;
        capture_target::find(&inner.config, &mut appliance.steering, service)
    }

    fn drain(&self, command: DrainCommand) -> Result<DrainView, String> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let appliance = inner.appliance.as_mut().ok_or(STOPPING)?;
        let steering = &mut appliance.steering;
        drain::command(&mut inner.drain, command, steering, &mut inner.events)
    }

    fn drained(&self) -> DrainView {
        let view = |drain: Drain| drain.view(Instant::now());
        self.lock().drain.map(view).unwrap_or_default()
    }

    fn reload(&self) -> Result<ReloadReport, String> {
        // A request would be carried out as soon as the control thread goes on.
        match self.pulse.fault(Instant::now()) {
            Some(why) => Err(why),
            None => reload_request::request(&self.reloads),
        }
    }

    fn configuration(&self) -> RunningConfiguration {
        self.running_configuration()
    }
}

//! The appliance as metrics and `status` show it, and what they may change.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use synward_core::client_options::NO_SCALE;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Flow, HEARTBEAT_TIMEOUT, profile_flags, state};

use super::profiles::Profiles;
use super::start::Appliance;
use crate::config::{Config, Handoff, Mode};
use crate::engine::Outcome;
use crate::local_checks::Notes;
use crate::maps::{Limits, Swept, Times, coarse_now, tick, ticks};
use crate::observe::{
    Counters, FlowList, FlowState, FlowView, FlowsView, Frames, InterfaceView, ProfileView,
    QueueView, Responder, ServiceView, Snapshot, Source, WorkerView, XskCounters,
};
use crate::worker::status::PortStatus;

/// What runs, behind one lock that no worker ever takes.
pub struct View {
    config: Config,
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    appliance: Option<Appliance>,
    profiles: Profiles,
    notes: Notes,
    serving: bool,
    /// Where the sweep goes on.
    cursor: u32,
    expired: u64,
    /// By service: live entries, counted over one sweep of the whole table.
    flows: Vec<u64>,
    counting: Vec<u64>,
    reports: BTreeMap<u32, Vec<PortStatus>>,
}

impl View {
    /// Of an appliance whose workers run.
    pub fn new(appliance: Appliance, profiles: Profiles) -> Self {
        let services = appliance.config.services.len();
        let mut notes = Notes::default();
        notes.renew(&appliance.config);
        Self {
            config: appliance.config.clone(),
            began: Instant::now(),
            inner: Mutex::new(Inner {
                appliance: Some(appliance),
                profiles,
                notes,
                serving: false,
                cursor: 0,
                expired: 0,
                flows: vec![0; services],
                counting: vec![0; services],
                reports: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of an observer leaves plain data behind, which is as good as before.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Everything is steered and bound.
    pub fn now_serving(&self) {
        self.lock().serving = true;
    }

    /// One line for people and for scripts that wait.
    pub fn ready_line(&self) -> String {
        let inner = self.lock();
        let interfaces = inner.appliance.as_ref().map(|appliance| {
            let names = appliance
                .steering
                .interfaces()
                .iter()
                .map(|one| one.name.as_str());
            names.collect::<Vec<_>>().join(", ")
        });
        format!(
            "ready: {} service(s) on {}",
            self.config.services.len(),
            interfaces.unwrap_or_default()
        )
    }

    /// What the control thread does in a round.
    pub fn round(&self, sweep: u32) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(appliance) = &mut inner.appliance else {
            return;
        };
        if let Err(error) = appliance.steering.refresh(&Times::now()) {
            tracing::error!(%error, "keys and clock cannot be refreshed");
        }
        while let Some(learned) = appliance.learned.pop() {
            inner.profiles.learn(&learned);
        }
        inner.profiles.ask_again();
        if inner.notes.are_old() {
            inner.notes.renew(&self.config);
            if let Err(error) = appliance.steering.refresh_kernel_clock() {
                tracing::error!(%error, "what the kernel's cookies can hold cannot be told to the program");
            }
        }
        let table = appliance.steering.table();
        let limits = Limits {
            now: tick(coarse_now()),
            idle: ticks(self.config.flows.idle.as_secs()),
            closing: ticks(self.config.flows.closing.as_secs()),
        };
        let Swept {
            expired,
            next,
            live,
        } = table.sweep(limits, inner.cursor, sweep);
        for (count, live) in inner.counting.iter_mut().zip(live) {
            *count += u64::from(live);
        }
        inner.expired += u64::from(expired);
        inner.cursor = next;
        if next == 0 {
            std::mem::swap(&mut inner.flows, &mut inner.counting);
            inner.counting.fill(0);
        }
    }

    /// Stops workers and steering.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn end(&self, keep: bool) -> anyhow::Result<()> {
        let mut inner = self.lock();
        inner.serving = false;
        inner
            .appliance
            .take()
            .map_or(Ok(()), |appliance| appliance.stop(keep))
    }
}

impl Source for View {
    fn snapshot(&self) -> Snapshot {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.began.elapsed().as_secs_f64(),
            config_file: self.config.file.clone(),
            config_last_reload_successful: true,
            serving: inner.serving,
            notes: inner.notes.texts(),
            ..Snapshot::default()
        };
        let Some(appliance) = &inner.appliance else {
            return snapshot;
        };
        for one in &appliance.crew {
            if let Some(report) = one.status.take_latest() {
                inner.reports.insert(one.queue, report);
            }
        }
        snapshot.workers = workers(appliance, &mut snapshot.degraded);
        snapshot.interfaces = interfaces(appliance, &inner.reports);
        snapshot.services = (0..self.config.services.len())
            .map(|index| {
                service(
                    &self.config,
                    appliance,
                    &inner.profiles,
                    index,
                    inner.flows[index],
                )
            })
            .collect();
        snapshot.flows = FlowsView {
            capacity: u64::from(self.config.flows.capacity),
            used: inner.flows.iter().sum(),
            expired_total: inner.expired,
            full_total: outcomes(appliance, None, Outcome::TableFull),
        };
        for one in &appliance.crew {
            for stats in &*one.stats {
                snapshot.handoff_seconds.add(&stats.latency());
            }
        }
        snapshot
    }

    fn flows(&self, limit: usize) -> FlowList {
        let inner = self.lock();
        let Some(appliance) = &inner.appliance else {
            return FlowList::default();
        };
        let now = tick(coarse_now());
        let mut list = FlowList::default();
        let mut others = Vec::new();
        appliance.steering.table().for_each(|_, flow| {
            list.total += 1;
            if flow.state == state::OPENING {
                if list.flows.len() < limit {
                    list.flows.push(flow_view(&self.config, &flow, now));
                }
            } else if others.len() < limit {
                others.push(flow_view(&self.config, &flow, now));
            }
        });
        others.truncate(limit.saturating_sub(list.flows.len()));
        list.flows.append(&mut others);
        list
    }

    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String> {
        let mut inner = self.lock();
        let Some(appliance) = &mut inner.appliance else {
            return Err("the appliance is stopping".to_owned());
        };
        let index = self
            .config
            .services
            .iter()
            .position(|known| known.name == service);
        let index = index.ok_or_else(|| format!("there is no service {service}"))?;
        appliance
            .steering
            .set_mode(index as u32, mode)
            .map_err(|error| error.to_string())?;
        tracing::info!(service, mode = %mode, "mode set");
        Ok(())
    }
}

fn workers(appliance: &Appliance, degraded: &mut Vec<String>) -> Vec<WorkerView> {
    let beats = appliance.steering.heartbeats();
    let now = coarse_now();
    let view = |one: &super::start::Crew| {
        let alive = now.saturating_sub(beats.last(one.queue)) < HEARTBEAT_TIMEOUT;
        if !alive {
            degraded.push(format!(
                "the worker of queue {} has not moved for a second",
                one.queue
            ));
        }
        let (loops, sleeps, busy_ratio) = one.status.rounds();
        let (unreadable_total, unsent_total) = one.status.trouble();
        let core = one
            .core
            .filter(|_| one.status.pinned.load(Relaxed))
            .map(|core| core.id);
        WorkerView {
            queue: one.queue,
            core,
            alive,
            busy_ratio,
            loops,
            sleeps,
            unreadable_total,
            unsent_total,
        }
    };
    appliance.crew.iter().map(view).collect()
}

fn interfaces(
    appliance: &Appliance,
    reports: &BTreeMap<u32, Vec<PortStatus>>,
) -> Vec<InterfaceView> {
    let steered = appliance.steering.interfaces().iter();
    steered
        .map(|one| {
            let answering = appliance.responders.get(&one.index).copied().unwrap_or(0);
            let queue = |queue: &u32| {
                let report = reports
                    .get(queue)
                    .and_then(|ports| ports.iter().find(|port| port.interface == one.index));
                QueueView {
                    queue: *queue,
                    responder: if answering >> queue & 1 != 0 {
                        Responder::Afxdp
                    } else {
                        Responder::Xdp
                    },
                    zero_copy: report.map(|report| report.zero_copy),
                    counters: report
                        .map(|report| XskCounters::new(report.kernel, report.counters))
                        .unwrap_or_default(),
                    frames: report
                        .map(|report| Frames::from(report.frames))
                        .unwrap_or_default(),
                }
            };
            InterfaceView {
                name: one.name.clone(),
                index: one.index,
                side: one.side.to_string(),
                native: one.native,
                queues: one.queues.iter().map(queue).collect(),
            }
        })
        .collect()
}

fn outcomes(appliance: &Appliance, service: Option<usize>, outcome: Outcome) -> u64 {
    let stats = appliance
        .crew
        .iter()
        .flat_map(|one| one.stats.iter().enumerate());
    stats
        .filter(|(index, _)| service.is_none_or(|wanted| wanted == *index))
        .map(|(_, stats)| stats.count_of(outcome))
        .sum()
}

fn service(
    config: &Config,
    appliance: &Appliance,
    profiles: &Profiles,
    index: usize,
    flows: u64,
) -> ServiceView {
    let known = &config.services[index];
    let sum = |read: fn(&crate::engine::ServiceStats) -> u64| {
        appliance
            .crew
            .iter()
            .filter_map(|one| one.stats.get(index))
            .map(read)
            .fold(0, u64::wrapping_add)
    };
    let mode = appliance.steering.mode(index as u32).unwrap_or(known.mode);
    let counters = appliance.steering.counters(index as u32);
    ServiceView {
        name: known.name.clone(),
        handoff: known.handoff.to_string(),
        mode: mode.to_string(),
        active: mode == Mode::Always,
        flows,
        openings: sum(|stats| stats.openings.load(Relaxed)),
        held_bytes: sum(|stats| stats.held_bytes.load(Relaxed)),
        answered_afxdp: sum(|stats| stats.answered.load(Relaxed)),
        counters: Counters::sum(counters.as_ref().ok()),
        handoffs: match known.handoff {
            Handoff::Splice => Outcome::ALL
                .iter()
                .map(|outcome| {
                    (
                        outcome.name().to_owned(),
                        outcomes(appliance, Some(index), *outcome),
                    )
                })
                .collect(),
            Handoff::Local => taken_by_kernel(counters.as_ref().ok()),
            // Whether the server took them, it alone knows.
            Handoff::Forward => BTreeMap::new(),
        },
        profiles: profiles
            .of(index)
            .filter_map(|(to, server)| {
                let profile = profiles.profile(to)?;
                Some(ProfileView {
                    address: to.ip(),
                    port: to.port(),
                    learned: server.learned,
                    mss: profile.mss,
                    window: profile.window,
                    window_scale: (profile.window_scale != NO_SCALE)
                        .then_some(profile.window_scale),
                    sack: profile.flags & profile_flags::SACK != 0,
                    timestamps: profile.timestamps(),
                    ecn: profile.flags & profile_flags::ECN != 0,
                })
            })
            .collect(),
    }
}

/// How the kernel took proven clients, in the words of a splice.
fn taken_by_kernel(counters: Option<&ServiceCounters>) -> BTreeMap<String, u64> {
    let count = |counter| counters.map_or(0, |counters| counters.value(counter));
    [
        (Outcome::Established, Counter::Assigned),
        (Outcome::Refused, Counter::AssignRefused),
        (Outcome::StaleReset, Counter::StaleReset),
    ]
    .map(|(outcome, counter)| (outcome.name().to_owned(), count(counter)))
    .into()
}

fn flow_view(config: &Config, flow: &Flow, now: u32) -> FlowView {
    let key = &flow.key;
    let end =
        |address: synward_core::wire::Address, port| SocketAddr::new(IpAddr::from(address), port);
    FlowView {
        client: end(key.client, key.client_port()),
        server: end(key.server, key.server_port()),
        service: config
            .services
            .get(usize::from(flow.service))
            .map_or_else(String::new, |s| s.name.clone()),
        state: match flow.state {
            state::OPENING => FlowState::Opening,
            state::ESTABLISHED => FlowState::Established,
            _ => FlowState::Closing,
        },
        idle_seconds: f64::from(now.saturating_sub(flow.last_seen)) * 1.073_741_824,
        worker: (flow.state == state::OPENING).then_some(u32::from(flow.owner)),
    }
}

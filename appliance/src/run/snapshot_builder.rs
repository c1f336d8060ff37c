//! Builds the parts of a snapshot from workers, sockets, the XDP program and server profiles.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use synward_core::client_options::NO_SCALE;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::profile_flags;
use synward_core::queue_set::QueueSet;

use super::outcome_counts::count_outcomes;
use super::server_profiles::{Server, ServerProfiles};
use super::start::{Appliance, WorkerHandle};
use super::transmission_watch;
use crate::config::{Config, Handoff, Service, Standing};
use crate::engine::{Outcome, ServiceStats};
use crate::kernel::{self, LOSSES};
use crate::maps::coarse_now;
use crate::observe::{
    AttackView, Counters, Frames, InterfaceView, ListSizes, ProfileView, QueueView, Responder,
    ServiceView, WorkerView, XskCounters,
};
use crate::worker::status::PortStatus;

/// The workers. A worker without a recent heartbeat is added to `degraded`.
pub(super) fn worker_views(appliance: &Appliance, degraded: &mut Vec<String>) -> Vec<WorkerView> {
    let beats = appliance.steering.heartbeats();
    let now = coarse_now();
    let view = |one: &WorkerHandle| {
        let alive = beats.is_alive(one.queue, now);
        if !alive && one.fault().is_none() {
            degraded.push(format!(
                "the worker of queue {} has not sent a heartbeat for a second",
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
    appliance.workers.iter().map(view).collect()
}

/// The steered interfaces with their queues. `reports` are the latest reports of the workers.
pub(super) fn interface_views(
    appliance: &Appliance,
    reports: &BTreeMap<u32, Vec<PortStatus>>,
) -> Vec<InterfaceView> {
    let links = kernel::links().unwrap_or_default();
    let sockets: BTreeMap<(u32, u32), &PortStatus> = reports
        .values()
        .flatten()
        .map(|port| ((port.interface, port.queue), port))
        .collect();
    let lost = transmission_watch::lost_frames(appliance).unwrap_or_default();
    let steered = appliance.steering.interfaces().iter();
    steered
        .map(|one| {
            let link = links.iter().find(|link| link.index == one.index);
            let losses = link.map(|link| LOSSES.iter().zip(link.losses));
            let of_interface = |sets: &BTreeMap<u32, QueueSet>| {
                let set = sets.get(&one.index);
                set.copied().unwrap_or_default()
            };
            let answering =
                of_interface(&appliance.responders).without(of_interface(&appliance.bypassed));
            let queue = |queue: &u32| {
                let report = sockets.get(&(one.index, *queue));
                QueueView {
                    queue: *queue,
                    responder: if answering.contains(*queue) {
                        Responder::Afxdp
                    } else {
                        Responder::Xdp
                    },
                    zero_copy: report.map(|report| report.zero_copy),
                    counters: report
                        .map(|report| XskCounters {
                            kernel: report.kernel,
                            port: report.counters,
                        })
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
                nic_dropped: losses
                    .into_iter()
                    .flatten()
                    .map(|((name, _), frames)| ((*name).to_owned(), frames))
                    .chain(kernel::driver_losses(&one.device()).unwrap_or_default())
                    .collect(),
                redirect_failed: transmission_watch::by_errno(&lost, one.index),
            }
        })
        .collect()
}

/// Removed services whose connections go on.
pub(super) fn removed_notes(config: &Config) -> Vec<String> {
    let services = config.services.iter();
    let removed = services.filter(|service| service.standing == Standing::Removed);
    let note = |service: &Service| {
        format!(
            "service \"{}\": its spliced connections go on until they end; nobody is challenged there",
            service.name
        )
    };
    removed.map(note).collect()
}

/// The service at `index`, which has these `servers` and this number of `flows`. A failed read of its counters is added to
/// `degraded`.
pub(super) fn service_view(
    config: &Config,
    appliance: &Appliance,
    profiles: &ServerProfiles,
    servers: &[(&SocketAddr, &Server)],
    index: usize,
    flows: u64,
    degraded: &mut Vec<String>,
) -> ServiceView {
    let known = &config.services[index];
    let sum = |read: fn(&ServiceStats) -> u64| {
        appliance
            .workers
            .iter()
            .filter_map(|one| one.stats.get(index))
            .map(read)
            .fold(0, u64::wrapping_add)
    };
    let mode = appliance.steering.mode(index as u32).unwrap_or(known.mode);
    let counters = appliance.steering.counters(index as u32);
    if let Err(error) = &counters {
        let name = &known.name;
        degraded.push(format!(
            "the counters of service \"{name}\" cannot be read: {error}"
        ));
    }
    let counters = counters.ok();
    ServiceView {
        name: known.name.clone(),
        handoff: known.handoff.to_string(),
        mode: mode.to_string(),
        active: appliance.steering.challenges_anywhere(index as u32),
        attack: AttackView::default(),
        flows,
        openings: sum(|stats| stats.openings.load(Relaxed)),
        held_bytes: sum(|stats| stats.held_bytes.load(Relaxed)),
        listed: ListSizes::default(),
        answered_afxdp: sum(|stats| stats.answered.load(Relaxed)),
        counters: counters.as_ref().map(|counters| Counters::sum([counters])),
        handoffs: match known.handoff {
            Handoff::Splice => Outcome::ALL
                .iter()
                .map(|outcome| {
                    (
                        outcome.name().to_owned(),
                        count_outcomes(appliance, Some(index), *outcome),
                    )
                })
                .collect(),
            Handoff::Local => counters.as_ref().map(taken_by_kernel).unwrap_or_default(),
            // Only the server knows whether it accepted them.
            Handoff::Forward => BTreeMap::new(),
        },
        profiles: servers
            .iter()
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

/// Handoffs to this machine's kernel, under the result names of spliced handoffs.
fn taken_by_kernel(counters: &ServiceCounters) -> BTreeMap<String, u64> {
    [
        (Outcome::Established, Counter::Assigned),
        (Outcome::Refused, Counter::AssignRefused),
        (Outcome::StaleReset, Counter::StaleReset),
    ]
    .map(|(outcome, counter)| (outcome.name().to_owned(), counters.value(counter)))
    .into()
}

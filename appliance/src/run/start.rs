//! The order of the start: maps, programs, probes of servers, sockets, workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use anyhow::Context as _;
use core_affinity::CoreId;
use crossbeam::queue::ArrayQueue;
use synward_core::layout::{MAX_QUEUES, MAX_SERVICES};
use synward_core::queue_set::QueueSet;

use super::open_files;
use super::server_profiles::ServerProfiles;
use super::stop_signals::StopSignals;
use crate::afxdp::{Polling, Waiter};
use crate::config::{self, Config, Cores, Handoff, Queues, Responder, Rtt, WhenDown};
use crate::engine::mailbox::Mailbox;
use crate::engine::opening_shares::ShareLimits;
use crate::engine::splicer::Splicer;
use crate::engine::worker_shared::{Observation, Policy, Shared};
use crate::engine::{BatchAnswers, ServiceStats};
use crate::kernel;
use crate::local_checks;
use crate::observe::{check_control_socket, check_metrics_address};
use crate::self_test::TransmitWatch;
use crate::siphash_simd::HashBackend;
use crate::steering::Steering;
use crate::worker::Worker;
use crate::worker::epoch_keys::EpochKeys;
use crate::worker::ports::{PortChanges, Ports, port_changes};
use crate::worker::settings::SettingsBox;
use crate::worker::status::WorkerStatus;

/// Capacity of the queue of observations to the control thread.
const OBSERVATIONS: usize = 256;

/// A worker, as the control thread sees it.
pub struct WorkerHandle {
    /// The queue that it serves.
    pub queue: u32,
    /// The CPU to which it is pinned.
    pub core: Option<CoreId>,
    /// Its statistics, by service.
    pub stats: Arc<[ServiceStats]>,
    /// Its status.
    pub status: Arc<WorkerStatus>,
    /// Hands it what a reload changes.
    pub settings: Arc<SettingsBox>,
    /// Wakes it.
    pub mailbox: Mailbox,
    /// Hands it changes of its sockets.
    pub port_changes: Arc<PortChanges>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// What is wrong if the thread has ended. Only a panic ends it while the appliance runs.
    pub fn fault(&self) -> Option<String> {
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        ended.then(|| {
            format!(
                "the worker of queue {} has panicked too often and serves nobody; restart synward, and report the panic from its \
                log",
                self.queue
            )
        })
    }
}

/// The parts of a started appliance.
pub struct Appliance {
    /// The configuration.
    pub config: Config,
    /// The XDP side.
    pub steering: Steering,
    /// The workers.
    pub workers: Vec<WorkerHandle>,
    /// What the workers see of servers.
    pub observations: Arc<ArrayQueue<Observation>>,
    /// By interface index: the queues on which a worker answers SYNs.
    pub responders: BTreeMap<u32, QueueSet>,
    /// The queues of these that the XDP program answers instead, because their driver completes nothing.
    pub bypassed: BTreeMap<u32, QueueSet>,
    /// Counts lost frames; `None`: the kernel does not permit it.
    pub transmit_watch: Option<TransmitWatch>,
    /// What the self-test changed, one sentence each.
    pub self_test_notes: Vec<String>,
    /// What may end the start.
    pub(super) signals: StopSignals,
    stop: Arc<AtomicBool>,
}

/// Starts the appliance and probes its servers. Undoes everything if a step fails.
///
/// # Errors
/// The first step that fails: key, privilege, interface, program, socket or thread; or [`Stopped`](super::stop_signals::Stopped).
pub fn start_appliance(
    config: Config,
    signals: &StopSignals,
) -> anyhow::Result<(Appliance, ServerProfiles)> {
    let keyring = config.cookie.keyring().map_err(anyhow::Error::from)?;
    kernel::check_host()?;
    let abi = local_checks::check_kernel(&config)?;
    let mut steering = Steering::load(&config, &keyring, abi.as_ref())?;
    // Before anything is attached or taken over.
    if let Some(address) = config.appliance.metrics {
        check_metrics_address(address)?;
    }
    check_control_socket(&config.appliance.control)?;
    let cores = worker_cores(&config.appliance.cores)?;
    local_checks::check_reachable(&config, &mut steering)?;
    let mut profiles = ServerProfiles::new(&config, steering.endpoints(), steering.mtu());
    profiles.probe_all();
    signals.check()?;
    let queues: usize = match needs_workers(&config) {
        true => steering
            .interfaces()
            .iter()
            .map(|one| one.queues.len())
            .sum(),
        // No socket is opened.
        false => 0,
    };
    open_files::require_room(queues)?;
    steering.attach()?;
    let stop = Arc::new(AtomicBool::new(false));
    let observations = Arc::new(ArrayQueue::new(OBSERVATIONS));
    let mut appliance = Appliance {
        config,
        steering,
        workers: Vec::new(),
        observations,
        responders: BTreeMap::new(),
        bypassed: BTreeMap::new(),
        transmit_watch: None,
        self_test_notes: Vec::new(),
        signals: signals.clone(),
        stop,
    };
    match appliance.spawn_workers(&profiles.answered(), &cores) {
        Ok(()) => Ok((appliance, profiles)),
        Err(error) => {
            // The flows of the previous process continue.
            let keep = appliance.steering.taken_over().is_some();
            appliance.stop(keep)?;
            Err(error)
        }
    }
}

/// The CPUs of the workers; empty: the system does not say which there are.
///
/// # Errors
/// The configuration names one that this process may not use.
fn worker_cores(wanted: &Cores) -> anyhow::Result<Vec<CoreId>> {
    let there = core_affinity::get_core_ids().unwrap_or_default();
    let Cores::List(wanted) = wanted else {
        return Ok(there);
    };
    let find = |id: &usize| {
        let found = there.iter().find(|core| core.id == *id).copied();
        found.with_context(|| {
            let ids: Vec<_> = there.iter().map(|core| core.id.to_string()).collect();
            let ids = ids.join(", ");
            format!("core {id} is not available to this process; use some of cores = [{ids}]")
        })
    };
    wanted.iter().map(find).collect()
}

/// Whether user space has anything to do. With `local` and `forward` alone it has not: the kernel accepts validated clients, and
/// the XDP program answers SYNs at lower cost than a worker.
fn needs_workers(config: &Config) -> bool {
    let mut services = config.services.iter();
    config.appliance.responder == Responder::Afxdp
        || services.any(|service| service.handoff == Handoff::Splice)
}

impl Appliance {
    fn spawn_workers(&mut self, servers: &[SocketAddr], cores: &[CoreId]) -> anyhow::Result<()> {
        let sockets = self.open_tested_sockets(servers)?;
        let queues = sockets.keys().copied().collect::<Vec<_>>();
        let polling = match self.config.appliance.polling {
            config::Polling::Busy => Polling::Busy,
            config::Polling::Adaptive => Polling::default(),
        };
        let waiters = queues
            .iter()
            .map(|queue| {
                Waiter::new(polling).with_context(|| format!("worker {queue}: no eventfd"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Indexed by queue number; queues without a worker have an entry too.
        let count = queues.last().map_or(0, |queue| *queue as usize + 1);
        let mut mailboxes = Vec::with_capacity(count);
        for number in 0..count {
            let nearest = queues
                .iter()
                .position(|queue| *queue as usize >= number)
                .unwrap_or(0);
            mailboxes.push(Mailbox::new(waiters[nearest].waker()));
        }
        let shared = Shared {
            table: self.steering.table(),
            replays: self.steering.replays(),
            policies: policies(&self.config),
            observations: Arc::clone(&self.observations),
            mailboxes: mailboxes.into(),
        };
        for (place, ((queue, ports), waiter)) in sockets.into_iter().zip(waiters).enumerate() {
            // A reload may add services.
            let stats: Arc<[ServiceStats]> =
                (0..MAX_SERVICES).map(|_| ServiceStats::default()).collect();
            let settings = Arc::new(SettingsBox::default());
            let port_changes = Arc::new(port_changes());
            let core = (!cores.is_empty()).then(|| cores[place % cores.len()]);
            let status = Arc::new(WorkerStatus::default());
            let added = self.queues_to_come(place, &queues);
            let mailbox = shared.mailboxes[queue as usize].clone();
            let worker = Worker {
                queue,
                core,
                ports: Ports::new(ports, added),
                splicer: Splicer::new(queue as u16, shared.clone(), Arc::clone(&stats)),
                stats: Arc::clone(&stats),
                answers: BatchAnswers::new(HashBackend::best()),
                keys: EpochKeys::new(self.steering.issuing_keys()),
                waiter,
                mailbox: mailbox.clone(),
                heartbeats: self.steering.heartbeats(),
                status: Arc::clone(&status),
                settings: Arc::clone(&settings),
                port_changes: Arc::clone(&port_changes),
                stop: Arc::clone(&self.stop),
            };
            let thread = worker
                .spawn()
                .with_context(|| format!("worker {queue}: no thread"))?;
            self.workers.push(WorkerHandle {
                queue,
                core,
                stats,
                status,
                settings,
                mailbox,
                port_changes,
                thread: Some(thread),
            });
        }
        for (slot, afxdp) in self.responder_slots() {
            self.steering.set_responder(slot, afxdp)?;
        }
        Ok(())
    }

    /// The queues that the worker at `place` serves if they appear. Workers have `queues` of their own. If the configuration lists
    /// queues, the others have no worker on purpose.
    fn queues_to_come(&self, place: usize, queues: &[u32]) -> Vec<u32> {
        let mut interfaces = self.config.interfaces.iter();
        if interfaces.any(|one| one.queues != Queues::All) {
            return Vec::new();
        }
        (0..MAX_QUEUES)
            .filter(|queue| !queues.contains(queue) && *queue as usize % queues.len() == place)
            .collect()
    }

    /// The worker that serves a queue: its own, or for a queue that has appeared since the start, one of the others. `None`: there
    /// are no workers.
    pub(super) fn worker_of(&self, queue: u32) -> Option<&WorkerHandle> {
        let own = self.workers.iter().find(|one| one.queue == queue);
        let place = (queue as usize).checked_rem(self.workers.len())?;
        own.or_else(|| self.workers.get(place))
    }

    /// As [`needs_workers`], for the configuration in force.
    pub(super) fn needs_workers(&self) -> bool {
        needs_workers(&self.config)
    }

    fn responder_slots(&self) -> Vec<(u32, QueueSet)> {
        let interfaces = self.steering.interfaces().iter();
        interfaces
            .filter_map(|one| Some((one.slot, *self.responders.get(&one.index)?)))
            .collect()
    }

    /// Stops the workers, detaches the program from the interfaces and removes all pins. With `keep`, the program and its
    /// maps stay pinned and attached.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn stop(mut self, keep: bool) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        for one in &mut self.workers {
            one.mailbox.waker.wake();
            if let Some(thread) = one.thread.take()
                && thread.join().is_err()
            {
                tracing::error!(queue = one.queue, "worker panicked");
            }
        }
        self.steering.stop(keep)?;
        Ok(())
    }
}

/// The workers' policies, by service.
pub(super) fn policies(config: &Config) -> Arc<[Policy]> {
    let services = config.services.iter();
    services
        .map(|service| Policy {
            reset_when_down: service.when_down == WhenDown::Reset,
            true_rtt: service.rtt == Rtt::True,
            hold_bytes: service.hold_bytes,
            shares: ShareLimits {
                per_source: service.openings_per_source,
                per_server: service.openings_per_server,
            },
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    /// They would be refused for a limit of open files that has room for them.
    #[test]
    fn local_services_need_no_sockets() {
        let needs_workers = |keys: &str| {
            needs_workers(&Config::of_text(&format!(
                "[[interface]]\nname = \"eth0\"\nside = \"both\"\n[[service]]\nname = \"web\"\n\
                 addresses = [\"192.0.2.10\"]\nports = [80]\n{keys}\n"
            )))
        };
        assert!(needs_workers(""));
        assert!(!needs_workers("handoff = \"local\""));
        assert!(needs_workers(
            "handoff = \"local\"\n[appliance]\nresponder = \"afxdp\""
        ));
    }

    #[test]
    fn a_worker_that_panicked_is_a_fault() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv().unwrap());
        let waiter = Waiter::new(Polling::default()).unwrap();
        let worker = WorkerHandle {
            queue: 3,
            core: None,
            stats: Arc::new([]),
            status: Arc::default(),
            settings: Arc::default(),
            mailbox: Mailbox::new(waiter.waker()),
            port_changes: Arc::new(port_changes()),
            thread: Some(thread),
        };
        assert_eq!(worker.fault(), None);
        drop(end);
        while !worker.thread.as_ref().unwrap().is_finished() {
            std::thread::yield_now();
        }
        let fault = worker.fault().unwrap();
        assert!(
            fault.starts_with("the worker of queue 3 has panicked"),
            "{fault}"
        );
    }
}

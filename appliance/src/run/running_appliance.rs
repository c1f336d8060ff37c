//! The running appliance, shared by the control thread and observers.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use synward_core::flow_time::FlowTime;
use synward_core::layout::MAX_SERVICES;

use super::absence_watch::AbsenceWatch;
use super::attack_watch::AttackWatch;
use super::control_pulse::{Activity, ControlPulse};
use super::drain::{self, Drain, Remaining};
use super::fault_watch::FaultWatch;
use super::list_control;
use super::reload_request::{ConfigSource, LastReload, PastCounts, ReloadRequest};
use super::server_profiles::ServerProfiles;
use super::start::Appliance;
use super::waiting_clients::{self, WaitingLog};
use crate::config::{self, Config};
use crate::events::EventLog;
use crate::lists::RunTimeLists;
use crate::local_checks::Notes;
use crate::maps::{Limits, Swept, Times, coarse_now, flow_now};
use crate::observe::LogLimit;

/// Interval at which an observer tries to get the lock.
const RETRY: Duration = Duration::from_millis(1);

/// The running appliance, behind one lock that no worker takes.
pub struct RunningAppliance {
    /// Where the configuration comes from.
    pub(super) source: ConfigSource,
    pub(super) began: Instant,
    pub(super) pulse: ControlPulse,
    inner: Mutex<Inner>,
    /// To the control thread.
    pub(super) reloads: Sender<ReloadRequest>,
}

pub(super) struct Inner {
    /// What is in force. Services are at their index, and some are not in the file ([`Standing`](config::Standing)). Shared,
    /// because a listing of flows goes on without the lock.
    pub(super) config: Arc<Config>,
    pub(super) appliance: Option<Appliance>,
    pub(super) last_reload: LastReload,
    /// What workers counted for services that are gone.
    pub(super) past: PastCounts,
    /// When removed services were last looked at.
    pub(super) released_at: Instant,
    pub(super) profiles: ServerProfiles,
    pub(super) notes: Notes,
    pub(super) watch: FaultWatch,
    pub(super) attacks: AttackWatch,
    pub(super) events: EventLog,
    pub(super) serving: bool,
    pub(super) lists: RunTimeLists,
    pub(super) drain: Option<Drain>,
    /// Bucket at which the sweep continues.
    pub(super) cursor: u32,
    pub(super) expired: u64,
    /// Live entries per service, counted over one sweep of the whole table.
    pub(super) flows: Vec<u64>,
    pub(super) counting: Vec<u64>,
    /// How often it is logged that a refresh fails, or that waiting clients cannot be served.
    refresh_failures: LogLimit,
    waiting_log: WaitingLog,
    absence: AbsenceWatch,
}

impl RunningAppliance {
    /// Wraps an appliance whose workers run. What happens is recorded in `events`. `config` is what it was started with,
    /// before the self-test changed it; `reloads` carries requests of other threads to the one that calls
    /// [`Self::reload_now`].
    pub fn new(
        mut appliance: Appliance,
        profiles: ServerProfiles,
        mut events: EventLog,
        config: Config,
        source: ConfigSource,
        reloads: Sender<ReloadRequest>,
    ) -> Self {
        let services = MAX_SERVICES as usize;
        let mut notes = Notes::default();
        notes.renew(&appliance.config);
        let mut attacks = AttackWatch::new(&appliance.config);
        attacks.resume(&appliance.config, &appliance.steering, &mut events);
        let watch = FaultWatch::new(&mut appliance);
        Self {
            source,
            began: Instant::now(),
            pulse: ControlPulse::new(Instant::now()),
            reloads,
            inner: Mutex::new(Inner {
                config: Arc::new(config),
                last_reload: LastReload::at_start(),
                past: PastCounts::default(),
                released_at: Instant::now(),
                appliance: Some(appliance),
                profiles,
                notes,
                watch,
                attacks,
                events,
                serving: false,
                lists: RunTimeLists::default(),
                drain: None,
                cursor: 0,
                expired: 0,
                flows: vec![0; services],
                counting: vec![0; services],
                refresh_failures: LogLimit::default(),
                waiting_log: WaitingLog::default(),
                absence: AbsenceWatch::default(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of an observer leaves plain data in a valid state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the lock is not to be had in reasonable time: the control thread has it.
    pub(super) fn why_unreadable(&self) -> Option<String> {
        let until = Instant::now() + self.pulse.patience(Instant::now());
        loop {
            match self.inner.try_lock() {
                Ok(_) | Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => return Some(self.pulse.refusal(Instant::now())),
            }
        }
    }

    /// The control thread is about to make a round.
    pub(super) fn begin_round(&self) {
        self.pulse.begin(Activity::Rounds, Instant::now());
    }

    /// The settings of the process.
    pub fn settings(&self) -> config::Appliance {
        self.lock().config.appliance.clone()
    }

    /// Marks the appliance as serving: every interface is steered and every socket bound.
    pub fn set_serving(&self) {
        self.lock().serving = true;
    }

    /// The line that reports readiness to people and scripts.
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
            inner.config.services.len(),
            interfaces.unwrap_or_default()
        )
    }

    /// One round of the control thread: refreshes keys and profiles, and sweeps `sweep` buckets of the flow table.
    pub fn round(&self, sweep: u32) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(appliance) = &mut inner.appliance else {
            return;
        };
        if let Err(error) = appliance.steering.refresh(&Times::now())
            && let Some(others) = inner.refresh_failures.pass()
        {
            tracing::error!(%error, others, "keys and clock cannot be refreshed");
        }
        inner.absence.round(appliance);
        waiting_clients::serve(appliance, &mut inner.waiting_log);
        let steering = &mut appliance.steering;
        inner
            .attacks
            .round(&inner.config, steering, &mut inner.events);
        if let Err(error) = appliance.steering.keep_next_hops() {
            tracing::error!(%error, "the neighbours of forwarded connections cannot be resolved");
        }
        while let Some(seen) = appliance.observations.pop() {
            inner.profiles.learn(&seen);
        }
        inner.profiles.probe_due();
        inner.watch.round_when_due(appliance, &inner.config);
        inner.profiles.follow_mtu(appliance.steering.mtu());
        if inner.notes.are_due() {
            inner.notes.renew(&inner.config);
            if let Err(error) = appliance.steering.refresh_kernel_clock() {
                tracing::error!(%error, "cannot update the settings of kernel cookies in the program");
            }
        }
        inner.events.watch_programs();
        inner.events.log_waiting();
        list_control::expire(&mut inner.lists, &inner.config, &mut appliance.steering);
        let table = appliance.steering.table();
        if let Some(drain) = &mut inner.drain {
            drain::proceed(drain, &table, &mut inner.events);
        }
        let limits = Limits {
            now: flow_now(),
            idle: FlowTime::units_of_seconds(inner.config.flows.idle.as_secs()),
            closing: FlowTime::units_of_seconds(inner.config.flows.closing.as_secs()),
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

    /// Whether every worker's heartbeat is recent.
    pub fn workers_are_alive(&self) -> bool {
        let inner = self.lock();
        inner.appliance.as_ref().is_some_and(|appliance| {
            let (beats, now) = (appliance.steering.heartbeats(), coarse_now());
            let mut workers = appliance.workers.iter();
            workers.all(|one| beats.is_alive(one.queue, now))
        })
    }

    /// Whether a drain has ended, so that the process should end, too.
    pub fn has_drained(&self) -> bool {
        let drain = self.lock().drain;
        drain.is_some_and(|drain| drain.is_over_for_process(Instant::now()))
    }

    /// Whether it has taken over the programs of the previous process.
    pub(super) fn has_taken_over(&self) -> bool {
        let inner = self.lock();
        let appliance = inner.appliance.as_ref();
        appliance.is_some_and(|appliance| appliance.steering.taken_over().is_some())
    }

    /// Stops workers and steering.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn end(&self, keep: bool) -> anyhow::Result<()> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.serving = false;
        let Some(appliance) = inner.appliance.take() else {
            return Ok(());
        };
        if !keep {
            let steering = &appliance.steering;
            inner
                .attacks
                .end(&inner.config, steering, &mut inner.events);
        }
        inner.events.log_all();
        let Remaining { flows, openings } = drain::remaining(&appliance.steering.table());
        if !keep && flows + openings > 0 {
            tracing::warn!(
                flows,
                openings,
                "spliced connections end with the program; `--keep-steering` would keep them, and `synward drain` waits for them"
            );
        }
        appliance.stop(keep)
    }
}

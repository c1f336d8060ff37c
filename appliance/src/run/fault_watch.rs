//! What is wrong with interfaces and workers: looked up every second, mended where that is safe, and logged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::forwarding_watch;
use super::socket_rebind::SocketRebind;
use super::stalled_sockets::StalledSockets;
use super::start::{Appliance, WorkerHandle};
use super::transmission_watch;
use crate::config::Config;
use crate::maps::Times;
use crate::observe::LogLimit;
use crate::steering::{Mended, Steering};
use crate::worker::status::PortStatus;

/// How often the interfaces are compared with what the kernel has.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is wrong with interfaces and workers, and what that was found from.
pub(super) struct FaultWatch {
    faults: Vec<String>,
    /// When the faults were looked up.
    renewed_at: Instant,
    transmission: transmission_watch::Seen,
    rebind: SocketRebind,
    stalled: StalledSockets,
    /// The addresses of this machine that services leave out.
    left_out: Vec<String>,
    /// The latest reports of the workers, by the queue of the worker.
    reports: BTreeMap<u32, Vec<PortStatus>>,
    watch_failures: LogLimit,
    mend_failures: LogLimit,
    standby_failures: LogLimit,
    mtu_failures: LogLimit,
}

impl FaultWatch {
    /// Of an appliance that has just started. Its own addresses are left out of its services.
    pub(super) fn new(appliance: &mut Appliance) -> Self {
        let mut left_out = Vec::new();
        renew_left_out(&mut left_out, &mut appliance.steering, &appliance.config);
        Self {
            faults: Vec::new(),
            renewed_at: Instant::now(),
            transmission: transmission_watch::Seen::default(),
            rebind: SocketRebind::default(),
            stalled: StalledSockets::default(),
            left_out,
            reports: BTreeMap::new(),
            watch_failures: LogLimit::default(),
            mend_failures: LogLimit::default(),
            standby_failures: LogLimit::default(),
            mtu_failures: LogLimit::default(),
        }
    }

    /// What is wrong, each with its cure.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Descriptions of this machine's addresses that services leave out.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The latest reports of the workers, by the queue of the worker.
    pub(super) fn latest_reports(
        &mut self,
        appliance: &Appliance,
    ) -> &BTreeMap<u32, Vec<PortStatus>> {
        take_reports(&mut self.reports, appliance);
        &self.reports
    }

    /// Opens sockets on queues that have appeared. Mends interfaces, bypasses workers whose driver stalls and opens their sockets
    /// again, and renews the faults, once in [`INTERVAL`].
    pub(super) fn round_when_due(&mut self, appliance: &mut Appliance, config: &Config) {
        if let Err(error) = appliance.steering.follow_standby_ports()
            && let Some(others) = self.standby_failures.pass()
        {
            tracing::error!(%error, others, "the ports of bonds cannot be followed");
        }
        // Until a queue has a socket, what servers send there to openings is lost.
        for change in appliance.steering.follow_queues() {
            self.rebind.follow(appliance, &change);
        }
        self.rebind.bind_new(appliance);
        if self.renewed_at.elapsed() < INTERVAL {
            return;
        }
        self.renewed_at = Instant::now();
        let unpinned = mend_pins(appliance);
        let mended = mend_interfaces(&mut self.mend_failures, appliance);
        for one in &mended {
            self.rebind.expect(appliance, one);
        }
        if mended.iter().any(|one| one.replaced.is_some())
            && let Err(error) = appliance.steering.keep_unanswered(&Times::now())
        {
            tracing::error!(%error, "clients whose ACK came to a lost socket have to send it again");
        }
        let unbound = self.rebind.round(appliance);
        take_reports(&mut self.reports, appliance);
        let mut others =
            transmission_watch::find_faults(appliance, &mut self.transmission, &self.reports);
        let transmission = &mut self.transmission.transmission;
        transmission_watch::bypass_stalled(appliance, transmission);
        self.stalled
            .round(appliance, transmission, &mut self.rebind);
        others.extend(unbound);
        others.extend(unpinned);
        others.extend(forwarding_watch::find_faults(config));
        renew_faults(
            &mut self.faults,
            &mut self.watch_failures,
            appliance,
            others,
        );
        if let Err(error) = appliance.steering.renew_vlans() {
            tracing::error!(%error, "the VLAN devices of this machine cannot be followed");
        }
        renew_left_out(&mut self.left_out, &mut appliance.steering, config);
        if let Err(error) = appliance.steering.follow_client_mtus()
            && let Some(others) = self.mtu_failures.pass()
        {
            tracing::error!(%error, others, "the MTUs towards clients cannot be followed");
        }
    }
}

/// Looks for faults of interfaces and workers, and logs those that are new and those that are over.
/// `others` are the faults of transmission and of sockets.
fn renew_faults(
    known: &mut Vec<String>,
    failed: &mut LogLimit,
    appliance: &mut Appliance,
    mut others: Vec<String>,
) {
    let mut faults = match appliance.steering.find_faults(appliance.needs_workers()) {
        Ok(faults) => faults,
        Err(error) => {
            if let Some(others) = failed.pass() {
                tracing::error!(%error, others, "the interfaces cannot be watched");
            }
            return;
        }
    };
    faults.extend(appliance.workers.iter().filter_map(WorkerHandle::fault));
    faults.append(&mut others);
    for fault in faults.iter().filter(|fault| !known.contains(fault)) {
        tracing::error!("degraded: {fault}");
    }
    for fault in known.iter().filter(|fault| !faults.contains(fault)) {
        tracing::info!("no longer: {fault}");
    }
    *known = faults;
}

/// Takes the workers' latest reports.
fn take_reports(reports: &mut BTreeMap<u32, Vec<PortStatus>>, appliance: &Appliance) {
    for one in &appliance.workers {
        if let Some(report) = one.status.take_latest() {
            reports.insert(one.queue, report);
        }
    }
}

/// Steers interfaces again that have lost the program, and returns them.
fn mend_interfaces(failed: &mut LogLimit, appliance: &mut Appliance) -> Vec<Mended> {
    let mut mended = Vec::new();
    if let Err(error) = appliance.steering.mend_interfaces(&mut mended)
        && let Some(others) = failed.pass()
    {
        tracing::error!(%error, others, "an interface that has lost the program cannot be steered again");
    }
    for Mended { name, .. } in &mended {
        tracing::warn!(interface = %name, "had lost a program or its sockets; steered again");
    }
    mended
}

/// Pins again what somebody has removed. Returns what cannot be, with the cure.
fn mend_pins(appliance: &mut Appliance) -> Option<String> {
    match appliance.steering.mend_pins() {
        Ok(0) => None,
        Ok(files) => {
            tracing::warn!(files, "somebody has removed pins; pinned again");
            None
        }
        Err(error) => Some(format!(
            "pins are missing, so connections would end with this process, and cannot be made again: {error}; mend that, and \
             synward pins them"
        )),
    }
}

/// Leaves this machine's own addresses out of services, and logs those that are new and those that are over.
fn renew_left_out(known: &mut Vec<String>, steering: &mut Steering, config: &Config) {
    if let Err(error) = steering.renew_own_addresses() {
        tracing::error!(%error, "this machine's own addresses cannot be left out of services");
    }
    let left_out = steering.endpoints().left_out();
    let left_out: Vec<_> = left_out.iter().map(|one| one.describe(config).1).collect();
    for new in left_out.iter().filter(|one| !known.contains(one)) {
        tracing::warn!("{new}");
    }
    for over in known.iter().filter(|one| !left_out.contains(one)) {
        tracing::info!("no longer: {over}");
    }
    *known = left_out;
}

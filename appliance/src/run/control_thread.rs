//! The control thread: epoch keys, flow expiry, server profiles, signals. It handles no packets.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::reload_request::ReloadRequest;
use super::running_appliance::RunningAppliance;
use super::stop_signals::StopSignals;
use super::watchdog::Watchdog;
use crate::confinement::{Directories, ThreadKind, confine_thread};
use crate::observe::{ApplianceHandle, ControlServer, MetricsServer, notify};

/// Interval between rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Buckets of the flow table that a round scans. A scan of a million flows takes six seconds.
const SWEEP: u32 = 1 << 11;

/// Serves until SIGTERM, SIGINT or the end of a drain. `requests` are those of other threads to reload.
///
/// # Errors
/// The control socket or the metrics endpoint cannot be created (for example: address in use), or something could not be
/// removed at the end.
pub fn serve_until_signal(
    running: RunningAppliance,
    requests: Receiver<ReloadRequest>,
    keep_steering: bool,
    directories: &Directories,
    signals: &StopSignals,
) -> anyhow::Result<()> {
    let settings = running.settings();
    let running = Arc::new(running);
    let served = (|| {
        let handle = Arc::clone(&running) as Arc<dyn ApplianceHandle>;
        let control = ControlServer::start(&settings.control, Arc::clone(&handle))?;
        let metrics = settings
            .metrics
            .map(|address| MetricsServer::start(address, handle))
            .transpose()?;
        confine_thread(ThreadKind::Control, directories);
        running.set_serving();
        notify::notify_ready();
        tracing::info!("{}", running.ready_line());
        let mut watchdog = Watchdog::from_environment();
        while !signals.has_stop() && !running.has_drained() {
            if signals.take_reload() {
                running.reload_now();
            }
            running.begin_round();
            running.round(SWEEP);
            running.release_services();
            watchdog.feed(Instant::now(), || running.workers_are_alive());
            wait_for_request(&running, &requests);
        }
        tracing::info!("stopping");
        notify::notify_stopping();
        // Who waits for a reload goes on.
        drop(requests);
        drop((control, metrics));
        Ok(())
    })();
    let keep = match &served {
        Ok(()) => keep_steering,
        // The flows of the previous process continue.
        Err(_) => running.has_taken_over(),
    };
    let ended = running.end(keep);
    served.and(ended)
}

/// Sleeps until the next round is due, or a reload is asked for.
fn wait_for_request(running: &RunningAppliance, requests: &Receiver<ReloadRequest>) {
    if let Ok(report) = requests.recv_timeout(ROUND) {
        // If nobody waits any more, the log has it.
        let _ = report.try_send(running.reload_now());
    }
}

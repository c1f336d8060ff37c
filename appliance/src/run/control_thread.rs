//! The control thread: epoch keys, flow expiry, server profiles, signals. It handles no packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::running_appliance::RunningAppliance;
use super::watchdog::Watchdog;
use crate::confinement::{Directories, ThreadKind, confine_thread};
use crate::observe::{ApplianceHandle, ControlServer, MetricsServer, notify};

/// Interval between rounds.
const ROUND: Duration = Duration::from_millis(100);
/// Buckets of the flow table that a round scans. A scan of a million flows takes six seconds.
const SWEEP: u32 = 1 << 11;

/// Serves until SIGTERM, SIGINT or the end of a drain.
///
/// # Errors
/// The control socket or the metrics endpoint cannot be created (for example: address in use), or something could not be
/// removed at the end.
pub fn serve_until_signal(
    running: RunningAppliance,
    keep_steering: bool,
    directories: &Directories,
) -> anyhow::Result<()> {
    let flag = |signal| {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .with_context(|| format!("signal {signal} cannot be handled"))
            .map(|_| flag)
    };
    let running = Arc::new(running);
    let served = (|| {
        let (term, int, hup) = (flag(SIGTERM)?, flag(SIGINT)?, flag(SIGHUP)?);
        let appliance = &running.config().appliance;
        let source = Arc::clone(&running) as Arc<dyn ApplianceHandle>;
        let control = ControlServer::start(&appliance.control, Arc::clone(&source))?;
        let metrics = appliance
            .metrics
            .map(|address| MetricsServer::start(address, source))
            .transpose()?;
        confine_thread(ThreadKind::Control, directories);
        running.set_serving();
        tracing::info!("{}", running.ready_line());
        notify::notify_ready();
        let mut watchdog = Watchdog::from_environment();
        while !term.load(Relaxed) && !int.load(Relaxed) && !running.has_drained() {
            if hup.swap(false, Relaxed) {
                tracing::warn!("reload is not available yet; the configuration is unchanged");
            }
            running.round(SWEEP);
            watchdog.feed(Instant::now(), || running.workers_are_alive());
            thread::sleep(ROUND);
        }
        tracing::info!("stopping");
        notify::notify_stopping();
        drop((control, metrics));
        Ok(())
    })();
    let ended = running.end(keep_steering && served.is_ok());
    served.and(ended)
}

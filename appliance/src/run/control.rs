//! The control thread: epochs and keys, expiry, profiles, signals. Everything slow, nothing per packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::profiles::Profiles;
use super::start::Appliance;
use super::view::View;
use crate::observe::{ControlServer, MetricsServer, Source, notify};

/// Between two looks at signals, profiles and the table.
const ROUND: Duration = Duration::from_millis(100);
/// Buckets of the flow table looked at in a round: all of a million flows in six seconds.
const SWEEP: u32 = 1 << 11;

/// Serves until a signal ends it.
///
/// # Errors
/// What the observers need and cannot have (an address in use, say), or what could not be removed at
/// the end.
pub fn serve(appliance: Appliance, profiles: Profiles, keep_steering: bool) -> anyhow::Result<()> {
    let flag = |signal| {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .with_context(|| format!("signal {signal} cannot be handled"))
            .map(|_| flag)
    };
    let view = Arc::new(View::new(appliance, profiles));
    let served = (|| {
        let (term, int, hup) = (flag(SIGTERM)?, flag(SIGINT)?, flag(SIGHUP)?);
        let appliance = &view.config().appliance;
        let source = Arc::clone(&view) as Arc<dyn Source>;
        let control = ControlServer::start(&appliance.control, Arc::clone(&source))?;
        let metrics = appliance
            .metrics
            .map(|address| MetricsServer::start(address, source))
            .transpose()?;
        view.now_serving();
        tracing::info!("{}", view.ready_line());
        notify::ready();
        while !term.load(Relaxed) && !int.load(Relaxed) {
            if hup.swap(false, Relaxed) {
                tracing::warn!("reload is not available yet; the configuration is unchanged");
            }
            view.round(SWEEP);
            thread::sleep(ROUND);
        }
        tracing::info!("stopping");
        notify::stopping();
        drop((control, metrics));
        Ok(())
    })();
    let ended = view.end(keep_steering && served.is_ok());
    served.and(ended)
}

//! SIGTERM, SIGINT and SIGHUP as flags. They are set up before anything is attached: what a signal ends in the middle of a start
//! would stay attached, and nobody would complete the connections that it begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What signals have asked for.
#[derive(Clone, Debug)]
pub struct StopSignals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

/// A start that a signal has ended.
#[derive(Debug, thiserror::Error)]
#[error("stopped before it was ready")]
pub struct Stopped;

impl StopSignals {
    /// Signals set flags from now on, and end nothing by themselves.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn register() -> anyhow::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            reload: Arc::default(),
        };
        for (signal, flag) in [
            (SIGTERM, &signals.stop),
            (SIGINT, &signals.stop),
            (SIGHUP, &signals.reload),
        ] {
            signal_hook::flag::register(signal, Arc::clone(flag))
                .with_context(|| format!("signal {signal} cannot be handled"))?;
        }
        Ok(signals)
    }

    /// Whether SIGTERM or SIGINT has come.
    pub fn has_stop(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Whether SIGHUP has come since the last call.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Relaxed)
    }

    /// Ends a start that is not wanted any more.
    ///
    /// # Errors
    /// SIGTERM or SIGINT has come.
    pub fn check(&self) -> Result<(), Stopped> {
        match self.has_stop() {
            true => Err(Stopped),
            false => Ok(()),
        }
    }
}

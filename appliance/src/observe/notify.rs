//! Notifies the service manager (sd_notify(3)). Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// READY=1: every interface is steered and every socket bound.
pub fn notify_ready() {
    notify_service_manager(&[NotifyState::Ready]);
}

/// RELOADING=1, with the time, by which the service manager tells this reload from an earlier one. READY=1 ends it.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify_service_manager(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be notified"),
    }
}

/// STOPPING=1.
pub fn notify_stopping() {
    notify_service_manager(&[NotifyState::Stopping]);
}

/// The time that may pass between two calls of [`notify_watchdog`]; `None`: the service manager does not watch.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// WATCHDOG=1: everything works.
pub fn notify_watchdog() {
    notify_service_manager(&[NotifyState::Watchdog]);
}

fn notify_service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

//! Notifies the service manager (sd_notify(3)). Without one, nothing happens.

use sd_notify::NotifyState;

/// READY=1: every interface is steered and every socket bound.
pub fn notify_ready() {
    notify_service_manager(&[NotifyState::Ready]);
}

/// STOPPING=1.
pub fn notify_stopping() {
    notify_service_manager(&[NotifyState::Stopping]);
}

fn notify_service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

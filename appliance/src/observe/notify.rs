//! What a service manager is told (sd_notify(3)); without one, nothing happens.

use sd_notify::NotifyState;

/// READY=1: every interface is steered and every socket bound.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// STOPPING=1.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

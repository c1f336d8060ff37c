//! Notifies the service manager (sd_notify(3)). Without one, nothing happens.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// READY=1: every interface is steered and every socket bound.
pub fn notify_ready() {
    notify_service_manager(&[NotifyState::Ready]);
}

/// RELOADING=1, with the time, by which the service manager distinguishes this reload from an earlier one. READY=1 ends it.
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
    let socket = env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    let done = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => notify_abstract(OsStr::from_bytes(name), state),
        None => sd_notify::notify(state),
    };
    if let Err(error) = done {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

/// Notifies a socket in the abstract name space (unix(7)), which `sd_notify` takes for a file.
fn notify_abstract(name: &OsStr, state: &[NotifyState<'_>]) -> io::Result<()> {
    let text: String = state.iter().map(|one| format!("{one}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)?;
    socket.send(text.as_bytes()).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn abstract_sockets_get_the_same_lines() {
        let name = format!("synward-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let state = [NotifyState::Reloading, NotifyState::MonotonicUsec(7)];
        notify_abstract(OsStr::new(&name), &state).unwrap();
        let mut text = [0; 99];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"RELOADING=1\nMONOTONIC_USEC=7\n");
    }
}

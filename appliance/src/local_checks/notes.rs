//! Notes on local services that do not keep the appliance from starting: missing listeners, and limits of the kernel's own
//! cookies.
//!
//! A service without a listener is not refused, and the appliance is not degraded: the listener may start later. Until
//! then its clients get the kernel's own RST, as they would without synward. A note reports it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::services::{is_own_address, local_services};
use crate::config::{Config, Cookies};
use crate::kernel::{self, KernelCookies, Listener};

/// Interval between two checks.
const INTERVAL: Duration = Duration::from_secs(15);

/// The result of the last check.
#[derive(Debug, Default)]
pub struct Notes {
    found: BTreeSet<(usize, String)>,
    at: Option<Instant>,
}

impl Notes {
    /// Whether the next check is due.
    pub fn are_due(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= INTERVAL)
    }

    /// Checks again and logs new notes.
    pub fn renew(&mut self, config: &Config) {
        let found = notes(config).into_iter().collect::<BTreeSet<_>>();
        for (_, note) in found.difference(&self.found) {
            tracing::warn!("{note}");
        }
        self.found = found;
        self.at = Some(Instant::now());
    }

    /// The notes, one sentence each.
    pub fn texts(&self) -> Vec<String> {
        self.found.iter().map(|(_, text)| text.clone()).collect()
    }
}

/// The notes on the local services of a configuration: the line of the service, and a sentence.
pub(crate) fn notes(config: &Config) -> Vec<(usize, String)> {
    if local_services(config).next().is_none() {
        return Vec::new();
    }
    // Without the list of sockets there is nothing to report.
    let Ok(listeners) = kernel::listeners() else {
        return Vec::new();
    };
    let cookies = kernel::kernel_cookies();
    local_services(config)
        .flat_map(|service| service.servers().map(move |server| (service, server)))
        .filter_map(|(service, server)| {
            let forced = service.cookies == Cookies::Kernel;
            let what = note(
                &server,
                is_own_address(&server),
                &listeners,
                forced,
                &cookies,
            )?;
            Some((
                service.line,
                format!("service \"{}\": {what}", service.name),
            ))
        })
        .collect()
}

/// The note on one address and port, if any.
fn note(
    server: &SocketAddr,
    is_own: bool,
    listeners: &[Listener],
    forced: bool,
    kernel: &KernelCookies,
) -> Option<String> {
    const ELSEWHERE: &str = "a container's program that listens in another network namespace needs handoff = \"splice\"";
    let mut taking = listeners.iter().filter(|one| one.accepts(server));
    let Some(first) = taking.next() else {
        return Some(if is_own {
            format!("nothing listens at {server} yet; {ELSEWHERE}")
        } else {
            let ip = server.ip();
            format!(
                "{ip} is no address of this network namespace, so nothing can listen at {server}; {ELSEWHERE}"
            )
        });
    };
    let (mptcp, md5) = taking.fold((first.mptcp, first.md5), |(mptcp, md5), one| {
        (mptcp || one.mptcp, md5 || one.md5)
    });
    if md5 {
        return Some(format!(
            "the listener at {server} has TCP-MD5 keys, and synward answers its SYNs without a signature: peers with a key get no \
             connection. Leave this port out of the service"
        ));
    }
    let why = if mptcp {
        format!(
            "the listener at {server} uses Multipath TCP, as Go programs do since 1.24, and accepts"
        )
    } else if forced || !kernel.takes_ours {
        format!("{server} accepts")
    } else {
        return None;
    };
    let cure = if mptcp {
        "; so does GODEBUG=multipathtcp=0 for that program, or handoff = \"splice\""
    } else {
        ""
    };
    if kernel.syncookies != Some(2) {
        return Some(format!(
            "{why} only the kernel's own cookies, so its SYNs go to the kernel unanswered: \
             `sysctl -w net.ipv4.tcp_syncookies=2` protects it{cure}"
        ));
    }
    (!kernel.has_bare_clock).then(|| {
        format!(
            "{why} only the kernel's own cookies, which keep no window scaling, SACK or timestamps as they are: \
             `sysctl -w net.ipv4.tcp_timestamps=2` makes them keep those of clients with timestamps{cure}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note_at(mptcp: &[bool], is_own: bool, kernel: KernelCookies) -> Option<String> {
        let at = SocketAddr::from(([192, 0, 2, 10], 80));
        let listener = |mptcp: &bool| Listener {
            at,
            interface: 0,
            mptcp: *mptcp,
            md5: false,
        };
        let listeners = mptcp.iter().map(listener).collect::<Vec<_>>();
        note(&at, is_own, &listeners, false, &kernel)
    }

    fn kernel(syncookies: u8, bare_clock: bool, takes_ours: bool) -> KernelCookies {
        KernelCookies {
            syncookies: Some(syncookies),
            has_bare_clock: bare_clock,
            takes_ours,
        }
    }

    #[test]
    fn a_listener_with_md5_keys_has_a_note() {
        let at = SocketAddr::from(([192, 0, 2, 10], 179));
        let listener = Listener {
            at,
            interface: 0,
            mptcp: false,
            md5: true,
        };
        let note = note(&at, true, &[listener], false, &kernel(1, false, true));
        assert!(note.is_some_and(|note| note.contains("192.0.2.10:179 has TCP-MD5 keys")));
    }

    #[test]
    fn notes_name_the_address_and_the_cure() {
        for (mptcp, kernel) in [
            (&[false][..], kernel(1, false, true)),
            (&[false, false], kernel(1, false, true)),
            (&[false, true], kernel(2, true, true)),
            (&[false], kernel(2, true, false)),
        ] {
            assert_eq!(note_at(mptcp, true, kernel), None, "{mptcp:?} {kernel:?}");
        }
        let usual = kernel(1, false, true);
        for (mptcp, is_own, kernel, words) in [
            (
                &[][..],
                true,
                usual,
                ["192.0.2.10:80", "nothing listens", "splice"],
            ),
            (
                &[],
                false,
                usual,
                ["192.0.2.10:80", "no address", "container"],
            ),
            (
                &[true],
                true,
                usual,
                ["192.0.2.10:80", "tcp_syncookies=2", "multipathtcp=0"],
            ),
            (
                &[false, true],
                true,
                kernel(2, false, true),
                ["tcp_timestamps=2", "window scaling", "splice"],
            ),
            (
                &[false],
                true,
                kernel(2, false, false),
                ["192.0.2.10:80", "window scaling", "tcp_timestamps=2"],
            ),
        ] {
            let text = note_at(mptcp, is_own, kernel).unwrap_or_default();
            for word in words {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }
}

//! What there is to say about services of this machine (handoff "local"): whether they are here at all, whether its
//! firewall lets proven clients in, and what listens for them.
//!
//! A service whose clients go past this network namespace's sockets, to a container say, is refused. One without a listener
//! is not, and does not make the appliance degraded: it may start later, and until then its clients get the kernel's own
//! RST, as they would without synward. But it is said.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::config::{Config, Cookies, Handoff, Service};
use crate::steering::{self, KernelCookies, Listener, Steering, SteeringError};

/// How often listeners are looked for.
const AGAIN: Duration = Duration::from_secs(15);
/// Addresses and ports that the firewall is asked about at most.
const KNOCKS: usize = 64;

/// Asks the firewall about each address and port of local services, before anything is steered. Ends at the first one
/// of which it does not tell, so that a start takes half a second more at worst.
///
/// # Errors
/// It drops what proven clients send, or sends it elsewhere; or a service's address is not here.
pub fn knock(config: &Config, steering: &mut Steering) -> Result<(), SteeringError> {
    let addresses: BTreeSet<_> = local(config).flat_map(Service::hosts).collect();
    addresses
        .into_iter()
        .try_for_each(|ip| steering.is_here(ip))?;
    let servers = local(config).flat_map(Service::servers).filter(is_here);
    for server in servers.take(KNOCKS) {
        if !steering.knock(server)? {
            tracing::info!(%server, "what a firewall does with proven clients cannot be told from here");
            break;
        }
    }
    Ok(())
}

/// What keeps local services from working here or from working well, as far as it shows without starting: the line of
/// the configuration, and a sentence.
pub fn in_the_way(config: &Config) -> Vec<(usize, String)> {
    let obstacle = steering::check_local(config).err();
    let first = local(config).next();
    let obstacle = obstacle.zip(first);
    let obstacle = obstacle.map(|(error, service)| (service.line, error.to_string()));
    obstacle.into_iter().chain(notes(config)).collect()
}

/// What was last found.
#[derive(Debug, Default)]
pub struct Notes {
    found: BTreeSet<(usize, String)>,
    at: Option<Instant>,
}

impl Notes {
    /// Whether it is time to look again.
    pub fn are_old(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= AGAIN)
    }

    /// Looks again; what is new goes to the log.
    pub fn renew(&mut self, config: &Config) {
        let found = notes(config).into_iter().collect::<BTreeSet<_>>();
        for (_, note) in found.difference(&self.found) {
            tracing::warn!("{note}");
        }
        self.found = found;
        self.at = Some(Instant::now());
    }

    /// A sentence each.
    pub fn texts(&self) -> Vec<String> {
        self.found.iter().map(|(_, text)| text.clone()).collect()
    }
}

fn notes(config: &Config) -> Vec<(usize, String)> {
    if local(config).next().is_none() {
        return Vec::new();
    }
    // A kernel that does not list its sockets leaves nothing to say.
    let Ok(listeners) = steering::listeners() else {
        return Vec::new();
    };
    let kernel = steering::kernel_cookies();
    local(config)
        .flat_map(|service| service.servers().map(move |server| (service, server)))
        .filter_map(|(service, server)| {
            let forced = service.cookies == Cookies::Kernel;
            let what = note(&server, is_here(&server), &listeners, forced, &kernel)?;
            Some((
                service.line,
                format!("service \"{}\": {what}", service.name),
            ))
        })
        .collect()
}

/// What to say about one address and port.
fn note(
    server: &SocketAddr,
    is_here: bool,
    listeners: &[Listener],
    forced: bool,
    kernel: &KernelCookies,
) -> Option<String> {
    const ELSEWHERE: &str = "a container's program that listens in another network namespace needs handoff = \"splice\"";
    let mut taking = listeners.iter().filter(|one| one.takes(server));
    let Some(first) = taking.next() else {
        return Some(if is_here {
            format!("nothing listens at {server} yet; {ELSEWHERE}")
        } else {
            let ip = server.ip();
            format!(
                "{ip} is no address of this network namespace, so nothing can listen at {server}; {ELSEWHERE}"
            )
        });
    };
    let mptcp = first.mptcp || taking.any(|one| one.mptcp);
    let why = if mptcp {
        format!(
            "what listens at {server} does so for Multipath TCP, as Go programs do since 1.24, and takes"
        )
    } else if forced || !kernel.takes_ours {
        format!("{server} takes")
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
    (!kernel.bare_clock).then(|| {
        format!(
            "{why} only the kernel's own cookies, which keep no window scaling, SACK or timestamps as they are: \
             `sysctl -w net.ipv4.tcp_timestamps=2` makes them keep those of clients with timestamps{cure}"
        )
    })
}

fn local(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.handoff == Handoff::Local)
}

/// Whether the address is one of this network namespace; nothing is sent.
fn is_here(server: &SocketAddr) -> bool {
    UdpSocket::bind((server.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mptcp: &[bool], is_here: bool, kernel: KernelCookies) -> Option<String> {
        let at = SocketAddr::from(([192, 0, 2, 10], 80));
        let listener = |mptcp: &bool| Listener {
            at,
            interface: 0,
            mptcp: *mptcp,
        };
        let listeners = mptcp.iter().map(listener).collect::<Vec<_>>();
        note(&at, is_here, &listeners, false, &kernel)
    }

    fn kernel(syncookies: u8, bare_clock: bool, takes_ours: bool) -> KernelCookies {
        KernelCookies {
            syncookies: Some(syncookies),
            bare_clock,
            takes_ours,
        }
    }

    #[test]
    fn what_is_said_names_the_address_and_the_cure() {
        for (mptcp, kernel) in [
            (&[false][..], kernel(1, false, true)),
            (&[false, false], kernel(1, false, true)),
            (&[false, true], kernel(2, true, true)),
            (&[false], kernel(2, true, false)),
        ] {
            assert_eq!(said(mptcp, true, kernel), None, "{mptcp:?} {kernel:?}");
        }
        let usual = kernel(1, false, true);
        for (mptcp, is_here, kernel, words) in [
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
            let said = said(mptcp, is_here, kernel).unwrap_or_default();
            for word in words {
                assert!(said.contains(word), "{word}: {said}");
            }
        }
    }
}

//! The TCP options of servers: probed at start, refined by every SYN-ACK. SYN-ACKs of servers on this machine are not
//! seen, so these servers are probed periodically: a service may restart with another buffer size.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synward_core::layout::{INITIAL_WINDOW, Profile};

use super::server_probe;
use crate::config::{Config, Handoff};
use crate::engine::worker_shared::Learned as Seen;
use crate::local_checks;
use crate::maps::Times;
use crate::steering::{EndpointProfiles, Learned, NEVER};

/// Timeout of the probe at start. The appliance then serves without the missing answers.
const AT_START: Duration = Duration::from_millis(500);
/// Timeout of later probes.
const LATER: Duration = Duration::from_millis(200);
/// Interval of probes of local servers and of servers that have not answered.
const AGAIN: Duration = Duration::from_secs(15);
/// Maximum number of servers per later probe.
const A_ROUND: usize = 16;
/// Interval between two log lines about servers that refuse an option.
const WARNINGS: Duration = Duration::from_secs(1);

/// A server with an address and port in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Index of its service.
    pub service: usize,
    /// Limit of the window that SYN-ACKs offer: the bytes of client data that are buffered. A local server has no limit
    /// because its own kernel buffers.
    hold: u16,
    /// Whether it is on this machine.
    local: bool,
    /// Whether its profile was learned from the server.
    pub learned: bool,
}

impl Server {
    fn wants_probe(&self) -> bool {
        self.local || !self.learned
    }
}

/// The profiles of all servers.
pub struct ServerProfiles {
    endpoints: Arc<EndpointProfiles>,
    servers: BTreeMap<SocketAddr, Server>,
    /// Smallest MTU of the links towards clients, bytes.
    mtu: u32,
    asked: Instant,
    /// Offset of the first server in the next probe.
    turn: usize,
    /// When a refusal was logged last, and how many were not logged since.
    warned: Option<Instant>,
    unwarned: u32,
}

impl ServerProfiles {
    /// All servers with an address and port in the configuration. `mtu` is that of the links towards clients.
    pub fn new(config: &Config, endpoints: Arc<EndpointProfiles>, mtu: u32) -> Self {
        let mut servers = BTreeMap::new();
        for (index, service) in config.services.iter().enumerate() {
            let local = match service.handoff {
                Handoff::Splice => false,
                Handoff::Local => true,
                // Its options are configured.
                Handoff::Forward => continue,
            };
            let hold = if local {
                u16::MAX
            } else {
                service.hold_bytes.min(u32::from(INITIAL_WINDOW)) as u16
            };
            for address in service.servers() {
                let server = Server {
                    service: index,
                    hold,
                    local,
                    learned: false,
                };
                servers.insert(address, server);
            }
        }
        Self {
            endpoints,
            servers,
            mtu,
            asked: Instant::now(),
            turn: 0,
            warned: None,
            unwarned: 0,
        }
    }

    /// Probes every server once, at start, before SYN-ACKs offer options for it.
    pub fn probe_all(&mut self) {
        self.probe(server_probe::MAX_PROBES, AT_START);
        let silent = self
            .servers
            .values()
            .filter(|server| !server.learned)
            .count();
        if silent > 0 {
            tracing::info!(
                servers = self.servers.len(),
                silent,
                "some servers did not answer the probe of their TCP options"
            );
        }
    }

    /// Probes local servers and servers that have not answered, if the interval has passed.
    pub fn probe_due(&mut self) {
        if self.asked.elapsed() >= AGAIN && self.servers.values().any(Server::wants_probe) {
            self.probe(A_ROUND, LATER);
        }
    }

    fn probe(&mut self, many: usize, patience: Duration) {
        self.asked = Instant::now();
        let wanting = || self.servers.iter().filter(|(_, one)| one.wants_probe());
        let count = wanting().count();
        // Round robin, so that silent servers do not delay the others.
        let chosen = wanting().cycle().skip(self.turn % count.max(1));
        let questions = chosen
            .take(many.min(count))
            .filter_map(|(to, server)| Some((*to, self.profile(to)?, server.hold)))
            .collect::<Vec<_>>();
        self.turn = self.turn.wrapping_add(questions.len());
        match server_probe::probe_servers(&questions, patience) {
            Ok(answers) => {
                for (to, said) in answers {
                    let local = self.servers.get(&to).is_some_and(|server| server.local);
                    let profile = if local {
                        local_checks::profile_on_link(said, to.ip(), self.mtu)
                    } else {
                        said
                    };
                    // Cookies of this epoch offered the known profile, by this process or the previous one.
                    let endpoint = self.endpoints.get(to.ip(), to.port());
                    let known = endpoint.is_some_and(|endpoint| endpoint.since != NEVER);
                    self.set(to, profile, Times::now().epoch() + u64::from(known));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot probe the TCP options of servers"),
        }
    }

    /// Logs that a server refuses an option, once a second at most: a server may refuse one on every connection.
    fn warn_of_refusal(&mut self, server: &SocketAddr) {
        if self.warned.is_some_and(|at| at.elapsed() < WARNINGS) {
            self.unwarned += 1;
            return;
        }
        let others = std::mem::take(&mut self.unwarned);
        self.warned = Some(Instant::now());
        tracing::warn!(%server, others, "the server refuses a TCP option that SYN-ACKs offered for it");
    }

    /// Records what a worker saw. An option that the server refuses is no longer offered, at once. Any other change takes
    /// effect with the next epoch, so that every cookie is verified with the profile that its SYN-ACK offered.
    pub fn learn(&mut self, seen: &Seen) {
        let to = SocketAddr::new(IpAddr::from(seen.address), seen.port);
        if seen.broken {
            self.warn_of_refusal(&to);
        }
        let epoch = Times::now().epoch();
        self.set(
            to,
            seen.profile,
            if seen.broken { epoch } else { epoch + 1 },
        );
    }

    fn set(&mut self, to: SocketAddr, profile: Profile, since: u64) {
        match self.endpoints.set(to.ip(), to.port(), profile, since) {
            Ok(Learned::TooSoon | Learned::Unprotected) => return,
            Ok(Learned::Known) => {}
            Ok(Learned::From) => tracing::info!(
                server = %to, mss = profile.mss, window = profile.window,
                window_scale = profile.window_scale, flags = profile.flags, "TCP options of a server learned"
            ),
            Err(error) => return tracing::warn!(server = %to, %error, "TCP options not learned"),
        }
        if let Some(server) = self.servers.get_mut(&to) {
            server.learned = true;
        }
    }

    /// The profile that SYN-ACKs currently offer for a server.
    pub fn profile(&self, to: &SocketAddr) -> Option<Profile> {
        let endpoint = self.endpoints.get(to.ip(), to.port())?;
        Some(*endpoint.profile(Times::now().epoch()))
    }

    /// The servers of a service.
    pub fn of_service(&self, service: usize) -> impl Iterator<Item = (&SocketAddr, &Server)> {
        self.servers
            .iter()
            .filter(move |(_, server)| server.service == service)
    }
}

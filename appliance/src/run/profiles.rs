//! What servers do with TCP options: asked at start, refined by every SYN-ACK. Those of this machine, whose SYN-ACKs
//! nobody sees, are asked again and again: a service may come back with another buffer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synward_core::layout::{INITIAL_WINDOW, Profile};

use super::probe;
use crate::config::{Config, Handoff};
use crate::engine::worker_shared::Learned as Seen;
use crate::local_checks;
use crate::maps::Times;
use crate::steering::{EndpointProfiles, Learned, NEVER};

/// How long servers have to answer before the appliance is ready without them.
const AT_START: Duration = Duration::from_millis(500);
/// How long they have later.
const LATER: Duration = Duration::from_millis(200);
/// How often those that have not answered are asked again, and those of this machine.
const AGAIN: Duration = Duration::from_secs(15);
/// Servers asked in one round later.
const A_ROUND: usize = 16;

/// A server that has an address and port of its own in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Index of its service.
    pub service: usize,
    /// Bytes of a client's data that are held for it, the most that a SYN-ACK may invite; its own kernel holds what
    /// it says itself.
    hold: u16,
    /// Whether it is on this machine.
    local: bool,
    /// Whether it has said itself what it does.
    pub learned: bool,
}

impl Server {
    fn wants_asking(&self) -> bool {
        self.local || !self.learned
    }
}

/// What is believed of all servers.
pub struct Profiles {
    endpoints: Arc<EndpointProfiles>,
    servers: BTreeMap<SocketAddr, Server>,
    /// Smallest MTU of the links towards clients, bytes.
    mtu: u32,
    asked: Instant,
    /// Who is asked first in the next round.
    turn: usize,
}

impl Profiles {
    /// Every server that the configuration names exactly; `mtu` is that of the links towards clients.
    pub fn new(config: &Config, endpoints: Arc<EndpointProfiles>, mtu: u32) -> Self {
        let mut servers = BTreeMap::new();
        for (index, service) in config.services.iter().enumerate() {
            let local = match service.handoff {
                Handoff::Splice => false,
                Handoff::Local => true,
                // What is promised for it is configured.
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
        }
    }

    /// Asks every server once: at start, before anything is promised in their names.
    pub fn ask_all(&mut self) {
        self.ask(probe::MANY, AT_START);
        let silent = self
            .servers
            .values()
            .filter(|server| !server.learned)
            .count();
        if silent > 0 {
            tracing::info!(
                servers = self.servers.len(),
                silent,
                "not every server said what it does with TCP options"
            );
        }
    }

    /// Asks those that have not answered yet and those of this machine, now and then.
    pub fn ask_again(&mut self) {
        if self.asked.elapsed() >= AGAIN && self.servers.values().any(Server::wants_asking) {
            self.ask(A_ROUND, LATER);
        }
    }

    fn ask(&mut self, many: usize, patience: Duration) {
        self.asked = Instant::now();
        let wanting = || self.servers.iter().filter(|(_, one)| one.wants_asking());
        let count = wanting().count();
        // In turns, so that silent ones do not keep the others from being asked.
        let chosen = wanting().cycle().skip(self.turn % count.max(1));
        let questions = chosen
            .take(many.min(count))
            .filter_map(|(to, server)| Some((*to, self.profile(to)?, server.hold)))
            .collect::<Vec<_>>();
        self.turn = self.turn.wrapping_add(questions.len());
        match probe::ask(&questions, patience) {
            Ok(answers) => {
                for (to, said) in answers {
                    let local = self.servers.get(&to).is_some_and(|server| server.local);
                    let profile = if local {
                        local_checks::profile_on_link(said, to.ip(), self.mtu)
                    } else {
                        said
                    };
                    // Cookies of this epoch have promised what was known until now, by this process or the one before.
                    let endpoint = self.endpoints.get(to.ip(), to.port());
                    let known = endpoint.is_some_and(|endpoint| endpoint.since != NEVER);
                    self.set(to, profile, Times::now().epoch() + u64::from(known));
                }
            }
            Err(error) => tracing::warn!(%error, "servers cannot be asked for their TCP options"),
        }
    }

    /// Takes what a worker saw. A promise that the server breaks is not made again; anything else is
    /// promised from the next epoch on, so that no cookie is redeemed for what it did not promise.
    pub fn learn(&mut self, seen: &Seen) {
        let to = SocketAddr::new(IpAddr::from(seen.address), seen.port);
        if seen.broken {
            tracing::warn!(server = %to, "the server refuses a TCP option that was promised in its name");
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

    /// What is promised in a server's name now.
    pub fn profile(&self, to: &SocketAddr) -> Option<Profile> {
        let endpoint = self.endpoints.get(to.ip(), to.port())?;
        Some(*endpoint.profile(Times::now().epoch()))
    }

    /// The servers of a service.
    pub fn of(&self, service: usize) -> impl Iterator<Item = (&SocketAddr, &Server)> {
        self.servers
            .iter()
            .filter(move |(_, server)| server.service == service)
    }
}

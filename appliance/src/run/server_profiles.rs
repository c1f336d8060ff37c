//! The TCP options of servers: probed at start, refined by every SYN-ACK. SYN-ACKs of servers on this machine are not
//! seen, so these servers are probed periodically: a service may restart with another buffer size. What a missing option
//! means is decided in `server_evidence`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synward_core::client_options::NO_SCALE;
use synward_core::layout::{INITIAL_WINDOW, Profile, profile_flags};

use super::server_evidence::{Asked, ServerEvidence};
use super::server_probe::{self, Answer, EVERYTHING};
use crate::config::{Config, Handoff};
use crate::engine::server_syn_ack::{OptionSet, ServerSynAck};
use crate::engine::worker_shared::Observation;
use crate::local_checks;
use crate::maps::Times;
use crate::observe::LogLimit;
use crate::steering::{EndpointProfiles, Learned, NEVER};

/// Timeout of the probe at start. The appliance then serves without the missing answers.
const AT_START: Duration = Duration::from_millis(500);
/// Timeout of later probes.
const LATER: Duration = Duration::from_millis(200);
/// Interval of probes of local servers, of servers that have not answered, and of those that lack an option.
const AGAIN: Duration = Duration::from_secs(15);
/// Least interval of probes of servers that are in doubt.
const DOUBTS: Duration = Duration::from_millis(400);
/// Maximum number of servers per later probe.
const A_ROUND: usize = 16;
/// Maximum number of servers of prefixes and of ports "any" whose evidence is kept.
const FOUND: usize = 1024;
/// The window shift of a server that scales windows again: Linux's usual one, until the server's own is known.
const USUAL_SCALE: u8 = 7;

/// A server: with address and port in the configuration, or found by its SYN-ACK.
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
    /// Whether it has answered a probe: a client does not ask for every option.
    probed: bool,
    evidence: ServerEvidence,
}

impl Server {
    fn wants_probe(&self) -> bool {
        self.local || !self.probed || !self.evidence.withdrawn().is_empty()
    }
}

/// The profiles of all servers.
pub struct ServerProfiles {
    endpoints: Arc<EndpointProfiles>,
    servers: BTreeMap<SocketAddr, Server>,
    /// By service: [`Server::hold`].
    holds: Vec<u16>,
    /// Number of servers with address and port in the configuration.
    configured: usize,
    /// Smallest MTU of the links towards clients, bytes.
    mtu: u32,
    asked: Instant,
    asked_doubts: Instant,
    /// Offset of the first server in the next probe.
    turn: usize,
    refusals: LogLimit,
    failed_probes: LogLimit,
    failed_writes: LogLimit,
}

impl ServerProfiles {
    /// All servers with an address and port in the configuration. `mtu` is that of the links towards clients.
    pub fn new(config: &Config, endpoints: Arc<EndpointProfiles>, mtu: u32) -> Self {
        let mut servers = BTreeMap::new();
        let mut holds = Vec::new();
        let services = config.services.iter().enumerate();
        for (index, service) in services {
            let local = service.handoff == Handoff::Local;
            let hold = if local {
                u16::MAX
            } else {
                service.hold_bytes.min(u32::from(INITIAL_WINDOW)) as u16
            };
            holds.push(hold);
            // Its options are configured.
            if service.handoff == Handoff::Forward || !service.is_configured() {
                continue;
            }
            for address in service.servers() {
                let server = Server {
                    service: index,
                    hold,
                    local,
                    learned: false,
                    probed: false,
                    evidence: ServerEvidence::default(),
                };
                servers.insert(address, server);
            }
        }
        Self {
            endpoints,
            configured: servers.len(),
            servers,
            holds,
            mtu,
            asked: Instant::now(),
            asked_doubts: Instant::now(),
            turn: 0,
            refusals: LogLimit::default(),
            failed_probes: LogLimit::default(),
            failed_writes: LogLimit::default(),
        }
    }

    /// The servers on other machines that have answered.
    pub fn answered(&self) -> Vec<SocketAddr> {
        let elsewhere = self.servers.iter().filter(|(_, server)| !server.local);
        let learned = elsewhere.filter(|(_, server)| server.learned);
        learned.map(|(address, _)| *address).collect()
    }

    /// Follows a reload from `running` to `next`, and probes new servers before SYN-ACKs offer options for them. Their addresses
    /// are in the maps already.
    pub fn follow(&mut self, running: &Config, next: &Config) {
        let fresh = Self::new(next, Arc::clone(&self.endpoints), self.mtu);
        let known = std::mem::replace(&mut self.servers, fresh.servers);
        (self.holds, self.configured) = (fresh.holds, fresh.configured);
        let has_new_offer = |service: usize| {
            let was = running.services.get(service);
            was.is_none_or(|was| was.offer != next.services[service].offer)
        };
        let mut new: Vec<_> = self.servers.keys().copied().collect();
        new.retain(|to| !known.contains_key(to));
        for (to, known) in known {
            if let Some(server) = self.servers.get_mut(&to) {
                if server.local == known.local {
                    *server = Server {
                        service: server.service,
                        hold: server.hold,
                        // What the configuration does not fix any more is asked for again.
                        probed: known.probed && !has_new_offer(server.service),
                        ..known
                    };
                }
            } else if !running.services[known.service]
                .servers()
                .any(|configured| configured == to)
                && next.services[known.service].is_configured()
            {
                self.servers.insert(to, known);
            }
        }
        new.truncate(server_probe::MAX_PROBES);
        if !new.is_empty() {
            self.probe(&new, LATER);
        }
    }

    /// Follows the MTU of the links towards clients: local servers are asked again, because their windows depend on it.
    pub fn follow_mtu(&mut self, mtu: u32) {
        if self.mtu == mtu {
            return;
        }
        self.mtu = mtu;
        if let Some(earlier) = Instant::now().checked_sub(AGAIN) {
            self.asked = earlier;
        }
    }

    /// Probes every server once, at start, before SYN-ACKs offer options for it.
    pub fn probe_all(&mut self) {
        self.probe_wanting(server_probe::MAX_PROBES, AT_START);
        let silent = self.servers.iter().filter(|(_, server)| !server.learned);
        let silent: Vec<_> = silent.map(|(to, _)| to).collect();
        if let Some(first) = silent.iter().min() {
            tracing::info!(
                servers = self.servers.len(),
                silent = silent.len(),
                %first,
                "some servers did not answer the probe of their TCP options"
            );
        }
    }

    /// Probes the servers that are due: those in doubt soon, the others that want it from time to time.
    pub fn probe_due(&mut self) {
        let now = Instant::now();
        if self.asked.elapsed() >= AGAIN && self.servers.values().any(Server::wants_probe) {
            return self.probe_wanting(A_ROUND, LATER);
        }
        if self.asked_doubts.elapsed() < DOUBTS {
            return;
        }
        let in_doubt = self
            .servers
            .iter()
            .filter(|(_, server)| server.evidence.is_in_doubt(now));
        let chosen: Vec<_> = in_doubt.take(A_ROUND).map(|(to, _)| *to).collect();
        if !chosen.is_empty() {
            self.asked_doubts = now;
            self.probe(&chosen, LATER);
        }
    }

    fn probe_wanting(&mut self, many: usize, patience: Duration) {
        self.asked = Instant::now();
        let wanting = || self.servers.iter().filter(|(_, one)| one.wants_probe());
        let count = wanting().count();
        // Round robin, so that silent servers do not delay the others.
        let chosen = wanting().cycle().skip(self.turn % count.max(1));
        let chosen: Vec<_> = chosen.take(many.min(count)).map(|(to, _)| *to).collect();
        self.turn = self.turn.wrapping_add(chosen.len());
        self.probe(&chosen, patience);
    }

    fn probe(&mut self, chosen: &[SocketAddr], patience: Duration) {
        let now = Instant::now();
        for to in chosen {
            if let Some(server) = self.servers.get_mut(to) {
                server.evidence.asked(now);
            }
        }
        match server_probe::probe_servers(chosen, patience) {
            Ok(answers) => {
                for (to, answer) in answers {
                    if let Answer::SynAck(syn_ack) = answer {
                        self.learn_from_probe(to, &syn_ack);
                    }
                }
            }
            Err(error) => {
                if let Some(others) = self.failed_probes.pass() {
                    tracing::warn!(%error, others, "cannot probe the TCP options of servers");
                }
            }
        }
    }

    fn learn_from_probe(&mut self, to: SocketAddr, syn_ack: &ServerSynAck) {
        let (Some(server), Some(known)) = (
            self.servers.get_mut(&to),
            offered_last(&self.endpoints, &to),
        ) else {
            return;
        };
        server.probed = true;
        let refused = syn_ack.refused(&EVERYTHING);
        let now = Instant::now();
        let evidence = &mut server.evidence;
        evidence.add(now, Asked::ByProbe, EVERYTHING.set(), refused);
        // A scale that was not offered takes effect with its value.
        let scalable = with_options(&known, evidence);
        let said = syn_ack.refine(&scalable, server.hold);
        let profile = if server.local {
            // The MSS is bounded where it is offered, which also follows the link.
            Profile {
                mss: said.mss,
                ..local_checks::profile_on_link(said, to.ip(), self.mtu)
            }
        } else {
            said
        };
        // Cookies of this epoch offered the known values, by this process or the previous one.
        let endpoint = self.endpoints.get(to.ip(), to.port());
        let known = endpoint.is_some_and(|endpoint| endpoint.since != NEVER);
        self.set(to, profile, Times::now().epoch() + u64::from(known));
    }

    /// Records what a worker saw. Options that the server supports or lacks take effect at once: a cookie holds those that it
    /// was made for. Values take effect with the next epoch, so that every cookie is verified with the values that its SYN-ACK
    /// offered.
    pub fn learn(&mut self, seen: &Observation) {
        let to = SocketAddr::new(IpAddr::from(seen.address), seen.port);
        if !seen.refused.is_empty()
            && let Some(others) = self.refusals.pass()
        {
            tracing::warn!(server = %to, others, refused = %seen.refused, "the server refuses TCP options that SYN-ACKs offered \
                for it");
        }
        let profile = match self.known_or_found(to) {
            Some(server) => {
                let evidence = &mut server.evidence;
                evidence.add(
                    Instant::now(),
                    Asked::ByClient,
                    seen.requested,
                    seen.refused,
                );
                with_options(&seen.profile, evidence)
            }
            None => seen.profile,
        };
        self.set(to, profile, Times::now().epoch() + 1);
    }

    /// The server, which is added if it is one of a prefix or of ports "any".
    fn known_or_found(&mut self, to: SocketAddr) -> Option<&mut Server> {
        if !self.servers.contains_key(&to) {
            if self.servers.len() >= self.configured + FOUND {
                return None;
            }
            let service = self.endpoints.get(to.ip(), to.port())?.service as usize;
            let server = Server {
                service,
                hold: *self.holds.get(service)?,
                local: false,
                learned: false,
                probed: false,
                evidence: ServerEvidence::default(),
            };
            self.servers.insert(to, server);
        }
        self.servers.get_mut(&to)
    }

    fn set(&mut self, to: SocketAddr, profile: Profile, since: u64) {
        let has = |flag| profile.flags & flag != 0;
        let scale = (profile.window_scale != NO_SCALE).then_some(profile.window_scale);
        match self.endpoints.set(to.ip(), to.port(), profile, since) {
            Ok(Learned::TooSoon | Learned::Unprotected) => return,
            Ok(Learned::Known) => {}
            Ok(Learned::From) => {
                let mss = offered_last(&self.endpoints, &to).map_or(profile.mss, |one| one.mss);
                tracing::info!(
                    server = %to, mss, window = profile.window,
                    window_scale = scale, sack = has(profile_flags::SACK), timestamps = has(profile_flags::TIMESTAMPS),
                    ecn = has(profile_flags::ECN), "TCP options of a server learned"
                );
            }
            Err(error) => {
                if let Some(others) = self.failed_writes.pass() {
                    tracing::warn!(server = %to, %error, others, "TCP options not learned");
                }
                return;
            }
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

    /// The servers of each of `services` services, by index.
    pub fn by_service(&self, services: usize) -> Vec<Vec<(&SocketAddr, &Server)>> {
        let mut by_service = vec![Vec::new(); services];
        for (to, server) in &self.servers {
            if let Some(servers) = by_service.get_mut(server.service) {
                servers.push((to, server));
            }
        }
        by_service
    }
}

/// The profile that SYN-ACKs offer for a server, or will offer from the next epoch on.
fn offered_last(endpoints: &EndpointProfiles, to: &SocketAddr) -> Option<Profile> {
    Some(endpoints.get(to.ip(), to.port())?.now)
}

/// `known` with the options that the evidence says the server supports, and without those that it lacks.
fn with_options(known: &Profile, evidence: &ServerEvidence) -> Profile {
    let (supported, lacks) = (evidence.supported(), evidence.withdrawn());
    let bits = |set: OptionSet| {
        let bit = |there: bool, bit: u8| if there { bit } else { 0 };
        bit(set.sack, profile_flags::SACK)
            | bit(set.timestamps, profile_flags::TIMESTAMPS)
            | bit(set.ecn, profile_flags::ECN)
    };
    let window_scale = match known.window_scale {
        _ if lacks.window_scale => NO_SCALE,
        NO_SCALE if supported.window_scale => USUAL_SCALE,
        scale => scale,
    };
    Profile {
        flags: (known.flags | bits(supported)) & !bits(lacks),
        window_scale,
        ..*known
    }
}

#[cfg(test)]
mod tests;

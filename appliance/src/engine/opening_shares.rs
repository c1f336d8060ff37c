//! Shares of a worker's room for openings and for their data: who holds how much, and who is displaced when there is none left.
//!
//! An opening counts for three holders, one within the other:
//!
//! | holder | is |
//! |---|---|
//! | group | a server that answers; or all servers of a service that have not answered yet, or are silent |
//! | server | an address and port |
//! | source | the clients of one prefix ([`source_prefix`]) at that server |
//!
//! When there is no room, the youngest opening of the biggest holder is displaced: that of the biggest source at the biggest
//! server of the biggest group. Clients of a silent server therefore cannot take the room of another server's clients, however
//! many servers and sources an attacker uses (`victims`).
//!
//! `turns` paces the SYNs to each server, `server_answers` notes what each answers.

mod server_answers;
mod turns;
mod victims;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use synward_core::flow::FlowKey;
use synward_core::layout::MAX_SERVICES;
use synward_core::wire::Address;

use super::syn_pace::SynPace;

pub use victims::{Reason, Victim};

/// Nanoseconds without any answer to our SYNs after which a server counts as silent.
const SILENT: u64 = 1_000_000_000;
/// End of a list of openings.
const NONE: u32 = u32::MAX;

/// The most openings of one source and of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// Of the clients of one prefix at one server.
    pub per_source: u32,
    /// Of one server; one that is silent has an eighth.
    pub per_server: u32,
}

/// A server: address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Server {
    address: Address,
    port: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Source {
    server: Server,
    prefix: Address,
}

/// What a holder has.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    openings: u32,
    segments: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct ServerShare {
    held: Held,
    /// Whether it has ever answered.
    answered: bool,
    /// When the first SYN since its last answer was sent, ns; 0: none was.
    unanswered_since: u64,
    pace: SynPace,
    /// Openings whose SYN waits for its turn.
    waiting: List,
    probes: Probes,
    /// When its options were reported last, ns.
    reported: u64,
    /// When a refusal was.
    refusal_reported: u64,
}

/// Probes of clients by `rtt = "true"`: the server holds a half-open connection for each.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    under_way: u32,
    /// Without an answer, since the last one with an answer.
    unanswered: u32,
}

/// A list of openings, linked by `ahead` and `behind`.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl ServerShare {
    fn is_silent(&self, now: u64) -> bool {
        self.unanswered_since != 0 && now.saturating_sub(self.unanswered_since) > SILENT
    }
}

#[derive(Clone, Copy, Debug)]
struct SourceShare {
    held: Held,
    youngest: u32,
}

/// The holders of one opening, and its neighbours in the list of its source.
#[derive(Clone, Copy, Debug)]
struct Holders {
    used: bool,
    source: Source,
    service: u16,
    /// Whether its group is that of the service's silent servers.
    silent: bool,
    segments: u32,
    older: u32,
    younger: u32,
    turn: Turn,
    /// Whether its client is being probed.
    probing: bool,
    /// Neighbours in the server's list of waiting openings.
    ahead: u32,
    behind: u32,
}

/// Where the SYN of an opening is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It waits.
    Waiting,
    /// It is on its way.
    InFlight,
    /// It was answered, or is taken for lost.
    Past,
}

/// The shares of all openings of one worker. Allocates at the start only.
#[derive(Debug)]
pub struct OpeningShares {
    servers: HashMap<Server, ServerShare>,
    sources: HashMap<Source, SourceShare>,
    silent: [Held; MAX_SERVICES as usize],
    openings: Vec<Holders>,
    /// Openings whose turn has come.
    ready: VecDeque<u32>,
    used: u32,
    random: u64,
}

impl OpeningShares {
    /// Shares of openings with numbers from 0 to `capacity`: one more than fit, so that a new one can be compared with the
    /// others.
    pub fn new(capacity: u32) -> Self {
        let unused = Holders {
            used: false,
            source: Source::default(),
            service: 0,
            silent: false,
            segments: 0,
            older: NONE,
            younger: NONE,
            turn: Turn::Past,
            probing: false,
            ahead: NONE,
            behind: NONE,
        };
        let slots = capacity as usize + 1;
        Self {
            // A map with room for twice its entries reuses deleted places without allocating (hashbrown, `reserve_rehash`).
            servers: HashMap::with_capacity(4 * slots),
            sources: HashMap::with_capacity(2 * slots),
            silent: [Held::default(); MAX_SERVICES as usize],
            openings: vec![unused; slots],
            ready: VecDeque::with_capacity(slots),
            used: 0,
            random: RandomState::new().hash_one(slots) | 1,
        }
    }

    /// Counts a new opening. `id` is not in use.
    pub fn add(&mut self, now: u64, id: u32, key: &FlowKey, service: u16) {
        self.forget_idle_servers();
        let server = Server {
            address: key.server,
            port: key.server_port(),
        };
        let source = Source {
            server,
            prefix: source_prefix(key.client),
        };
        let of_server = self.servers.entry(server).or_default();
        of_server.held.openings += 1;
        let silent = !of_server.answered || of_server.is_silent(now);
        let of_source = self.sources.entry(source).or_insert(SourceShare {
            held: Held::default(),
            youngest: NONE,
        });
        of_source.held.openings += 1;
        let older = std::mem::replace(&mut of_source.youngest, id);
        if let Some(older) = self.openings.get_mut(older as usize) {
            older.younger = id;
        }
        let Some(opening) = self.openings.get_mut(id as usize) else {
            return;
        };
        *opening = Holders {
            used: true,
            source,
            service,
            silent,
            segments: 0,
            older,
            younger: NONE,
            turn: Turn::Past,
            probing: false,
            ahead: NONE,
            behind: NONE,
        };
        self.used += 1;
        if silent && let Some(group) = self.silent.get_mut(usize::from(service)) {
            group.openings += 1;
        }
    }

    /// Forgets an opening and its segments.
    pub fn remove(&mut self, id: u32) {
        let Some(opening) = self.opening(id) else {
            return;
        };
        self.end_turn(id);
        self.forget_probe(id);
        self.count_segments(id, -i64::from(opening.segments));
        self.openings[id as usize].used = false;
        self.used -= 1;
        let neighbour =
            |openings: &mut [Holders], at: u32, set: fn(&mut Holders) -> &mut u32, to| {
                if let Some(one) = openings.get_mut(at as usize) {
                    *set(one) = to;
                }
            };
        let Holders { older, younger, .. } = opening;
        neighbour(&mut self.openings, older, |one| &mut one.younger, younger);
        neighbour(&mut self.openings, younger, |one| &mut one.older, older);
        if let Some(server) = self.servers.get_mut(&opening.source.server) {
            server.held.openings -= 1;
        }
        if opening.silent
            && let Some(group) = self.silent.get_mut(usize::from(opening.service))
        {
            group.openings -= 1;
        }
        if let Some(source) = self.sources.get_mut(&opening.source) {
            source.held.openings -= 1;
            if source.youngest == id {
                source.youngest = older;
            }
            if source.held.openings == 0 {
                self.sources.remove(&opening.source);
            }
        }
    }

    /// Counts segments that an opening holds more, or less.
    pub fn count_segments(&mut self, id: u32, more: i64) {
        let add = |count: &mut u32| *count = count.saturating_add_signed(more as i32);
        let Some(opening) = self.openings.get_mut(id as usize).filter(|one| one.used) else {
            return;
        };
        add(&mut opening.segments);
        if let Some(server) = self.servers.get_mut(&opening.source.server) {
            add(&mut server.held.segments);
        }
        if let Some(source) = self.sources.get_mut(&opening.source) {
            add(&mut source.held.segments);
        }
        if opening.silent
            && let Some(group) = self.silent.get_mut(usize::from(opening.service))
        {
            add(&mut group.segments);
        }
    }

    fn server_of(&mut self, id: u32) -> Option<&mut ServerShare> {
        let source = self.opening(id)?.source;
        self.servers.get_mut(&source.server)
    }

    fn opening(&self, id: u32) -> Option<Holders> {
        self.openings
            .get(id as usize)
            .copied()
            .filter(|one| one.used)
    }

    /// Keeps the number of known servers within the map's room: clients choose the ports of services for `"any"`.
    fn forget_idle_servers(&mut self) {
        if self.servers.len() >= 2 * self.openings.len() {
            self.servers.retain(|_, server| server.held.openings > 0);
        }
    }
}

/// The prefix that counts as one source: 24 bits of an IPv4 address, 56 of an IPv6 address, which is what one customer gets
/// (RFC 6177 §2).
pub fn source_prefix(client: Address) -> Address {
    let [a, b, c, d] = client.0;
    if client.is_v4() {
        Address([a, b, c, d & 0xffff_ff00_u32.to_be()])
    } else {
        Address([a, b & 0xffff_ff00_u32.to_be(), 0, 0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

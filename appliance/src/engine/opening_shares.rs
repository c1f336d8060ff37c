//! Shares of a worker's room for openings and for their data: who holds how much, and who gives way when there is none left.
//!
//! An opening counts for three holders, one within the other:
//!
//! | holder | is |
//! |---|---|
//! | group | a server that answers; or all servers of a service that have not answered yet, or are silent |
//! | server | an address and port |
//! | source | the clients of one prefix ([`source_prefix`]) at that server |
//!
//! When there is no room, the youngest opening of the biggest holder gives way: of the biggest group the biggest server, of
//! that the biggest source. Clients of a silent server therefore cannot take the room of another server's clients, however
//! many servers and sources an attacker uses.
//!
//! The biggest holder is sought among a few random openings. One that holds half of the room is missed once in 2^16 times, and
//! nobody can predict the choice.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use synward_core::flow::FlowKey;
use synward_core::layout::MAX_SERVICES;
use synward_core::wire::Address;

/// Random openings among which the biggest holder is sought.
const SAMPLES: usize = 16;
/// The same where only those of one server count.
const SAMPLES_OF_SERVER: usize = 64;
/// Nanoseconds without any answer to our SYNs after which a server counts as silent.
const SILENT: u64 = 1_000_000_000;
/// A silent server has this part of `openings_per_server`.
const SILENT_PART: u32 = 8;
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

/// Why an opening gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its source has its maximum.
    SourceLimit,
    /// Its server has its maximum.
    ServerLimit,
    /// The worker has its maximum.
    Full,
}

/// An opening that gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The number of the opening.
    pub id: u32,
    /// Why.
    pub reason: Reason,
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
    service: u8,
    /// Whether its group is that of the service's silent servers.
    silent: bool,
    segments: u32,
    older: u32,
    younger: u32,
}

/// What the holders of an opening have, the widest first; compared in this order.
type Rank = [u32; 4];

/// The shares of all openings of one worker. Allocates at the start only.
#[derive(Debug)]
pub struct OpeningShares {
    servers: HashMap<Server, ServerShare>,
    sources: HashMap<Source, SourceShare>,
    silent: [Held; MAX_SERVICES as usize],
    openings: Vec<Holders>,
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
        };
        let slots = capacity as usize + 1;
        Self {
            // A map with room for twice its entries reuses deleted places without allocating (hashbrown, `reserve_rehash`).
            servers: HashMap::with_capacity(4 * slots),
            sources: HashMap::with_capacity(2 * slots),
            silent: [Held::default(); MAX_SERVICES as usize],
            openings: vec![unused; slots],
            used: 0,
            random: RandomState::new().hash_one(slots) | 1,
        }
    }

    /// Counts a new opening. `id` is not in use.
    pub fn add(&mut self, now: u64, id: u32, key: &FlowKey, service: u8) {
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

    /// The opening that gives way to the one just added as `id`, if one has to; `id` itself if its own holder is the
    /// biggest.
    pub fn victim(&mut self, now: u64, id: u32, limits: ShareLimits) -> Option<Victim> {
        let source = self.opening(id)?.source;
        if self.sources.get(&source)?.held.openings > limits.per_source {
            return Some(Victim {
                id,
                reason: Reason::SourceLimit,
            });
        }
        let server = self.servers.get(&source.server)?;
        let limit = if server.is_silent(now) {
            limits.per_server.div_ceil(SILENT_PART)
        } else {
            limits.per_server
        };
        let (of_server, samples, reason) = if server.held.openings > limit {
            (true, SAMPLES_OF_SERVER, Reason::ServerLimit)
        } else if self.used as usize == self.openings.len() {
            (false, SAMPLES, Reason::Full)
        } else {
            return None;
        };
        let mut biggest = (self.rank(id, |held| held.openings), id);
        for _ in 0..samples {
            let other = self.next_random() as usize % self.openings.len();
            let holders = self.openings[other];
            if !holders.used || of_server && holders.source.server != source.server {
                continue;
            }
            let rank = self.rank(other as u32, |held| held.openings);
            if rank > biggest.0
                && let Some(share) = self.sources.get(&holders.source)
            {
                biggest = (rank, share.youngest);
            }
        }
        Some(Victim {
            id: biggest.1,
            reason,
        })
    }

    /// The opening that gives up a segment for one of `id`, which is counted already; `id` itself if its own holder is the
    /// biggest. `sample` gives the opening of a segment, by a random number.
    pub fn victim_of_segment(&mut self, id: u32, sample: impl Fn(u64) -> u32) -> u32 {
        let mut biggest = (self.rank(id, |held| held.segments), id);
        for _ in 0..SAMPLES {
            let other = sample(self.next_random());
            let rank = self.rank(other, |held| held.segments);
            if rank > biggest.0 {
                biggest = (rank, other);
            }
        }
        biggest.1
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

    /// Notes that a SYN was sent to the server of an opening.
    pub fn asked(&mut self, now: u64, id: u32) {
        if let Some(server) = self.server_of(id)
            && server.unanswered_since == 0
        {
            server.unanswered_since = now;
        }
    }

    /// Notes that the server of an opening has sent something.
    pub fn answered(&mut self, id: u32) {
        if let Some(server) = self.server_of(id) {
            server.answered = true;
            server.unanswered_since = 0;
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

    fn rank(&self, id: u32, of: fn(&Held) -> u32) -> Rank {
        let Some(opening) = self.opening(id) else {
            return Rank::default();
        };
        let server = self
            .servers
            .get(&opening.source.server)
            .map_or(0, |server| of(&server.held));
        let source = self
            .sources
            .get(&opening.source)
            .map_or(0, |source| of(&source.held));
        let group = match self.silent.get(usize::from(opening.service)) {
            Some(group) if opening.silent => of(group),
            _ => server,
        };
        [group, server, source, opening.segments]
    }

    /// Keeps the number of known servers within the map's room: clients choose the ports of services for `"any"`.
    fn forget_idle_servers(&mut self) {
        if self.servers.len() >= 2 * self.openings.len() {
            self.servers.retain(|_, server| server.held.openings > 0);
        }
    }

    /// xorshift64 (Marsaglia 2003).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// The prefix that counts as one source: 24 bits of an IPv4 address, 56 of an IPv6 address, which is what one customer gets
/// (RFC 6177 §2).
fn source_prefix(client: Address) -> Address {
    let [a, b, c, d] = client.0;
    if client.is_v4() {
        Address([a, b, c, d & 0xffff_ff00_u32.to_be()])
    } else {
        Address([a, b & 0xffff_ff00_u32.to_be(), 0, 0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const CAPACITY: u32 = 1000;
    const LIMITS: ShareLimits = ShareLimits {
        per_source: CAPACITY,
        per_server: CAPACITY,
    };
    const SECOND: u64 = 1_000_000_000;

    fn key(client: &str, port: u16) -> FlowKey {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        FlowKey::new(address(client), 1, address("198.51.100.1"), port)
    }

    /// Openings with numbers of their own, as the splicer gives them.
    struct Table {
        shares: OpeningShares,
        free: Vec<u32>,
        now: u64,
    }

    impl Table {
        fn new() -> Self {
            Self {
                shares: OpeningShares::new(CAPACITY),
                free: (0..=CAPACITY).rev().collect(),
                now: SECOND,
            }
        }

        /// Adds an opening; the result is who gave way.
        fn open(
            &mut self,
            key: &FlowKey,
            service: u8,
            limits: ShareLimits,
        ) -> (u32, Option<Victim>) {
            let id = self.free.pop().unwrap();
            self.shares.add(self.now, id, key, service);
            self.shares.asked(self.now, id);
            let victim = self.shares.victim(self.now, id, limits);
            if let Some(Victim { id, .. }) = victim {
                self.close(id);
            }
            (id, victim)
        }

        fn close(&mut self, id: u32) {
            self.shares.remove(id);
            self.free.push(id);
        }

        fn answer(&mut self, key: &FlowKey, service: u8) {
            let (id, victim) = self.open(key, service, LIMITS);
            assert_ne!(
                victim.map(|victim| victim.id),
                Some(id),
                "no place to answer"
            );
            self.shares.answered(id);
            self.close(id);
        }
    }

    #[test]
    fn clients_of_a_silent_server_give_way_to_those_of_another() {
        let mut table = Table::new();
        for n in 0..3 * CAPACITY {
            table.open(
                &key(&format!("10.{}.{}.1", n >> 8, n & 255), 443),
                0,
                LIMITS,
            );
        }
        // Neither server has answered yet: both are of the same group.
        for n in 0..CAPACITY / 3 {
            let (id, victim) = table.open(&key(&format!("192.0.2.{}", n & 255), 80), 0, LIMITS);
            let victim = victim.unwrap();
            assert_eq!(victim.reason, Reason::Full);
            assert_ne!(victim.id, id, "opening {n}");
        }
    }

    #[test]
    fn many_silent_servers_together_are_one_holder() {
        let mut table = Table::new();
        table.answer(&key("192.0.2.1", 80), 0);
        for n in 0..2 * CAPACITY {
            let client = format!("10.{}.{}.1", n >> 8, n & 255);
            table.open(&key(&client, 1000 + n as u16), 0, LIMITS);
        }
        for n in 0..CAPACITY / 4 {
            let (id, victim) = table.open(&key("192.0.2.1", 80), 0, LIMITS);
            assert_ne!(
                victim.unwrap().id,
                id,
                "opening {n} of the server that answers"
            );
        }
    }

    #[test]
    fn one_source_gives_way_to_the_others_of_its_server() {
        for (attacker, client) in [("10.0.0", "10.0.1.1"), ("2001:db8:0:0", "2001:db8:1::1")] {
            let mut table = Table::new();
            for n in 0..2 * CAPACITY {
                let end = if attacker.contains(':') { "::" } else { "." };
                table.open(&key(&format!("{attacker}{end}{}", n & 127), 443), 0, LIMITS);
            }
            let (id, victim) = table.open(&key(client, 443), 0, LIMITS);
            assert_ne!(victim.unwrap().id, id);
        }
    }

    #[test]
    fn the_youngest_of_the_holder_gives_way() {
        let mut table = Table::new();
        let ids: Vec<u32> = (0..CAPACITY)
            .map(|_| table.open(&key("10.0.0.1", 443), 0, LIMITS).0)
            .collect();
        let (_, victim) = table.open(&key("192.0.2.1", 80), 1, LIMITS);
        assert_eq!(victim.unwrap().id, ids[CAPACITY as usize - 1]);
        // The list stays intact when one in its middle ends.
        table.close(ids[CAPACITY as usize - 2]);
        table.open(&key("192.0.2.1", 80), 1, LIMITS);
        let (_, victim) = table.open(&key("192.0.2.1", 80), 1, LIMITS);
        assert_eq!(victim.unwrap().id, ids[CAPACITY as usize - 3]);
    }

    #[test]
    fn a_source_and_a_server_have_a_limit() {
        let limits = ShareLimits {
            per_source: 2,
            per_server: 8,
        };
        let mut table = Table::new();
        let mut open = |client: &str| table.open(&key(client, 443), 0, limits);
        for host in 1..=2 {
            assert_eq!(open(&format!("10.0.0.{host}")).1, None);
        }
        let (id, victim) = open("10.0.0.3");
        let refused = |id, reason| Some(Victim { id, reason });
        assert_eq!(victim, refused(id, Reason::SourceLimit));
        for net in 1..=6 {
            assert_eq!(open(&format!("10.0.{net}.1")).1, None);
        }
        let victim = open("10.0.7.1").1.unwrap();
        assert_eq!(victim.reason, Reason::ServerLimit);
    }

    #[test]
    fn a_silent_server_has_an_eighth_until_it_answers() {
        let limits = ShareLimits {
            per_source: CAPACITY,
            per_server: 80,
        };
        let mut table = Table::new();
        let host = key("10.0.0.1", 443);
        for _ in 0..10 {
            table.open(&host, 0, limits);
        }
        table.now += SILENT + 1;
        let (id, victim) = table.open(&host, 0, limits);
        assert_eq!(victim.map(|victim| victim.id), Some(id));
        table.shares.answered(0);
        assert_eq!(table.open(&host, 0, limits).1, None);
    }

    #[test]
    fn nothing_is_left_when_all_have_ended() {
        let mut table = Table::new();
        let mut ids = Vec::new();
        for n in 0..CAPACITY {
            let (id, _) = table.open(&key(&format!("10.0.{}.1", n & 63), n as u16), 0, LIMITS);
            table.shares.count_segments(id, 3);
            ids.push(id);
        }
        ids.into_iter().for_each(|id| table.close(id));
        let shares = &table.shares;
        assert!(shares.sources.is_empty() && shares.used == 0);
        let held = shares.servers.values().map(|server| server.held);
        let groups = shares.silent.iter().copied();
        assert!(
            held.chain(groups)
                .all(|held| held.openings == 0 && held.segments == 0)
        );
    }

    #[test]
    fn known_servers_are_bounded() {
        let mut table = Table::new();
        for port in 1..20_000 {
            let (id, _) = table.open(&key("10.0.0.1", port), 0, LIMITS);
            table.close(id);
        }
        assert!(table.shares.servers.len() <= 2 * table.shares.openings.len());
    }
}

use super::server_answers::PROBES;
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
    fn open(&mut self, key: &FlowKey, service: u16, limits: ShareLimits) -> (u32, Option<Victim>) {
        let id = self.free.pop().unwrap();
        self.shares.add(self.now, id, key, service);
        self.shares.enqueue(id);
        while let Some(ready) = self.shares.next_ready() {
            self.shares.asked(self.now, ready);
        }
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

    fn answer(&mut self, key: &FlowKey, service: u16) {
        let (id, victim) = self.open(key, service, LIMITS);
        assert_ne!(
            victim.map(|victim| victim.id),
            Some(id),
            "no place to answer"
        );
        self.shares.answered(self.now, id, true);
        self.close(id);
    }
}

#[test]
fn clients_of_another_server_displace_those_of_a_silent_one() {
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
fn other_sources_of_a_server_displace_the_biggest_one() {
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

/// A site has a /48, which is 256 sources.
#[test]
fn clients_of_the_same_silent_server_displace_a_site_of_many_prefixes() {
    let mut table = Table::new();
    for n in 0..2 * CAPACITY {
        let client = format!("2001:db8:0:{:x}::{n:x}", (n % 256) << 8);
        table.open(&key(&client, 443), 0, LIMITS);
    }
    for n in 1..=CAPACITY / 4 {
        let (id, victim) = table.open(&key(&format!("2001:db8:{n:x}::1"), 443), 0, LIMITS);
        assert_ne!(victim.unwrap().id, id, "client {n}");
    }
}

#[test]
fn the_youngest_opening_of_the_holder_is_displaced() {
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
    table.shares.answered(table.now, 0, true);
    assert_eq!(table.open(&host, 0, limits).1, None);
}

#[test]
fn a_burst_waits_for_the_answers_and_a_new_source_goes_first() {
    let mut shares = OpeningShares::new(CAPACITY);
    let burst = key("10.0.0.1", 443);
    for id in 0..200 {
        shares.add(SECOND, id, &burst, 0);
        shares.enqueue(id);
    }
    let ready =
        |shares: &mut OpeningShares| std::iter::from_fn(|| shares.next_ready()).collect::<Vec<_>>();
    let sent = ready(&mut shares);
    assert!(sent.iter().copied().eq(0..sent.len() as u32));
    let bound = sent.len() as u32;
    assert!(bound < 100, "{bound} SYNs at once");
    shares.add(SECOND, 200, &key("192.0.2.1", 443), 0);
    shares.enqueue(200);
    shares.end_turn(0);
    assert_eq!(ready(&mut shares), [200]);
    // One that gives up leaves the list, one that has waited long enough overtakes.
    shares.remove(bound);
    shares.overtake(199);
    assert_eq!(ready(&mut shares), [199]);
    // Answers to SYNs while others wait make room for more than one each.
    for id in 1..9 {
        shares.answered(SECOND, id, true);
    }
    assert!(ready(&mut shares).iter().copied().eq(bound + 1..bound + 16));
    for id in (9..200).filter(|id| *id != bound) {
        shares.end_turn(id);
    }
    let list = shares.servers.values().next().map(|server| server.waiting);
    assert!(list.is_some_and(|list| list.first == NONE && list.last == NONE));
}

#[test]
fn clients_that_do_not_answer_probes_are_probed_one_at_a_time() {
    let mut shares = OpeningShares::new(CAPACITY);
    for id in 0..100 {
        shares.add(SECOND, id, &key("10.0.0.1", 443), 0);
    }
    let begun = (0..100).filter(|id| shares.begin_probe(*id)).count() as u32;
    assert_eq!(begun, PROBES);
    for id in 0..PROBES {
        shares.end_probe(id, false);
    }
    assert!(shares.begin_probe(50) && !shares.begin_probe(51));
    shares.end_probe(50, true);
    assert!(shares.begin_probe(50) && shares.begin_probe(51));
    // A client that gives up leaves its place.
    shares.remove(50);
    let begun = (60..100).filter(|id| shares.begin_probe(*id)).count() as u32;
    assert_eq!(begun, PROBES - 1);
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

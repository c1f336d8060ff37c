//! Validated clients that a killed process had not served, or whose ACK came to a socket that went with its interface: the ACK was
//! in a worker's ring, or the server had not answered. They wait for the workers of this process, as those do that came while there
//! was none.

use std::cmp::Reverse;
use std::collections::HashSet;

use aya::maps::PerCpuValues;
use synward_core::cookie::{AckFields, EPOCH_NANOSECONDS};
use synward_core::flow::FlowKey;
use synward_core::handed_over::{HandedOver, SETTLED_AFTER};
use synward_core::layout::state;

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::map_sizes::HANDED_OVER;
use crate::maps::{FlowTable, Plain, ReplayCache, Times};

/// `BPF_NOEXIST` of include/uapi/linux/bpf.h: a client that has come again meanwhile keeps its later ACK.
const NO_EXIST: u64 = 1;

impl Steering {
    /// Has the clients wait that workers were handed and have not served: those of the process before this one, or of sockets that
    /// went with their interface. A worker that serves one of them nevertheless opens one connection. Returns how many wait.
    ///
    /// # Errors
    /// The kernel refuses to read or change a map.
    pub fn keep_unanswered(&mut self, now: &Times) -> Result<usize, SteeringError> {
        let entries = self.take_handed_over()?;
        let unanswered = unanswered(entries, now, &self.table, &self.replays);
        let mut kept = 0;
        for HandedOver { key, client, .. } in unanswered {
            // Those for whom there is no room are lost, and those that are there have come again.
            let inserted = self
                .object
                .waiting
                .insert(Plain(key), Plain(client), NO_EXIST);
            kept += usize::from(inserted.is_ok());
        }
        Ok(kept)
    }

    /// Reads all entries and removes them.
    fn take_handed_over(&mut self) -> Result<Vec<HandedOver>, SteeringError> {
        let map = &mut self.object.handed_over;
        let failed = map_failed(HANDED_OVER);
        let mut taken = Vec::new();
        for place in 0..map.len() {
            let cpus = map.get(&place, 0).map_err(&failed)?;
            let before = taken.len();
            let entries = cpus.iter().map(|Plain(entry)| *entry);
            taken.extend(entries.filter(|entry| entry.client.since != 0));
            if taken.len() != before {
                let none = vec![Plain(HandedOver::default()); cpus.len()];
                let none = PerCpuValues::try_from(none).map_err(|error| SteeringError::Map {
                    map: HANDED_OVER,
                    cause: error.to_string(),
                })?;
                map.set(place, none, 0).map_err(&failed)?;
            }
        }
        Ok(taken)
    }
}

/// The entries whose connection the server may not have answered yet: those that came shortly before the latest, and have
/// neither a flow nor had one. Of the entries of a flow the latest.
fn unanswered(
    mut entries: Vec<HandedOver>,
    now: &Times,
    table: &FlowTable,
    replays: &ReplayCache,
) -> Vec<HandedOver> {
    entries.sort_unstable_by_key(|entry| Reverse(entry.client.since));
    let latest = entries.first().map_or(0, |entry| entry.client.since);
    let mut known = HashSet::new();
    entries.retain(|HandedOver { key, client, .. }| {
        let ago = now.coarse.saturating_sub(client.since);
        let cookie = AckFields {
            client_isn: client.sequence.wrapping_sub(1),
            isn: client.acknowledgement.wrapping_sub(1),
            tsecr: None,
        };
        let (epoch, _) = cookie.cookie_epoch(now.unix.saturating_sub(ago) / EPOCH_NANOSECONDS);
        latest - client.since < SETTLED_AFTER
            && !has_flow(table, key)
            && !replays.is_connected(key, cookie.client_isn, epoch)
            && known.insert(*key)
    });
    entries
}

/// A closing flow may be that of an older connection on the same ports.
fn has_flow(table: &FlowTable, key: &FlowKey) -> bool {
    let entry = table.find(key);
    entry.is_some_and(|entry| table.read(entry).state != state::CLOSING)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use synward_core::layout::Flow;
    use synward_core::waiting_client::WaitingClient;
    use synward_core::wire::Address;

    const SECOND: u64 = 1_000_000_000;
    const ISN: u32 = 7;

    /// A client's ACK that came at a time, and whose cookie is of the epoch then.
    fn handed_over(port: u16, since: u64, now: &Times) -> HandedOver {
        let epoch = (now.unix - (now.coarse - since)) / EPOCH_NANOSECONDS;
        HandedOver {
            key: FlowKey::new(Address::v4(1), port, Address::v4(2), 80),
            client: WaitingClient {
                since,
                sequence: ISN + 1,
                // The upper two bits of a cookie name its epoch.
                acknowledgement: ISN.wrapping_add((epoch as u32) << 30) + 1,
                ..WaitingClient::default()
            },
            ..HandedOver::default()
        }
    }

    fn ports(unanswered: &[HandedOver]) -> Vec<u16> {
        unanswered
            .iter()
            .map(|entry| entry.key.client_port())
            .collect()
    }

    #[test]
    fn only_what_no_server_has_answered_waits() {
        let now = Times {
            unix: 1_000_000 * EPOCH_NANOSECONDS + 20 * SECOND,
            coarse: 500 * SECOND,
        };
        let table = FlowTable::in_memory(1000).unwrap();
        let replays = ReplayCache::in_memory().unwrap();
        let at = |port, seconds: u64| handed_over(port, now.coarse - seconds * SECOND, &now);
        let entries = vec![
            at(1, 14),
            at(2, 11),
            at(3, 11),
            at(4, 10),
            at(5, 15),
            at(1, 12),
        ];
        let flow = Flow {
            key: entries[1].key,
            state: state::OPENING,
            ..Flow::default()
        };
        table.insert(&flow).unwrap();
        replays.record_connection(&entries[2].key, ISN, 1_000_000);
        let unanswered = unanswered(entries, &now, &table, &replays);
        // 2 has a flow, 3 had one, 5 is settled. Of 1 there are two.
        assert_eq!(ports(&unanswered), [4, 1]);
        assert_eq!(unanswered[1].client.since, now.coarse - 12 * SECOND);
    }

    #[test]
    fn nothing_handed_over_is_nothing_to_do() {
        let table = FlowTable::in_memory(1000).unwrap();
        let replays = ReplayCache::in_memory().unwrap();
        let found = unanswered(Vec::new(), &Times::now(), &table, &replays);
        assert_eq!(found, []);
    }
}

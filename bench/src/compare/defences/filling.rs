//! Fills synward's flow table with idle connections, as look-ups find it on a busy system.
//!
//! They are written into the arrays that the running appliance pins for its successor, by the rules of
//! appliance/src/maps/flow_table.rs: an entry first, then the tag that shows it.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use rustix::time::{ClockId, clock_gettime};
use synward_core::flow::FlowKey;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, Globals, state};
use synward_core::wire::Address;

use crate::flow_table_bench::Buckets;
use crate::shared_pod::Shared;

/// Ports of each client.
const PORTS: u32 = 50_000;
const FIRST_PORT: u32 = 10_000;

/// Writes `flows` established connections into the table of the appliance that pins its maps in `folder`.
///
/// No client may connect meanwhile: this program and a worker could choose the same slot.
///
/// # Errors
/// No appliance runs, or its table is full.
pub(super) fn fill(folder: &Path, flows: u32) -> Result<()> {
    let pinned = |name: &str| {
        let path = folder.join(format!("map-{name}"));
        MapData::from_pin(&path).with_context(|| format!("{} cannot be opened", path.display()))
    };
    let globals = Map::from_map_data(pinned("GLOBALS")?)?;
    let Shared(globals) = Array::<_, Shared<Globals>>::try_from(globals)?.get(&0, 0)?;
    let (tags, entries, occupancy) = (pinned("TAGS")?, pinned("FLOWS")?, pinned("OCCUPANCY")?);
    let buckets = globals.bucket_mask + 1;
    let (tags, entries, occupancy) = (
        tags.fd().as_fd(),
        entries.fd().as_fd(),
        occupancy.fd().as_fd(),
    );
    let mut table = Buckets::map(tags, entries, occupancy, buckets, globals.table_key)?;
    let last_seen = flow_time();
    let refused = (0..flows)
        .filter(|number| {
            !table.insert(&Flow {
                key: key(*number),
                last_seen,
                state: state::ESTABLISHED,
                ..Flow::default()
            })
        })
        .count();
    ensure!(
        refused < 100,
        "the flow table has no room for {refused} of {flows} flows: raise capacity in [flows]"
    );
    Ok(())
}

/// Connections from clients in 11.0.0.0/8, which no flood uses, to the lab's server.
fn key(number: u32) -> FlowKey {
    let client = Address::from(std::net::IpAddr::from(
        (0x0b00_0000 + number / PORTS).to_be_bytes(),
    ));
    let server = Address::from(std::net::IpAddr::from([192, 0, 2, 10]));
    let port = FIRST_PORT + number % PORTS;
    FlowKey::new(client, port as u16, server, 80)
}

/// Now, as `Flow::last_seen` counts it.
fn flow_time() -> FlowTime {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    FlowTime::from_ns(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_flows_are_alike() {
        let keys: HashSet<_> = (0..3 * PORTS).map(key).collect();
        assert_eq!(keys.len(), 3 * PORTS as usize);
    }
}

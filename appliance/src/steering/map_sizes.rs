//! How many elements the maps have, as far as that depends on the configuration.

use synward_core::waiting_client::MAX_WAITING;
use synward_core::{handed_over, occupancy, replay_cache};

use super::map_plan::Plan;
use crate::maps;

/// The map of the ACKs that were handed to workers.
pub(super) const HANDED_OVER: &str = "HANDED_OVER";

/// Minimum size of the maps of endpoints and prefixes: room for profiles that are learned later.
const ROOM: usize = 16384;

/// The sizes of maps that depend on the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) capacity: u32,
    /// Buckets of the flow table.
    pub(super) buckets: u32,
}

impl Sizes {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity,
            buckets: maps::buckets_for(capacity),
        }
    }

    /// The maps that the next process takes over unchanged, and their number of entries.
    pub(super) fn kept(&self) -> [(&'static str, u32); 7] {
        // A passed connection that was evicted is learned again, so a quarter is enough.
        let passed = (self.capacity / 4).max(4096);
        [
            ("TAGS", self.buckets),
            ("FLOWS", maps::entries_of(self.buckets)),
            ("PASSED", passed),
            ("REPLAY_CACHE", replay_cache::SETS as u32),
            ("WAITING", MAX_WAITING),
            (HANDED_OVER, handed_over::ENTRIES),
            ("OCCUPANCY", occupancy::line_count(self.buckets)),
        ]
    }

    pub(super) fn megabytes(&self) -> u64 {
        let [tags, flows, passed, replay_cache, waiting, _, occupancy] =
            self.kept().map(|(_, entries)| u64::from(entries));
        ((tags + flows + replay_cache + occupancy) * 64 + (passed + waiting) * 112) >> 20
    }
}

/// The number of elements of maps that depend on the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) endpoints: u32,
    pub(super) prefixes: u32,
    pub(super) prefix_ports: u32,
}

impl Room {
    /// Enough for the plan, and for what is learned or added later.
    pub(super) fn new(plan: &Plan) -> Self {
        let room =
            |needed: usize| u32::try_from(needed.saturating_mul(2).max(ROOM)).unwrap_or(u32::MAX);
        Self {
            endpoints: room(plan.endpoints.len()),
            prefixes: room(plan.prefixes.len()),
            prefix_ports: room(plan.prefix_ports.len()),
        }
    }
}

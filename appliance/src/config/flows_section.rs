//! `[flows]`: the flow table of spliced connections.

use std::time::Duration;

use super::limits;
use super::section_reader::Table;

/// The size of the flow table and the timeouts of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Number of entries.
    pub capacity: u32,
    /// Timeout of a flow without traffic.
    pub idle: Duration,
    /// Timeout of a flow after the FINs of both sides, or a RST.
    pub closing: Duration,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            capacity: 1 << 20,
            idle: Duration::from_secs(7500),
            closing: Duration::from_secs(240),
        }
    }
}

impl Flows {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let default = Self::default();
        let capacity = table.number_or("capacity", limits::CAPACITY, default.capacity.into());
        let flows = Self {
            capacity: u32::try_from(capacity).unwrap_or(default.capacity),
            idle: Duration::from_secs(table.number_or(
                "idle_seconds",
                limits::IDLE_SECONDS,
                default.idle.as_secs(),
            )),
            closing: Duration::from_secs(table.number_or(
                "closing_seconds",
                limits::CLOSING_SECONDS,
                default.closing.as_secs(),
            )),
        };
        if flows.closing > flows.idle {
            let value = table
                .value("closing_seconds")
                .or(table.value("idle_seconds"));
            let line = value.map_or(table.line, |value| value.line);
            let (closing, idle) = (flows.closing.as_secs(), flows.idle.as_secs());
            table.problem(line, format!("closing_seconds is {closing}, longer than idle_seconds, which is {idle}; use at most \
                {idle}"));
        }
        flows
    }
}

//! The interface between observers and the running appliance.

use super::snapshot::{FlowList, Snapshot};
use crate::config::Mode;

/// The running appliance, as observers see it. The threads of the control socket and the metrics endpoint call it, never
/// a worker. A call may take milliseconds.
pub trait ApplianceHandle: Send + Sync {
    /// The current state.
    fn snapshot(&self) -> Snapshot;

    /// At most `limit` spliced flows and openings, openings first, and their total number.
    fn flows(&self, limit: usize) -> FlowList;

    /// Sets the mode of a service until the next reload or start. The error is a sentence for people. The caller has
    /// checked that the service exists, but it may have been removed since.
    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String>;
}

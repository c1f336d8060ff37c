//! Where every answer comes from.

use super::snapshot::{FlowList, Snapshot};
use crate::config::Mode;

/// The running appliance, as observers see it. Called from the threads of this room, never from a worker; a call may
/// take milliseconds.
pub trait Source: Send + Sync {
    /// How everything is right now.
    fn snapshot(&self) -> Snapshot;

    /// At most `limit` spliced flows and openings, openings first, and how many there are in all.
    fn flows(&self, limit: usize) -> FlowList;

    /// Sets the mode of a service until the next reload or start. The error says why not, in a sentence for people;
    /// that the service exists was checked before, but it may have gone meanwhile.
    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String>;
}

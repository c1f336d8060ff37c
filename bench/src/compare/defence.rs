//! What every contender does in a lab.

use anyhow::{Result, bail};

use super::memory_use::Memory;
use super::netns_lab::Lab;

/// A contender's actions in a lab.
pub(super) trait Defence<'a> {
    /// Starts it on the path of the client's connections.
    ///
    /// # Errors
    /// It does not start.
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started>;

    /// How many connections it completed, by its own counters; `None` if it has none.
    ///
    /// # Errors
    /// Its counters cannot be read.
    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>>;

    /// Adds `flows` connections to its table, beside those of the client.
    ///
    /// # Errors
    /// It has no table, or no room; [`Contender::meets`](super::contender::Contender::meets) says which contenders have
    /// one.
    fn fill(&self, _lab: &Lab<'a>, _flows: u32) -> Result<()> {
        bail!("this defence has no table that can be filled from outside")
    }

    /// The memory of its process; `None` if it has no process.
    ///
    /// # Errors
    /// It does not run.
    fn memory(&self, _lab: &Lab<'a>) -> Result<Option<Memory>> {
        Ok(None)
    }
}

/// Whether a defence runs.
pub(super) enum Started {
    Running,
    /// It is not available on this machine, and why. This is not an error.
    Unavailable(String),
}

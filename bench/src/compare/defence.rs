//! What every contender does in a lab.

use anyhow::{Result, bail};

use super::memory_use::Memory;
use super::netns_lab::Lab;

/// What a contender does in a lab.
pub(super) trait Defence<'a> {
    /// Puts it in the way of the client's connections.
    ///
    /// # Errors
    /// It does not come up.
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started>;

    /// How many connections it completed, by its own count; `None` if it counts none.
    ///
    /// # Errors
    /// It does not say.
    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>>;

    /// Gives it so many connections to remember beside those of the client.
    ///
    /// # Errors
    /// It keeps none, or has no room; [`Contender::meets`](super::contender::Contender::meets) says who can be asked.
    fn fill(&self, _lab: &Lab<'a>, _flows: u32) -> Result<()> {
        bail!("this defence has no table that can be filled from outside")
    }

    /// What it takes as a program; `None` if it is none.
    ///
    /// # Errors
    /// It does not run.
    fn memory(&self, _lab: &Lab<'a>) -> Result<Option<Memory>> {
        Ok(None)
    }
}

/// Whether a defence is up.
pub(super) enum Started {
    Running,
    /// It cannot be had here, and why: no fault of this run.
    Unavailable(String),
}

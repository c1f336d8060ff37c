//! What is measured behind each defence.

use anyhow::Result;
use serde::Serialize;

use super::contender::{Contender, Need, Workload};
use super::defence::Defence;
use super::netns_lab::{Lab, Site};
use super::process::Process;

/// A piece of work that is the same for every contender.
pub(super) trait Work {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it is, for the table's heading.
    fn title(&self) -> String;

    /// Sentences on how it was done: what someone needs to do it again.
    fn conditions(&self) -> Vec<String>;

    /// What it needs of a contender.
    fn workload(&self) -> Workload {
        Workload::Connections
    }

    /// What it needs of a lab.
    fn site(&self) -> Site {
        Site::default()
    }

    /// What a case asks of a contender beyond that; who cannot do it has no turn.
    fn need(&self, _case: usize) -> Need {
        Need::Nothing
    }

    /// Whether cases may follow each other in one lab, in their order. Otherwise each has a lab of its own.
    fn shares_lab(&self) -> bool {
        false
    }

    /// Starts what has to run in the lab before the defence is raised.
    ///
    /// # Errors
    /// It does not start.
    fn prepare<'a>(&self, _lab: &Lab<'a>) -> Result<Vec<Process<'a>>> {
        Ok(Vec::new())
    }

    /// The circumstances in which it is done.
    fn cases(&self) -> &[String];

    /// The columns of the table.
    fn columns(&self) -> &[Column];

    /// Does the work in a case, given by number, in a lab whose defence is up.
    ///
    /// # Errors
    /// It could not be measured. Connections that fail are a result.
    fn measure(&self, case: usize, stand: &Stand<'_, '_>) -> Result<Measured>;
}

/// A lab with a defence that is up.
pub(super) struct Stand<'s, 'a> {
    pub(super) lab: &'s Lab<'a>,
    pub(super) contender: Contender,
    pub(super) defence: &'s dyn Defence<'a>,
}

/// A figure of every turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// In which its values are: "ms", "%", "k/s".
    pub(super) unit: &'static str,
}

/// A column of that name and unit.
pub(super) const fn column(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit }
}

/// What one turn gave.
pub(super) struct Measured {
    /// One for each column; `None` where there is nothing to tell (no connection succeeded).
    pub(super) figures: Vec<Option<f64>>,
    /// Connections that certainly went through the defence.
    pub(super) connections: u64,
}

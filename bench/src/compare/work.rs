//! The trait of workloads: what is measured behind each defence.

use anyhow::Result;
use serde::Serialize;

use super::contender::{Contender, Need, Workload};
use super::defence::Defence;
use super::netns_lab::{Lab, Site};
use super::process::Process;

/// A workload, the same for every contender.
pub(super) trait Work {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The table's heading.
    fn title(&self) -> String;

    /// Sentences on how it was measured: what someone needs to repeat it.
    fn conditions(&self) -> Vec<String>;

    /// What it sends to a contender.
    fn workload(&self) -> Workload {
        Workload::Connections
    }

    /// What it needs of a lab.
    fn site(&self) -> Site {
        Site::default()
    }

    /// What a case needs of a contender beyond that; contenders that cannot do it skip the case.
    fn need(&self, _case: usize) -> Need {
        Need::Nothing
    }

    /// Whether cases may follow each other in one lab, in order. Otherwise each case gets its own lab.
    fn shares_lab(&self) -> bool {
        false
    }

    /// Starts what has to run in the lab before the defence starts.
    ///
    /// # Errors
    /// It does not start.
    fn prepare<'a>(&self, _lab: &Lab<'a>) -> Result<Vec<Process<'a>>> {
        Ok(Vec::new())
    }

    /// The cases that are measured.
    fn cases(&self) -> &[String];

    /// The columns of the table.
    fn columns(&self) -> &[Column];

    /// Measures a case, given by index, in a lab whose defence runs.
    ///
    /// # Errors
    /// The measurement failed. Failed connections are a result, not an error.
    fn measure(&self, case: usize, test_bed: &TestBed<'_, '_>) -> Result<Measured>;
}

/// A lab whose defence runs.
pub(super) struct TestBed<'s, 'a> {
    pub(super) lab: &'s Lab<'a>,
    pub(super) contender: Contender,
    pub(super) defence: &'s dyn Defence<'a>,
}

/// A column of the table: one figure per turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Unit of its values: "ms", "%", "k/s".
    pub(super) unit: &'static str,
}

/// Constructs a column.
pub(super) const fn column(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit }
}

/// The result of one turn.
pub(super) struct Measured {
    /// One figure per column; `None` where there is no value (no connection succeeded).
    pub(super) figures: Vec<Option<f64>>,
    /// Connections that certainly passed through the defence.
    pub(super) connections: u64,
}

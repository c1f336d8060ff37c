//! What is measured behind each defence.

use anyhow::Result;
use serde::Serialize;

use super::lab::Lab;

/// A piece of work that is the same for every contender.
pub(super) trait Work {
    /// What it is, for the table's heading.
    fn title(&self) -> String;

    /// Sentences on how it was done: what someone needs to do it again.
    fn conditions(&self) -> Vec<String>;

    /// What it needs of a contender.
    fn matter(&self) -> Matter {
        Matter::Connections
    }

    /// The circumstances in which it is done, each in a turn of its own.
    fn cases(&self) -> &[String];

    /// The columns of the table.
    fn columns(&self) -> &[Column];

    /// Does the work in a case, given by number, in a lab whose defence is up.
    ///
    /// # Errors
    /// It could not be measured. Connections that fail are a result.
    fn measure(&self, case: usize, lab: &Lab) -> Result<Measured>;
}

/// What is handed to a defence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Matter {
    /// Connections from client to server, which have the same path behind every defence.
    Connections,
    /// Segments that come to nothing: who answers them is all there is of the path.
    Segments,
}

/// A figure of every turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// In which its values are: "ms", "%", "k/s".
    pub(super) unit: &'static str,
}

/// What one turn gave.
pub(super) struct Measured {
    /// One for each column; `None` where there is nothing to tell (no connection succeeded).
    pub(super) figures: Vec<Option<f64>>,
    /// Connections that certainly went through the defence.
    pub(super) connections: u64,
}

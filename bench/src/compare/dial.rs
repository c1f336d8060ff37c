//! Connections of the lab's client, made by `bench connect`.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::lab::{Lab, PATIENCE, Role};
use crate::connect::Report;

/// What all connections of a piece of work have in common.
pub(super) struct Dial {
    /// ADDRESS:PORT.
    pub(super) destination: &'static str,
    /// Bytes of each request.
    pub(super) data: u32,
    /// A connection is given up after this time.
    pub(super) patience: Duration,
    /// Where the client runs.
    pub(super) core: usize,
}

impl Dial {
    /// Makes connections as `more` of `bench connect`'s options say.
    ///
    /// # Errors
    /// It fails, or lasts long. Connections that fail are a result.
    pub(super) fn open(&self, lab: &Lab<'_>, more: &[&str]) -> Result<Report> {
        let [data, patience, core] = [
            self.data.to_string(),
            self.patience.as_secs_f64().to_string(),
            self.core.to_string(),
        ];
        let mut arguments = vec![
            "connect",
            self.destination,
            "--data",
            &data,
            "--patience",
            &patience,
            "--core",
            &core,
            "--json",
        ];
        arguments.extend(more);
        let printed = lab
            .begin(Role::Client, lab.bench(), arguments)?
            .finish(2 * self.patience + 4 * PATIENCE)?;
        serde_json::from_str(&printed)
            .with_context(|| format!("bench connect reported something unexpected: {printed}"))
    }
}

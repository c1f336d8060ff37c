//! Connections of the lab's client, made by `bench connect`.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::netns_lab::{Lab, PATIENCE, Role};
use crate::connect::{Percentiles, Report};

/// How long a hundred connections at most take that fill caches before anything is measured.
pub(super) const WARMING: Duration = PATIENCE;

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
    /// Makes connections as `more` of `bench connect`'s options say, the last of them not after `time`.
    ///
    /// # Errors
    /// It fails, or lasts long. Connections that fail are a result.
    pub(super) fn open(&self, lab: &Lab<'_>, time: Duration, more: &[&str]) -> Result<Report> {
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
            .finish(self.longest(time))?;
        serde_json::from_str(&printed)
            .with_context(|| format!("bench connect reported something unexpected: {printed}"))
    }

    /// After the last connection should have begun, patience ends its beginning, and then its waiting.
    pub(super) fn longest(&self, time: Duration) -> Duration {
        time + 2 * self.patience + PATIENCE
    }
}

/// p50, p99 and p99.9 in milliseconds; none where nothing was measured.
pub(super) fn milliseconds(times: &Option<Percentiles>) -> [Option<f64>; 3] {
    let of = |percentile: fn(&Percentiles) -> f64| Some(percentile(times.as_ref()?) / 1e3);
    [
        of(|times| times.p50),
        of(|times| times.p99),
        of(|times| times.p999),
    ]
}

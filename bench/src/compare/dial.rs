//! The lab's client: connections by `bench connect`.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::netns_lab::{Lab, PATIENCE, Role};
use crate::connect::{Percentiles, Report};

/// Limit for the at most 100 connections that fill caches before the measurement.
pub(super) const WARMING: Duration = PATIENCE;

/// Parameters of all connections of a workload.
pub(super) struct Dial {
    /// ADDRESS:PORT.
    pub(super) destination: &'static str,
    /// Bytes of each request.
    pub(super) data: u32,
    /// A connection is abandoned after this time.
    pub(super) patience: Duration,
    /// Core of the client.
    pub(super) core: usize,
}

impl Dial {
    /// Runs `bench connect` with the options `more`; the last connection begins at most `time` after the start.
    ///
    /// # Errors
    /// It fails, or takes too long. Failed connections are a result, not an error.
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

    /// The last connection is due after `time`; it may begin one patience late, and then wait one patience.
    pub(super) fn longest(&self, time: Duration) -> Duration {
        time + 2 * self.patience + PATIENCE
    }
}

/// p50, p99 and p99.9 in milliseconds; `None` if nothing was measured.
pub(super) fn milliseconds(times: &Option<Percentiles>) -> [Option<f64>; 3] {
    let of = |percentile: fn(&Percentiles) -> f64| Some(percentile(times.as_ref()?) / 1e3);
    [
        of(|times| times.p50),
        of(|times| times.p99),
        of(|times| times.p999),
    ]
}

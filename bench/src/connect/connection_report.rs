//! The report of a run, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Results of a run's connections.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// Connections that began or should have.
    pub(crate) attempted: u64,
    pub(crate) established: u64,
    /// Connections whose request was answered; 0 without requests.
    pub(crate) answered: u64,
    /// Connections that took 0.9 s or more from their first SYN: the SYN or its answer was lost, and a SYN was
    /// retransmitted.
    pub(crate) syn_retries: u64,
    /// Failed connections by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    /// Successful connections per second.
    pub(crate) per_second: f64,
    /// Delay from a connection's due time to its start: how late this program was.
    pub(crate) begun_late: Option<Percentiles>,
    /// Time from when a connection was due until it was established; failed ones excluded.
    pub(crate) until_connected: Option<Percentiles>,
    /// Time from when a connection was due until the first byte of its answer.
    pub(crate) until_answered: Option<Percentiles>,
}

/// A distribution, in microseconds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Report {
    /// Connections that failed, for any reason.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} connections in {:.2} s: {} established, {} answered, {} failed; {:.0} per second",
            self.attempted,
            self.seconds,
            self.established,
            self.answered,
            self.failed(),
            self.per_second
        )?;
        for (reason, count) in &self.failures {
            writeln!(out, "  failed: {reason}: {count}")?;
        }
        writeln!(out, "  SYN sent again: {}", self.syn_retries)?;
        writeln!(
            out,
            "  {:<18} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "ms", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (what, percentiles) in [
            ("begun late", &self.begun_late),
            ("until connected", &self.until_connected),
            ("until answered", &self.until_answered),
        ] {
            let Some(of) = percentiles else { continue };
            write!(out, "  {what:<18}")?;
            for microseconds in [of.p50, of.p90, of.p99, of.p999, of.max] {
                write!(out, " {:>10.3}", microseconds / 1e3)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

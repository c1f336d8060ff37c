//! The state of a drain.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number_format::{format_count, format_span};

/// The least time of a drain. A client whose SYN was answered just before has its ACK here by then, also if the first one is
/// lost and repaired by a retransmission, after a second (RFC 6298 §2.1).
pub(crate) const LEAST: Duration = Duration::from_secs(3);

/// A drain. The field names are those of `status --json` and are stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrainView {
    /// Where it is.
    pub phase: DrainPhase,
    /// Time since it began.
    pub seconds: f64,
    /// Time until it ends with connections left; `None` = it waits for the last one.
    pub remaining_seconds: Option<f64>,
    /// Spliced flows that have not ended, as of half a second ago.
    pub flows: u64,
    /// Openings, as of half a second ago.
    pub openings: u64,
}

/// Where a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainPhase {
    /// There is none: new connections are accepted.
    #[default]
    Serving,
    /// No new connections are accepted.
    Draining,
    /// It has ended, and so does the process.
    Ended,
}

impl DrainView {
    /// A sentence for people.
    pub fn reason(&self) -> String {
        let since = format_span(self.seconds);
        let left = self.left();
        match self.remaining_seconds {
            Some(time) => format!(
                "draining for {since}: {left} left; the process ends in {} at most",
                format_span(time)
            ),
            None => format!(
                "draining for {since}: {left} left; the process ends with the last one (`synward undrain` cancels)"
            ),
        }
    }

    /// What is left: `2 flows and 1 opening`.
    pub fn left(&self) -> String {
        let (flows, openings) = (self.flows, self.openings);
        format!(
            "{} and {}",
            format_count(flows, "flow"),
            format_count(openings, "opening")
        )
    }
}

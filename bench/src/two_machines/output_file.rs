//! The files that generator and observer write.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::connect;
use crate::machine::Machine;

/// Either file.
#[derive(Deserialize, Serialize)]
#[serde(tag = "file", rename_all = "lowercase")]
pub(super) enum Record {
    Generator(Generated),
    Observer(Observed),
}

/// Results of a generator.
#[derive(Deserialize, Serialize)]
pub(super) struct Generated {
    pub(super) machine: Machine,
    pub(super) conditions: Vec<String>,
    /// Seed of the order of turns.
    pub(super) seed: u64,
    pub(super) rounds: u16,
    pub(super) turns: Vec<Turn>,
}

/// One rate in one round.
#[derive(Deserialize, Serialize)]
pub(super) struct Turn {
    pub(super) round: u16,
    /// SYNs per second as on the command line: 0, a number, or max.
    pub(super) rate: String,
    /// Beginning and end of the time in which connections began: seconds since 1970.
    pub(super) begin: f64,
    pub(super) end: f64,
    /// Nothing after an error.
    pub(super) load: Option<Load>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// Results of a turn's traffic.
#[derive(Deserialize, Serialize)]
pub(super) struct Load {
    pub(super) flood: Option<Flood>,
    pub(super) connections: connect::Report,
    pub(super) download: Option<Transferred>,
    pub(super) upload: Option<Transferred>,
}

/// A flood: SYNs, and SYN-ACKs that came back to its sources.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Flood {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) seconds: f64,
}

/// The report of `bench two-machines transfer`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Transferred {
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// Goodput of what arrived.
    pub(super) gigabits: f64,
    /// Connections that broke or could not be made.
    pub(super) broken: u64,
}

/// Results of an observer.
#[derive(Deserialize, Serialize)]
pub(super) struct Observed {
    pub(super) machine: Machine,
    pub(super) interface: String,
    /// By configuration: the median over the samples of each figure of [`Sample::figures`].
    pub(super) medians: BTreeMap<String, BTreeMap<String, f64>>,
    pub(super) samples: Vec<Sample>,
}

/// A sample of about one second.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Its end: seconds since 1970.
    pub(super) at: f64,
    pub(super) seconds: f64,
    /// Responder and modes: what is compared.
    pub(super) configuration: String,
    /// Per core: share of time busy, interrupts included.
    pub(super) busy: Vec<f64>,
    /// Per core: share of time in interrupts and softirqs.
    pub(super) softirq: Vec<f64>,
    /// Increase of counters per second, if any: `nic.`, `ethtool.`, `synward.`, `xsk.` and their names.
    pub(super) counters: BTreeMap<String, f64>,
}

impl Sample {
    /// All of its figures; cores are summed.
    pub(super) fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = self.counters.clone();
        figures.insert("cores busy".into(), self.busy.iter().sum());
        figures.insert("cores in softirqs".into(), self.softirq.iter().sum());
        figures
    }
}

impl Record {
    /// Reads one.
    ///
    /// # Errors
    /// No such file, or not one of these.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} was written by neither `bench two-machines generate` nor `bench two-machines observe`",
                path.display()
            )
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// The time of day: seconds since 1970.
pub(super) fn now() -> f64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.as_ref().map_or(0.0, Duration::as_secs_f64)
}

//! Stored results of `bench compare` and `bench engine`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::compare::Contender;
use crate::spread::Spread;

/// All results in a folder; `None` for what was not measured.
#[derive(Default)]
pub(super) struct Archive {
    pub(super) answer: Option<Run>,
    pub(super) sweep: Option<Run>,
    pub(super) rate: Option<Run>,
    pub(super) carry: Option<Run>,
    pub(super) engine: Option<Engine>,
}

/// One comparison.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) work: String,
    pub(super) conditions: Vec<String>,
    pub(super) machine: Machine,
    pub(super) rounds: u16,
    columns: Vec<Column>,
    pub(super) skipped: BTreeMap<Contender, String>,
    turns: Vec<Turn>,
}

/// Where it ran.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) release: String,
    pub(super) load: f64,
    pub(super) commit: String,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Turn {
    contender: Contender,
    case: String,
    figures: Vec<Option<f64>>,
    #[serde(default)]
    error: Option<String>,
}

/// `bench engine --output FILE`: the cost of a worker's decisions.
#[derive(Debug, Deserialize)]
pub(super) struct Engine {
    pub(super) rows: Vec<EngineRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EngineRow {
    /// The operation, and the kind of frames.
    pub(super) work: String,
    /// The SIMD variant, or other code that does it.
    pub(super) by: String,
    /// Nanoseconds per frame.
    rounds: Vec<f64>,
}

impl EngineRow {
    /// Nanoseconds per frame, over the rounds.
    pub(super) fn cost(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().copied())
    }
}

impl Archive {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// A file exists, but holds no such results.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        Ok(Self {
            answer: read(&folder.join("answer.json"))?,
            sweep: read(&folder.join("sweep.json"))?,
            rate: read(&folder.join("rate.json"))?,
            carry: read(&folder.join("carry.json"))?,
            engine: read(&folder.join("engine.json"))?,
        })
    }

    /// The comparisons that have results.
    pub(super) fn runs(&self) -> Vec<&Run> {
        [&self.answer, &self.sweep, &self.rate, &self.carry]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| {
            format!(
                "{} has no results of this version: measure again, or move it away",
                path.display()
            )
        }),
    }
}

impl Run {
    /// The cases that had turns, in the order of the first round.
    pub(super) fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if !cases.contains(&&*turn.case) {
                cases.push(&turn.case);
            }
        }
        cases
    }

    /// A figure of a contender in a case. `column` is a column's name; if several columns have it, the names of columns
    /// before it select one: `["answered p50", "p99"]`.
    pub(super) fn figure(
        &self,
        case: &str,
        contender: Contender,
        column: &[&str],
    ) -> Option<Spread> {
        let mut from = 0;
        let mut at = 0;
        for name in column {
            at = from
                + self.columns[from..]
                    .iter()
                    .position(|column| column.name == *name)?;
            from = at + 1;
        }
        let turns = self
            .turns
            .iter()
            .filter(|turn| turn.contender == contender && turn.case == case);
        Spread::of(turns.filter_map(|turn| turn.figures.get(at).copied().flatten()))
    }

    /// Number of failed turns, and the first failure.
    pub(super) fn errors(&self) -> Option<(usize, Contender, &str)> {
        let mut failed = self
            .turns
            .iter()
            .filter_map(|turn| Some((turn.contender, turn.error.as_deref()?)));
        let (contender, error) = failed.next()?;
        Some((1 + failed.count(), contender, error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A comparison of one round: (contender, case, figures).
    pub(crate) fn run(columns: &[&str], turns: &[(Contender, &str, &[f64])]) -> Run {
        Run {
            work: "Something".into(),
            conditions: vec!["somewhere".into()],
            machine: Machine {
                cpu: "A CPU".into(),
                cores: 2,
                release: "6.18".into(),
                load: 0.5,
                commit: "abc".into(),
            },
            rounds: 1,
            columns: columns
                .iter()
                .map(|name| Column {
                    name: (*name).into(),
                })
                .collect(),
            skipped: BTreeMap::new(),
            turns: turns
                .iter()
                .map(|(contender, case, figures)| Turn {
                    contender: *contender,
                    case: (*case).into(),
                    figures: figures.iter().copied().map(Some).collect(),
                    error: None,
                })
                .collect(),
        }
    }

    #[test]
    fn figures_are_found_by_the_names_before_them() {
        let run = run(
            &["connected", "p99", "answered", "p99"],
            &[
                (Contender::Local, "idle", &[1.0, 2.0, 3.0, 4.0]),
                (Contender::Local, "idle", &[1.0, 2.0, 3.0, 8.0]),
                (Contender::Kernel, "idle", &[9.0, 9.0, 9.0, 9.0]),
            ],
        );
        let found = run.figure("idle", Contender::Local, &["answered", "p99"]);
        let (least, median, greatest) = (4.0, 6.0, 8.0);
        assert_eq!(
            found,
            Some(Spread {
                least,
                median,
                greatest
            })
        );
        let first = run.figure("idle", Contender::Local, &["p99"]).unwrap();
        assert_eq!(first.median, 2.0);
        assert_eq!(run.figure("busy", Contender::Local, &["p99"]), None);
        assert_eq!(run.figure("idle", Contender::Local, &["p50"]), None);
    }

    #[test]
    fn what_is_not_there_is_missing_and_what_is_wrong_is_told() {
        let folder = std::env::temp_dir().join(format!("synward-report-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(Archive::open(&folder).unwrap().runs().is_empty());
        fs::write(folder.join("rate.json"), "{}").unwrap();
        let error = Archive::open(&folder).err().unwrap().to_string();
        assert!(error.contains("rate.json"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}

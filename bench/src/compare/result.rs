//! The results of all turns, as the JSON file has them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::contender::Contender;
use super::work::{Column, Work};
use crate::machine::Machine;

/// The result of a turn.
pub(super) enum Turn {
    /// One figure per column.
    Measured(Vec<Option<f64>>),
    /// The contender is not available here, and why.
    Skipped(String),
}

/// All results of a run.
#[derive(Serialize)]
pub(super) struct Results {
    /// The workload's name on the command line.
    name: &'static str,
    pub(super) work: String,
    pub(super) conditions: Vec<String>,
    pub(super) machine: Machine,
    /// Seed of the order of turns.
    pub(super) seed: u64,
    pub(super) rounds: u16,
    columns: Vec<Column>,
    /// Contenders that are not available here, and why.
    pub(super) skipped: BTreeMap<Contender, String>,
    /// In the order in which they ran.
    turns: Vec<Row>,
    #[serde(skip)]
    cases: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    round: u16,
    contender: Contender,
    case: String,
    /// In the order of `columns`; empty after an error.
    figures: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Results {
    pub(super) fn new(machine: Machine, work: &dyn Work, seed: u64, rounds: u16) -> Self {
        Self {
            name: work.name(),
            work: work.title(),
            conditions: work.conditions(),
            machine,
            seed,
            rounds,
            columns: work.columns().to_vec(),
            skipped: BTreeMap::new(),
            turns: Vec::new(),
            cases: work.cases().to_vec(),
        }
    }

    /// Adds a turn's result.
    pub(super) fn add(
        &mut self,
        round: u16,
        contender: Contender,
        case: usize,
        turn: Result<Turn>,
    ) {
        let (figures, error) = match turn {
            Ok(Turn::Measured(figures)) => (figures, None),
            Ok(Turn::Skipped(reason)) => {
                self.skipped.insert(contender, reason);
                return;
            }
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        self.turns.push(Row {
            round,
            contender,
            case: self.cases[case].clone(),
            figures,
            error,
        });
    }

    pub(super) fn is_skipped(&self, contender: Contender) -> bool {
        self.skipped.contains_key(&contender)
    }

    /// How many turns failed.
    pub(super) fn failed(&self) -> usize {
        self.turns.iter().filter(|row| row.error.is_some()).count()
    }

    /// For each case in which turns of a contender failed: the case, how many, and why the first.
    pub(super) fn errors(&self, contender: Contender) -> Vec<(&str, usize, &str)> {
        let of = |case| {
            let mut errors = self
                .rows(case)
                .filter(|row| row.contender == contender)
                .filter_map(|row| row.error.as_deref());
            let first = errors.next()?;
            Some((case, 1 + errors.count(), first))
        };
        self.cases
            .iter()
            .filter_map(|case| of(case.as_str()))
            .collect()
    }

    /// Contenders that had turns in a case, in the order of the table.
    pub(super) fn contenders(&self, case: &str) -> Vec<Contender> {
        let mut contenders: Vec<_> = self.rows(case).map(|row| row.contender).collect();
        contenders.sort();
        contenders.dedup();
        contenders
    }

    /// A contender's figures of a column in a case, one for each turn that had one.
    pub(super) fn figures(&self, case: &str, contender: Contender, column: usize) -> Vec<f64> {
        self.rows(case)
            .filter(|row| row.contender == contender)
            .filter_map(|row| row.figures.get(column).copied().flatten())
            .collect()
    }

    fn rows(&self, case: &str) -> impl Iterator<Item = &Row> {
        self.turns.iter().filter(move |row| row.case == case)
    }
}

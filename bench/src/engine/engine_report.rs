//! The figures, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::cases::Case;
use super::frame_batch::BATCH;
use crate::machine::Machine;

/// One case: nanoseconds a frame in each round.
#[derive(Serialize)]
struct Row {
    work: String,
    by: &'static str,
    rounds: Vec<f64>,
}

impl Row {
    /// Least, median and greatest.
    fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(least), Some(median), Some(greatest)) => (*least, *median, *greatest),
            _ => (f64::NAN, f64::NAN, f64::NAN),
        }
    }
}

/// Everything measured.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    batch: usize,
    batches: u32,
    /// What reading the clock costs, taken off all others; ns a frame.
    clock: f64,
    rows: Vec<Row>,
}

impl Report {
    /// From the rounds of each case.
    pub(super) fn new(
        machine: Machine,
        batches: u32,
        cases: &[Case],
        rounds: Vec<Vec<f64>>,
    ) -> Self {
        let mut rows: Vec<Row> = cases
            .iter()
            .zip(rounds)
            .map(|(case, rounds)| Row {
                work: case.name.clone(),
                by: case.by,
                rounds,
            })
            .collect();
        let clock = match cases.iter().position(Case::is_clock) {
            Some(at) => rows.remove(at).spread().1,
            None => 0.0,
        };
        for figure in rows.iter_mut().flat_map(|row| &mut row.rounds) {
            *figure -= clock;
        }
        Self {
            machine,
            batch: BATCH,
            batches,
            clock,
            rows,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "## The engine, a batch of {} frames\n", self.batch)?;
        writeln!(out, "- {}", self.machine)?;
        writeln!(
            out,
            "- one thread, frames and tables in the cache; rounds in random order; the clock's {:.1} ns are \
             taken off",
            self.clock
        )?;
        writeln!(out, "\n| work | by | ns a frame | least | greatest |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        for row in &self.rows {
            let (least, median, greatest) = row.spread();
            writeln!(
                out,
                "| {} | {} | {median:.1} | {least:.1} | {greatest:.1} |",
                row.work, row.by
            )?;
        }
        Ok(())
    }
}

//! The figures, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::cases::Case;
use super::frame_batch::BATCH;
use crate::machine::Machine;
use crate::spread::Spread;

/// One case: nanoseconds per frame in each round.
#[derive(Serialize)]
struct Row {
    work: String,
    by: &'static str,
    rounds: Vec<f64>,
}

/// Everything measured.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    batch: usize,
    batches: u32,
    /// Cost of reading the clock, subtracted from all others; ns per frame.
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
            Some(at) => Spread::or_nan(&rows.remove(at).rounds).median,
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
            let Spread {
                least,
                median,
                greatest,
            } = Spread::or_nan(&row.rounds);
            writeln!(
                out,
                "| {} | {} | {median:.1} | {least:.1} | {greatest:.1} |",
                row.work, row.by
            )?;
        }
        Ok(())
    }
}

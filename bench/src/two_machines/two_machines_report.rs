//! `bench two-machines report`: the table, in Markdown.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::join::{Figures, Row, join};
use super::output_file::{Generated, Observed, Record};
use crate::compare::Rate;
use crate::spread::spread_cell;

/// Command line of `bench two-machines report`.
#[derive(Args)]
pub(crate) struct Options {
    /// Files of `generate` and `observe`, in any order: they are joined by time
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints it.
///
/// # Errors
/// Files of another program, or no file of a generator.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (mut generated, mut observed) = (Vec::new(), Vec::new());
    for file in &options.files {
        match Record::read(file)? {
            Record::Generator(record) => generated.push(record),
            Record::Observer(record) => observed.push(record),
        }
    }
    ensure!(
        !generated.is_empty(),
        "none of these files is from `bench two-machines generate`: there is nothing to report"
    );
    write!(stdout(), "{}", markdown(&generated, &observed))?;
    Ok(())
}

/// A column of each figure.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

const COLUMNS: &[Column] = &[
    ("SYNs, k/s", |round| Some(round.sent? / 1e3)),
    ("answered, k/s", |round| Some(round.answered? / 1e3)),
    ("lost, %", |round| Some(round.lost? * 100.0)),
    ("CPU-ns an answer", |round| round.cost),
    ("cores busy", |round| round.busy),
    ("in softirqs", |round| round.softirq),
    ("connect p50, ms", |round| Some(round.connect?[0])),
    ("p99", |round| Some(round.connect?[1])),
    ("answer p50, ms", |round| Some(round.answer?[0])),
    ("p99", |round| Some(round.answer?[1])),
    ("SYN again, %", |round| Some(round.retried * 100.0)),
    ("failed, %", |round| Some(round.failed * 100.0)),
    ("down, Gbit/s", |round| round.down),
    ("up, Gbit/s", |round| round.up),
];

fn markdown(generated: &[Generated], observed: &[Observed]) -> String {
    let mut lines = vec!["## Between two machines".to_owned(), String::new()];
    let mut note = |text: String| {
        let line = format!("- {text}");
        // Files of one measurement repeat most notes.
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for file in generated {
        note(format!("generator: {}", file.machine));
        for condition in &file.conditions {
            note(condition.clone());
        }
        let failed = file.turns.iter().filter(|turn| turn.error.is_some());
        for turn in failed {
            let error = turn.error.as_deref().unwrap_or_default();
            note(format!(
                "failed: rate {}, round {}: {error}",
                turn.rate,
                turn.round + 1
            ));
        }
    }
    for file in observed {
        note(format!(
            "under test: {}; on {}",
            file.machine, file.interface
        ));
    }
    note(
        "median of the rounds (least to greatest); connect, answer: from when a connection was due"
            .into(),
    );
    note(
        "loss-free: at most one SYN of 10,000 had no answer at the generator, and no connection failed or needed a second \
        SYN".into(),
    );
    note(
        "CPU-ns an answer: all CPU time of the device under test, minus its CPU time with the same data at rate \
         0 (if that was measured), divided by the SYNs answered"
            .into(),
    );
    let rows = join(generated, observed);
    for doubt in rows.iter().filter_map(doubt) {
        note(doubt);
    }
    let heads: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
    lines.push(String::new());
    lines.push(format!(
        "| configuration | flood | loss-free | {} |",
        heads.join(" | ")
    ));
    lines.push(format!("|---|---:|---|{}", "---:|".repeat(heads.len())));
    for row in &rows {
        let cells: Vec<_> = COLUMNS
            .iter()
            .map(|column| spread_cell(&row.all(column.1)))
            .collect();
        lines.push(format!(
            "| {} | {} | {} | {} |",
            row.configuration,
            row.rate.word(),
            if row.loss_free() { "yes" } else { "no" },
            cells.join(" | ")
        ));
    }
    lines.join("\n") + "\n"
}

/// Why the figures of a row may not belong together.
fn doubt(row: &Row) -> Option<String> {
    if row.rate == Rate::None {
        return None;
    }
    let pairs = row
        .rounds
        .iter()
        .filter_map(|round| round.sent.zip(round.arrived));
    let (sent, arrived) = pairs
        .into_iter()
        .find(|(sent, arrived)| *arrived < sent / 2.0)?;
    Some(format!(
        "**doubtful**: {}, flood {}: {:.0} k SYNs per second were sent, and the device under test saw {:.0} k: either they were \
         lost before it, or the two clocks differ",
        row.configuration,
        row.rate.word(),
        sent / 1e3,
        arrived / 1e3
    ))
}

#[cfg(test)]
mod tests {
    use super::super::join::tests::files;
    use super::*;

    #[test]
    fn every_configuration_has_a_row_for_each_rate() {
        let (generated, observed) = files();
        let text = markdown(&[generated], &[observed]);
        for row in [
            "| xdp | 1000000 | yes | 1000 | 1000 | 0 | 750 | 1.25 | 0.25 | 0.30 | 0.90 | 0.30 | 0.90 | 0 | 0 | 9.40 | – |",
            "| xdp | 0 | yes | – | – | – | – | 0.50 | 0.25 | 0.30 | 0.90 | 0.30 | 0.90 | 0 | 0 | 9.40 | – |",
            "- failed: rate max, round 1: no",
            "- SYNs on eth1",
        ] {
            assert!(text.contains(row), "{row} is not in:\n{text}");
        }
        assert!(!text.contains("doubtful"), "{text}");
    }

    #[test]
    fn clocks_that_differ_show() {
        let (generated, mut observed) = files();
        for sample in &mut observed.samples {
            sample.counters.clear();
        }
        let text = markdown(&[generated], &[observed]);
        assert!(
            text.contains("**doubtful**: xdp, flood 1000000: 1000 k"),
            "{text}"
        );
    }
}

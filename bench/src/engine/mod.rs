//! `bench engine`: what a batch of 64 frames costs the engine, in user space, its memory in the cache.
//!
//! The rounds of all cases alternate in random order and are short, so that a neighbour on the machine
//! disturbs all of them or none; the median of the rounds counts. (A benchmark harness that takes one case
//! after the other, as criterion and divan do, attributes a neighbour's second to whichever case ran then.)
//! Frames are put back outside the measured time, and what reading the clock costs is taken off.

mod ack_batch;
mod cases;
mod engine_report;
mod frame_batch;

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser};

use self::cases::Case;
use self::engine_report::Report;
use self::frame_batch::BATCH;
use crate::machine::Machine;
use crate::order::Order;

/// Batches that a case is given in a round before those that are measured.
const WARM: u32 = 4;

/// Command line of `bench engine`.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value = "51", value_parser = clap::value_parser!(u16).range(1..=1001))]
    rounds: u16,
    /// Batches of a case in each round
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
    /// Runs on this core
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Every round's figures, as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only cases with this in their name ("ACK", "avx2"); several must all be there
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Runs the one case that `--only` leaves for so many batches and measures nothing: for tools that count
    /// instructions
    #[arg(long, value_name = "BATCHES", conflicts_with_all = ["rounds", "batches", "output"])]
    count: Option<u32>,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Measures as a command line says: `engine` and what follows it.
///
/// # Errors
/// Those of [`run`], or a line that makes no sense.
pub(crate) fn run_line(words: &[String]) -> Result<()> {
    run(&Line::try_parse_from(words)?.options)
}

/// Measures and prints a table in Markdown.
///
/// # Errors
/// No case of that name, a case that does not do its work, or a file that cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let machine = Machine::here(std::path::Path::new("deploy/lab"));
    if let Some(core) = options.core {
        crate::cores::pin(core)?;
    }
    let mut cases = Case::all();
    for case in &mut cases {
        ensure!(case.is_right(), "{} ({}) went wrong", case.name, case.by);
    }
    cases.retain(|case| {
        let name = format!("{} {}", case.name, case.by);
        options.only.iter().all(|text| name.contains(text.as_str())) || case.is_clock()
    });
    if let Some(batches) = options.count {
        return count(&mut cases, batches);
    }
    ensure!(cases.len() > 1, "no case has that in its name");
    let output = match &options.output {
        Some(path) => Some(
            File::create(path).with_context(|| format!("{} cannot be written", path.display()))?,
        ),
        None => None,
    };
    let mut rounds = vec![Vec::new(); cases.len()];
    let mut order = Order::new(1);
    let mut turns: Vec<usize> = (0..cases.len()).collect();
    for _ in 0..options.rounds {
        order.shuffle(&mut turns);
        for turn in &turns {
            rounds[*turn].push(measure(&mut cases[*turn], options.batches));
        }
    }
    let report = Report::new(machine, options.batches, &cases, rounds);
    print!("{report}");
    if let Some(mut output) = output {
        serde_json::to_writer_pretty(&mut output, &report)?;
        writeln!(output)?;
    }
    Ok(())
}

/// Nanoseconds a frame, the clock included.
fn measure(case: &mut Case, batches: u32) -> f64 {
    let mut total = 0;
    for batch in 0..WARM + batches {
        case.restore();
        // What was put back is in the cache, and not on its way there.
        fence(Ordering::SeqCst);
        let start = Instant::now();
        case.run();
        let took = start.elapsed().as_nanos();
        if batch >= WARM {
            total += took;
        }
    }
    total as f64 / f64::from(batches) / BATCH as f64
}

/// Runs one case, for a tool that counts instructions: as a difference of two runs, so that the start and
/// putting back cancel out.
fn count(cases: &mut Vec<Case>, batches: u32) -> Result<()> {
    if cases.len() > 1 {
        cases.retain(|case| !case.is_clock());
    }
    let [case] = cases.as_mut_slice() else {
        bail!("--only leaves {} cases, and has to leave one", cases.len());
    };
    for _ in 0..batches {
        case.restore();
        black_box(&mut *case).run();
    }
    Ok(())
}

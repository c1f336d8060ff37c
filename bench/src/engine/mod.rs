//! `bench engine`: the engine's cost of a batch of 64 frames, in user space, with its memory in the cache.
//!
//! The rounds of all cases alternate in random order and are short, so that a neighbour on the machine disturbs all
//! cases alike; the median of the rounds is reported. (A harness that runs one case after the other, as criterion and
//! divan do, attributes a neighbour's second to the case that ran then.) Frames are restored outside the measured time,
//! and the cost of reading the clock is subtracted.

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

/// Batches before the measured ones in each round.
const WARM: u32 = 4;

/// Command line of `bench engine`.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; medians are reported
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
    /// Only cases whose name contains this ("ACK", "avx2"); if repeated, all of them
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Run the one case that `--only` selects for this many batches, without measuring: for tools that count
    /// instructions
    #[arg(long, value_name = "BATCHES", conflicts_with_all = ["rounds", "batches", "output"])]
    count: Option<u32>,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Measures, given the words `engine` and what follows.
///
/// # Errors
/// Those of [`run`], or invalid arguments.
pub(crate) fn run_line(words: &[String]) -> Result<()> {
    run(&Line::try_parse_from(words)?.options)
}

/// Measures and prints a table in Markdown.
///
/// # Errors
/// No such case, a case with a wrong result, or a file that cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let machine = Machine::here(std::path::Path::new("deploy/lab"));
    if let Some(core) = options.core {
        crate::cores::pin_to_core(core)?;
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
    ensure!(cases.len() > 1, "no case has this in its name");
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

/// Nanoseconds per frame, the clock included.
fn measure(case: &mut Case, batches: u32) -> f64 {
    let mut total = 0;
    for batch in 0..WARM + batches {
        case.restore();
        // The restored frames must be in the cache before the measurement starts.
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

/// Runs one case for a tool that counts instructions. The tool takes the difference of two runs, so that start and
/// restoring cancel out.
fn count(cases: &mut Vec<Case>, batches: u32) -> Result<()> {
    if cases.len() > 1 {
        cases.retain(|case| !case.is_clock());
    }
    let [case] = cases.as_mut_slice() else {
        bail!("--only selects {} cases, but must select one", cases.len());
    };
    for _ in 0..batches {
        case.restore();
        black_box(&mut *case).run();
    }
    Ok(())
}

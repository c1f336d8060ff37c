//! `bench compare`: the same work behind each of several SYN defences, in one run.
//!
//! Every turn (one contender, one case of the work) gets a lab of its own, freshly built and removed afterwards, so that
//! nothing of one turn is left for the next: no half-open connection, no TIME_WAIT, no warm cache. Each round takes all
//! turns in a random order, so that a neighbour on the machine disturbs all contenders or none; medians
//! over rounds count, and the spread is told.
//!
//! A defence is a [`contender::Contender`], what is measured is a [`work::Work`]; neither knows of the other.

mod account;
mod answer;
mod connect;
mod contender;
mod flood;
mod lab;
mod process;
mod result;
mod table;
mod work;

use std::fs::File;
use std::io::{Write as _, stderr, stdout};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};

use self::contender::{Contender, Raised};
use self::lab::{Lab, Programs};
use self::result::{Results, Turn};
use self::work::Work;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::order::Order;

/// What is compared.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// How long connections take to be established and to be answered, idle and under a flood of SYNs
    Connect(Box<connect::Options>),
    /// What it costs to answer SYNs, and to refuse ACKs that belong to nothing
    Answer(Box<answer::Options>),
}

/// What every comparison takes from the command line.
#[derive(Args)]
pub(crate) struct Options {
    /// Which defences, separated by commas (default: all)
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=101))]
    rounds: u16,
    /// Decides the order of the turns (default: random; it is in the results)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where all results go, as JSON
    #[arg(long, value_name = "FILE", default_value = "compare.json")]
    output: PathBuf,
    /// The appliance's program (default: `synward` beside this program)
    #[arg(long, value_name = "PATH")]
    synward: Option<PathBuf>,
    /// The program that builds labs
    #[arg(long, value_name = "PATH", default_value = "deploy/lab")]
    lab: PathBuf,
    /// Name of the lab, 1 to 16 of a-z and 0-9; an old one of that name is removed
    #[arg(long, value_name = "NAME", default_value_t = format!("compare{}", std::process::id()))]
    lab_name: String,
}

/// Compares, and prints a table in Markdown.
///
/// # Errors
/// Something that is missing, a refusal of the kernel, an interruption, or turns that failed; results up to then are
/// in the file.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Connect(options) => compare(&options.compare, &options.work()?),
        Command::Answer(options) => compare(&options.compare, &options.work()),
    }
}

fn compare(options: &Options, work: &dyn Work) -> Result<()> {
    let programs = Programs::find(options.synward.as_deref(), &options.lab)?;
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("no random seed: give one with --seed")?,
    };
    let contenders = match options.contenders.as_slice() {
        [] => Contender::suited(work.matter()),
        some => some.to_vec(),
    };
    for contender in &contenders {
        ensure!(
            contender.suits(work.matter()),
            "{contender} is no contender here: it carries no connection; leave it out of --contenders"
        );
    }
    let mut output = File::create(&options.output)
        .with_context(|| format!("{} cannot be written", options.output.display()))?;
    let interrupt = Interrupt::new()?;
    let mut results = Results::new(Machine::here(), work, seed, options.rounds);
    let mut order = Order::new(seed);
    let mut turns: Vec<(Contender, usize)> = contenders
        .iter()
        .flat_map(|contender| (0..work.cases().len()).map(|case| (*contender, case)))
        .collect();
    'rounds: for round in 0..options.rounds {
        order.shuffle(&mut turns);
        for (contender, case) in &turns {
            if interrupt.requested() {
                break 'rounds;
            }
            if results.is_skipped(*contender) {
                continue;
            }
            tell(&format!(
                "round {} of {}: {contender}, {}",
                round + 1,
                options.rounds,
                work.cases()[*case]
            ));
            let turn = take_turn(
                &programs,
                &options.lab_name,
                *contender,
                work,
                *case,
                &interrupt,
            );
            // What an interruption broke is no result.
            if interrupt.requested() {
                break 'rounds;
            }
            if let Err(error) = &turn {
                tell(&format!("{contender}, {}: {error:#}", work.cases()[*case]));
            }
            results.add(round, *contender, *case, turn);
        }
    }
    serde_json::to_writer_pretty(&mut output, &results)?;
    writeln!(output)?;
    write!(stdout(), "{}", table::markdown(&results, work))?;
    ensure!(!interrupt.requested(), "interrupted");
    match results.failed() {
        0 => Ok(()),
        failed => bail!(
            "{failed} turns failed, see above and in {}",
            options.output.display()
        ),
    }
}

/// One contender, one case, in a lab of its own.
fn take_turn(
    programs: &Programs,
    name: &str,
    contender: Contender,
    work: &dyn Work,
    case: usize,
    interrupt: &Interrupt,
) -> Result<Turn> {
    let lab = Lab::up(programs, name, contender.path(work.matter()), interrupt)?;
    let mut defence = contender.defence();
    if let Raised::Refused(reason) = defence.raise(&lab).context("raising the defence")? {
        return Ok(Turn::Skipped(reason));
    }
    let measured = work.measure(case, &lab)?;
    // Figures of a defence that was not in the way would be somebody else's.
    if let Some(carried) = defence.carried(&lab)? {
        ensure!(
            carried as f64 >= 0.9 * measured.connections as f64,
            "{contender} had to do with {carried} connections of {}",
            measured.connections
        );
    }
    Ok(Turn::Measured(measured.figures))
}

/// To people, who wait for the table.
fn tell(what: &str) {
    // Who closed stderr does not want to know.
    let _ = writeln!(stderr(), "{what}");
}

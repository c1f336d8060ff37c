//! `bench compare`: the same work behind each of several SYN defences, in one run.
//!
//! Every turn (one contender, one case of the work) gets a lab of its own, freshly built and removed afterwards, so that
//! nothing of one turn is left for the next: no half-open connection, no TIME_WAIT, no warm cache. Only where
//! that is sound, because a contender keeps nothing of a flood, do the cases of some works follow each other in one lab.
//! Each round takes all in a random order, so that a neighbour on the machine disturbs all contenders or none; medians
//! over rounds count, and the spread is told.
//!
//! A defence is a [`contender::Contender`], what is measured is a [`work::Work`]; neither knows of the other.

mod answer_cost;
mod background_flood;
mod carry;
mod compare_options;
mod connect_time;
mod connection_rate;
mod contender;
mod cpu_time;
mod defence;
mod defences;
mod dial;
mod flood_sweep;
mod kernel_counters;
mod memory_use;
mod netns_lab;
mod process;
mod progress;
mod result;
mod results_markdown;
mod spare_veth;
mod work;

use std::fs::File;
use std::io::{Write as _, stdout};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};

pub(crate) use self::background_flood::{Flooded, Rate};
use self::compare_options::CompareOptions;
pub(crate) use self::contender::Contender;
pub(crate) use self::cpu_time::{BUSY, SOFTIRQ, nanoseconds};
use self::defence::Started;
use self::netns_lab::{Lab, Programs};
pub(crate) use self::process::Process;
use self::progress::print_progress;
use self::result::{Results, Turn};
use self::work::{Stand, Work};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::order::Order;

/// What is compared.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// How long connections take to be established and to be answered, idle and under a flood of SYNs
    Connect(Box<connect_time::Options>),
    /// What it costs to answer SYNs, and to refuse ACKs that belong to nothing
    Answer(Box<answer_cost::Options>),
    /// What becomes of connections while a flood into the same receive queue grows
    Sweep(Box<flood_sweep::Options>),
    /// How many connections a second can be made, and what each costs
    Rate(Box<connection_rate::Options>),
    /// How much established connections carry, and what a packet costs
    Carry(Box<carry::Options>),
}

/// A comparison as `bench compare` is told of it.
#[derive(Parser)]
#[command(name = "bench compare", no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Compares as a command line says: what follows `bench compare`.
///
/// # Errors
/// Those of [`run`], or a line that makes no sense.
pub(crate) fn run_line(words: &[String]) -> Result<()> {
    let line = Line::try_parse_from(words)?;
    run(&line.command)
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
        Command::Sweep(options) => compare(&options.compare, &options.work()?),
        Command::Carry(options) => compare(&options.compare, &options.work()),
        Command::Rate(options) => compare(&options.compare, &options.work()?),
    }
}

fn compare(options: &CompareOptions, work: &dyn Work) -> Result<()> {
    let programs = Programs::find(options.synward.as_deref(), &options.lab)?;
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("no random seed: give one with --seed")?,
    };
    let contenders = match options.contenders.as_slice() {
        [] => Contender::suited(work.workload()),
        some => some.to_vec(),
    };
    for contender in &contenders {
        ensure!(
            contender.suits(work.workload()),
            "{contender} is no contender here: it carries no connection; leave it out of --contenders"
        );
    }
    let mut output = File::create(&options.output)
        .with_context(|| format!("{} cannot be written", options.output.display()))?;
    let interrupt = Interrupt::new()?;
    let mut results = Results::new(Machine::here(&options.lab), work, seed, options.rounds);
    let mut order = Order::new(seed);
    let mut sittings: Vec<_> = contenders
        .iter()
        .flat_map(|contender| sittings(*contender, work))
        .collect();
    let runner = Runner {
        programs: &programs,
        lab_name: &options.lab_name,
        work,
        interrupt: &interrupt,
    };
    for round in 0..options.rounds {
        order.shuffle(&mut sittings);
        for sitting in &sittings {
            if interrupt.requested() {
                break;
            }
            if results.is_skipped(sitting.contender) {
                continue;
            }
            let heading = format!("round {} of {}: ", round + 1, options.rounds);
            runner.sit(sitting, &heading, |case, turn| {
                results.add(round, sitting.contender, case, turn);
            });
        }
    }
    serde_json::to_writer_pretty(&mut output, &results)?;
    writeln!(output)?;
    write!(stdout(), "{}", results_markdown::markdown(&results, work))?;
    ensure!(!interrupt.requested(), "interrupted");
    match results.failed() {
        0 => Ok(()),
        failed => bail!(
            "{failed} turns failed, see above and in {}",
            options.output.display()
        ),
    }
}

/// Cases that one contender goes through in one lab, in this order.
struct Sitting {
    contender: Contender,
    cases: Vec<usize>,
}

/// All cases of a contender: together where that is sound, or each for itself.
fn sittings(contender: Contender, work: &dyn Work) -> Vec<Sitting> {
    let cases = (0..work.cases().len()).filter(|case| contender.meets(work.need(*case)));
    let sitting = |cases| Sitting { contender, cases };
    match work.shares_lab() && contender.forgets_floods() {
        true => vec![sitting(cases.collect())],
        false => cases.map(|case| sitting(vec![case])).collect(),
    }
}

/// What every sitting needs.
struct Runner<'a> {
    programs: &'a Programs,
    lab_name: &'a str,
    work: &'a dyn Work,
    interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Goes through the cases of a sitting; after a failure, through the rest in a new lab.
    fn sit(&self, sitting: &Sitting, heading: &str, mut done: impl FnMut(usize, Result<Turn>)) {
        let contender = sitting.contender;
        let mut left = &sitting.cases[..];
        while let Some(first) = left.first() {
            let mut next = *first;
            let result = self.in_lab(sitting.contender, left, |case, begun| {
                next = case;
                match begun {
                    None => print_progress(&format!(
                        "{heading}{contender}, {}",
                        self.work.cases()[case]
                    )),
                    Some(turn) => {
                        left = &left[1..];
                        done(case, Ok(turn));
                    }
                }
            });
            // What an interruption broke is no result.
            if self.interrupt.requested() {
                return;
            }
            match result {
                Ok(None) => {}
                Ok(Some(reason)) => return done(next, Ok(Turn::Skipped(reason))),
                Err(error) => {
                    print_progress(&format!(
                        "{contender}, {}: {error:#}",
                        self.work.cases()[next]
                    ));
                    done(next, Err(error));
                    left = &left[1..];
                }
            }
        }
    }

    /// Goes through `cases` in one lab; `tell` hears of each before (`None`) and after. Gives why there is no such
    /// contender here, if so.
    fn in_lab(
        &self,
        contender: Contender,
        cases: &[usize],
        mut tell: impl FnMut(usize, Option<Turn>),
    ) -> Result<Option<String>> {
        if let Some(first) = cases.first() {
            tell(*first, None);
        }
        let site = self.work.site();
        let lab = Lab::up(
            self.programs,
            self.lab_name,
            contender.path(site),
            site,
            self.interrupt,
        )?;
        let _beside = self.work.prepare(&lab)?;
        let mut defence = defences::build(contender);
        if let Started::Unavailable(reason) =
            defence.start(&lab).context("starting the defence failed")?
        {
            return Ok(Some(reason));
        }
        let mut connections = 0;
        for (number, case) in cases.iter().enumerate() {
            if number > 0 {
                tell(*case, None);
            }
            let measured = self.work.measure(
                *case,
                &Stand {
                    lab: &lab,
                    contender,
                    defence: &*defence,
                },
            )?;
            connections += measured.connections;
            // Figures of a defence that was not in the way would be somebody else's.
            if let Some(carried) = defence.carried(&lab)? {
                ensure!(
                    carried as f64 >= 0.9 * connections as f64,
                    "{contender} had to do with {carried} connections of {connections}"
                );
            }
            tell(*case, Some(Turn::Measured(measured.figures)));
        }
        Ok(None)
    }
}

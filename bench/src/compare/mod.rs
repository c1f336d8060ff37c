//! `bench compare`: the same workload behind each of several SYN defences, in one run.
//!
//! Every turn (one contender, one case of the workload) gets its own lab, freshly built and removed afterwards, so that
//! nothing of one turn affects the next: no half-open connection, no TIME_WAIT, no warm cache. If a contender keeps no
//! state of a flood, the cases of some workloads follow each other in one lab. Each round runs all turns in a random
//! order, so that a neighbour on the machine disturbs all contenders alike. Medians over the rounds are reported, with
//! their spread.
//!
//! A defence is a [`contender::Contender`] and a [`defence::Defence`], a workload is a [`work::Work`]; neither depends
//! on the other.

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
use self::work::{TestBed, Work};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::order::Order;

/// The comparison to run.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measures how long connections take until established and until answered, idle and under a SYN flood
    Connect(Box<connect_time::Options>),
    /// Measures the cost of answering SYNs, and of refusing ACKs that match no flow
    Answer(Box<answer_cost::Options>),
    /// Measures connections while a flood into the same receive queue grows
    Sweep(Box<flood_sweep::Options>),
    /// Measures how many connections per second are possible, and what each costs
    Rate(Box<connection_rate::Options>),
    /// Measures how much established connections carry, and what a packet costs
    Carry(Box<carry::Options>),
}

/// The command line of `bench compare`.
#[derive(Parser)]
#[command(name = "bench compare", no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Runs a comparison, given the words after `bench compare`.
///
/// # Errors
/// Those of [`run`], or invalid arguments.
pub(crate) fn run_line(words: &[String]) -> Result<()> {
    let line = Line::try_parse_from(words)?;
    run(&line.command)
}

/// Compares, and prints a table in Markdown.
///
/// # Errors
/// A missing program, a refusal of the kernel, an interruption, or failed turns. The file has the results up to then.
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
            "{contender} cannot be compared here: it carries no connection; remove it from --contenders"
        );
        ensure!(
            options.contenders.is_empty() || cases_of(*contender, work).next().is_some(),
            "{contender} has no case here; remove it from --contenders"
        );
    }
    let mut output = File::create(&options.output)
        .with_context(|| format!("{} cannot be written", options.output.display()))?;
    let interrupt = Interrupt::new()?;
    let mut results = Results::new(Machine::here(&options.lab), work, seed, options.rounds);
    let mut order = Order::new(seed);
    let mut lab_sessions: Vec<_> = contenders
        .iter()
        .flat_map(|contender| lab_sessions(*contender, work))
        .collect();
    let runner = Runner {
        programs: &programs,
        lab_name: &options.lab_name,
        work,
        interrupt: &interrupt,
    };
    for round in 0..options.rounds {
        order.shuffle(&mut lab_sessions);
        for session in &lab_sessions {
            if interrupt.requested() {
                break;
            }
            if results.is_skipped(session.contender) {
                continue;
            }
            let heading = format!("round {} of {}: ", round + 1, options.rounds);
            runner.run_session(session, &heading, |case, turn| {
                results.add(round, session.contender, case, turn);
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

/// Cases that one contender runs in one lab, in this order.
struct LabSession {
    contender: Contender,
    cases: Vec<usize>,
}

/// All cases of a contender: together if it keeps no state, or each by itself.
fn lab_sessions(contender: Contender, work: &dyn Work) -> Vec<LabSession> {
    let cases = cases_of(contender, work);
    let session = |cases| LabSession { contender, cases };
    match work.shares_lab() && contender.forgets_floods() {
        true => vec![session(cases.collect())],
        false => cases.map(|case| session(vec![case])).collect(),
    }
}

/// The cases whose needs a contender meets.
fn cases_of(contender: Contender, work: &dyn Work) -> impl Iterator<Item = usize> {
    (0..work.cases().len()).filter(move |case| contender.meets(work.need(*case)))
}

/// What every session needs.
struct Runner<'a> {
    programs: &'a Programs,
    lab_name: &'a str,
    work: &'a dyn Work,
    interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Runs the cases of a session; after a failure, the rest in a new lab.
    fn run_session(
        &self,
        session: &LabSession,
        heading: &str,
        mut done: impl FnMut(usize, Result<Turn>),
    ) {
        let contender = session.contender;
        let mut left = &session.cases[..];
        while let Some(first) = left.first() {
            let mut next = *first;
            let result = self.in_lab(session.contender, left, |case, begun| {
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
            // A turn that was interrupted is no result.
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

    /// Runs `cases` in one lab; calls `progress` before each case (`None`) and after it. Returns the reason if the
    /// contender is not available here.
    fn in_lab(
        &self,
        contender: Contender,
        cases: &[usize],
        mut progress: impl FnMut(usize, Option<Turn>),
    ) -> Result<Option<String>> {
        if let Some(first) = cases.first() {
            progress(*first, None);
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
                progress(*case, None);
            }
            let measured = self.work.measure(
                *case,
                &TestBed {
                    lab: &lab,
                    contender,
                    defence: &*defence,
                },
            )?;
            connections += measured.connections;
            // If connections bypassed the defence, the figures would not be its own.
            if let Some(carried) = defence.carried(&lab)? {
                ensure!(
                    carried as f64 >= 0.9 * connections as f64,
                    "{contender} carried {carried} connections of {connections}"
                );
            }
            progress(*case, Some(Turn::Measured(measured.figures)));
        }
        Ok(None)
    }
}

//! The command line of `bench report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::compare::Contender;

/// Command line of `bench report`.
#[derive(Args)]
pub(crate) struct Options {
    /// Where results are, and where the page goes
    #[arg(long, value_name = "FOLDER", default_value = "bench/results")]
    pub(super) folder: PathBuf,
    /// Make all comparisons first; without it, the page is made of the results that are there
    #[arg(long)]
    pub(super) run: bool,
    /// Rounds of each comparison; their median counts
    #[arg(long, value_name = "N", default_value = "5", requires = "run")]
    pub(super) rounds: u16,
    /// Moments instead of seconds: to see that it works
    #[arg(long, requires = "run")]
    pub(super) quick: bool,
    /// Only these, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', requires = "run")]
    pub(super) works: Vec<ReportWork>,
    /// Which defences, separated by commas (default: all)
    #[arg(long, value_enum, value_delimiter = ',', requires = "run")]
    pub(super) contenders: Vec<Contender>,
    /// The appliance's program (default: `synward` beside this program)
    #[arg(long, value_name = "PATH", requires = "run")]
    pub(super) synward: Option<PathBuf>,
    /// The program that builds labs
    #[arg(long, value_name = "PATH", default_value = "deploy/lab")]
    pub(super) lab: PathBuf,
    /// Name of the lab, 1 to 16 of a-z and 0-9; an old one of that name is removed
    #[arg(long, value_name = "NAME", default_value_t = format!("report{}", std::process::id()))]
    pub(super) lab_name: String,
}

/// A comparison of the report.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum ReportWork {
    /// Cost of answers and refusals
    Answer,
    /// Connections under a growing flood
    Sweep,
    /// Connections a second
    Rate,
    /// Established connections
    Carry,
    /// A worker's decisions, without a network
    Engine,
}

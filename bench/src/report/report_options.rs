//! The command line of `bench report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::compare::Contender;

/// Command line of `bench report`.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the results and of the page
    #[arg(long, value_name = "FOLDER", default_value = "bench/results")]
    pub(super) folder: PathBuf,
    /// Run all comparisons first; without it, the page is made from stored results
    #[arg(long)]
    pub(super) run: bool,
    /// Rounds of each comparison; medians are reported
    #[arg(long, value_name = "N", default_value = "5", requires = "run")]
    pub(super) rounds: u16,
    /// Very short measurements, to check that everything works
    #[arg(long, requires = "run")]
    pub(super) quick: bool,
    /// Only these comparisons, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', requires = "run")]
    pub(super) works: Vec<ReportWork>,
    /// Defences, separated by commas (default: all)
    #[arg(long, value_enum, value_delimiter = ',', requires = "run")]
    pub(super) contenders: Vec<Contender>,
    /// The appliance's program (default: `synward` beside this program)
    #[arg(long, value_name = "PATH")]
    pub(super) synward: Option<PathBuf>,
    /// The program that builds labs
    #[arg(long, value_name = "PATH", default_value = "deploy/lab")]
    pub(super) lab: PathBuf,
    /// Name of the lab, 1 to 16 characters of a-z and 0-9; an existing lab of this name is removed
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
    /// Connections per second
    Rate,
    /// Established connections
    Carry,
    /// A worker's decisions, without a network
    Engine,
}

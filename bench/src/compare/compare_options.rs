//! Options that every `bench compare` subcommand takes.

use std::path::PathBuf;

use clap::Args;

use super::contender::Contender;

/// What every comparison takes from the command line.
#[derive(Args)]
#[group(skip)] // it is part of others of its name
pub(crate) struct CompareOptions {
    /// Which defences, separated by commas (default: all)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) contenders: Vec<Contender>,
    /// Rounds; their median counts
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=101))]
    pub(super) rounds: u16,
    /// Decides the order of the turns (default: random; it is in the results)
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Where all results go, as JSON
    #[arg(long, value_name = "FILE", default_value = "compare.json")]
    pub(super) output: PathBuf,
    /// The appliance's program (default: `synward` beside this program)
    #[arg(long, value_name = "PATH")]
    pub(super) synward: Option<PathBuf>,
    /// The program that builds labs
    #[arg(long, value_name = "PATH", default_value = "deploy/lab")]
    pub(super) lab: PathBuf,
    /// Name of the lab, 1 to 16 of a-z and 0-9; an old one of that name is removed
    #[arg(long, value_name = "NAME", default_value_t = format!("compare{}", std::process::id()))]
    pub(super) lab_name: String,
}

//! Options that every `bench compare` subcommand takes.

use std::path::PathBuf;

use clap::Args;

use super::contender::Contender;

/// Options that every comparison has.
#[derive(Args)]
#[group(skip)] // it is part of others of its name
pub(crate) struct CompareOptions {
    /// Defences, separated by commas (default: all)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) contenders: Vec<Contender>,
    /// Rounds; medians are reported
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=101))]
    pub(super) rounds: u16,
    /// Seed of the order of turns (default: random; the results record it)
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// File for all results, as JSON
    #[arg(long, value_name = "FILE", default_value = "compare.json")]
    pub(super) output: PathBuf,
    /// The appliance's program (default: `synward` beside this program)
    #[arg(long, value_name = "PATH")]
    pub(super) synward: Option<PathBuf>,
    /// The program that builds labs
    #[arg(long, value_name = "PATH", default_value = "deploy/lab")]
    pub(super) lab: PathBuf,
    /// Name of the lab, 1 to 16 characters of a-z and 0-9; an existing lab of this name is removed
    #[arg(long, value_name = "NAME", default_value_t = format!("compare{}", std::process::id()))]
    pub(super) lab_name: String,
}

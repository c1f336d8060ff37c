//! `bench two-machines`: a defence between real NICs. One machine generates, the other is under test, and both write a file.
//!
//! A flood alone would not tell what it costs that zero-copy queues copy whatever XDP passes or redirects: so there are data
//! beside it. Which of the two machines' figures belong together is told by the time of day.
//!
//! | file | idea |
//! |---|---|
//! | [`generate`] | on one machine: a flood, connections and transfers at once, at each rate |
//! | [`traffic`] | the programs that make them |
//! | [`transfer`] | a file loaded, or stored, over and over |
//! | [`observe`] | on the other: samples, one a second |
//! | [`counter_sample`] | what a sample counts: CPUs, the NIC, synward itself |
//! | [`output_file`] | the files |
//! | [`join`] | turns of the one with samples of the other |
//! | [`two_machines_report`] | the Markdown |

mod counter_sample;
mod generate;
mod generate_options;
mod join;
mod observe;
mod output_file;
mod traffic;
mod transfer;
mod two_machines_report;

use anyhow::Result;
use clap::Subcommand;

/// What is to be done, and on which machine.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// On the generator: floods of several rates, each with connections and transfers beside it
    Generate(Box<generate_options::Options>),
    /// On the device under test: what its CPUs, its NIC and synward do, each second
    Observe(observe::Options),
    /// Joins the files of both into a table
    Report(two_machines_report::Options),
    /// Loads or stores one file of a web server over and over: what `generate` does beside its flood
    Transfer(transfer::Options),
}

/// Does it.
///
/// # Errors
/// Those of each.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Generate(options) => generate::run(options),
        Command::Observe(options) => observe::run(options),
        Command::Report(options) => two_machines_report::run(options),
        Command::Transfer(options) => transfer::run(options),
    }
}

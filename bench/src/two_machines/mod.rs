//! `bench two-machines`: measures a defence on physical NICs. One machine generates load, the other is under test; both
//! write a file.
//!
//! Zero-copy queues copy the frames that XDP passes or redirects. A flood alone does not show this cost, so data are
//! transferred at the same time. The figures of the two machines are joined by the time of day.
//!
//! | file | idea |
//! |---|---|
//! | [`generate`] | on the generator: a flood, connections and transfers at once, at each rate |
//! | [`traffic`] | the processes that make this traffic |
//! | [`transfer`] | loads or stores a file repeatedly |
//! | [`observe`] | on the device under test: one sample per second |
//! | [`counter_sample`] | what a sample counts: CPUs, the NIC, synward itself |
//! | [`output_file`] | the files |
//! | [`join`] | joins turns of the generator with samples of the observer |
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

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// On the generator: floods of several rates, each with connections and transfers at the same time
    Generate(Box<generate_options::Options>),
    /// On the device under test: samples its CPUs, its NIC and synward every second
    Observe(observe::Options),
    /// Joins the files of both into a table
    Report(two_machines_report::Options),
    /// Loads or stores one file of a web server repeatedly, as `generate` does during its floods
    Transfer(transfer::Options),
}

/// Runs a subcommand.
///
/// # Errors
/// Those of the subcommand.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Generate(options) => generate::run(options),
        Command::Observe(options) => observe::run(options),
        Command::Report(options) => two_machines_report::run(options),
        Command::Transfer(options) => transfer::run(options),
    }
}

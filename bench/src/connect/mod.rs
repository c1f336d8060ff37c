//! `bench connect`: opens TCP connections and measures how long each takes.
//!
//! Connections begin at a constant rate, independent of earlier ones (an open loop), and times count from when a
//! connection was due. A proxy's SYN-ACK says nothing about its server, so with `--data` the time until the first byte
//! of an answer is measured too.

mod attempt;
mod connect_options;
mod connection_report;
mod dialer;
mod http_request;
mod outcomes;
mod schedule;

use std::io::{Write as _, stdout};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use self::connect_options::Options;
pub(crate) use self::connection_report::{Percentiles, Report};
use self::dialer::Dialer;
use crate::cores::pin_to_core;
use crate::interrupt::Interrupt;

/// Makes the connections and prints the report. Failed connections are a result, not an error.
///
/// # Errors
/// No such core, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(core) = options.core {
        pin_to_core(core)?;
    }
    allow_many_files()?;
    let interrupt = Interrupt::new()?;
    let report = Dialer::new(options)?.run(&interrupt)?;
    match options.json {
        true => writeln!(stdout(), "{}", serde_json::to_string(&report)?)?,
        false => write!(stdout(), "{report}")?,
    }
    Ok(())
}

/// Raises the limit of open files to its maximum.
fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).context("raising the limit of open files failed")
}

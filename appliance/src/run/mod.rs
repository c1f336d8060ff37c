//! `synward run`: from the configuration to a serving appliance, and back.
//!
//! | file | idea |
//! |---|---|
//! | [`start`] | sockets, workers, and the order in which everything begins |
//! | [`control`] | the control thread: everything slow |
//! | [`profiles`] | what servers do with TCP options: asked at start, refined by every SYN-ACK |
//! | [`probe`] | how they are asked |
//! | [`view`] | the appliance as metrics and `status` show it |
#![forbid(unsafe_code)]

pub mod control;
pub mod probe;
pub mod profiles;
pub mod start;
pub mod view;

use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

/// Serves in the foreground until SIGTERM or SIGINT. Problems of the configuration are printed one a
/// line; any other error is returned and is one sentence.
///
/// # Errors
/// What keeps the appliance from starting; the system is then as it was.
pub fn run(file: &Path, control: Option<&Path>, keep_steering: bool) -> anyhow::Result<ExitCode> {
    let mut config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(control) = control {
        config.appliance.control = control.to_owned();
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (appliance, profiles) = start::start(config)?;
    control::serve(appliance, profiles, keep_steering)?;
    Ok(ExitCode::SUCCESS)
}

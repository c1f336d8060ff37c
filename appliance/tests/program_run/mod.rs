//! Runs the built program and keeps what it prints.

use std::process::{Command, Output};

/// What a run printed, and its exit code.
pub(crate) struct ProgramRun {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `synward` with these arguments.
pub(crate) fn run_synward(arguments: &[&str]) -> ProgramRun {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_synward"))
        .args(arguments)
        .output()
        .unwrap();
    ProgramRun {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

//! `synward tune`: runs the commands that `doctor` recommends for the interfaces of a configuration, and undoes them.
//!
//! It changes only what can be restored: offloads, channels, rings, RSS, MTU, interrupts, sysctls, the mount of the BPF file
//! system. What it found before is recorded in a file before each change.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | makes the changes and undoes them |
//! | `record` | the file with what was there before |
//! | `system` | reads settings and runs commands |
#![forbid(unsafe_code)]

mod apply;
mod record;
mod system;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;

use crate::config::Config;
use crate::doctor::{self, Finding, Status};
use apply::{Output, Wanted, apply, undo};
use record::Record;
use system::ThisMachine;

/// Where the record is kept.
pub const DEFAULT_RECORD: &str = "/var/lib/synward/tune.json";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Print the commands.
    DryRun,
    /// Print and run the commands.
    Apply,
    /// Undo what earlier runs changed.
    Undo,
}

/// Carries out a task. Prints commands, and comments with a `#`. Returns whether everything succeeded.
///
/// # Errors
/// This user may not change the machine, or the record cannot be read or written.
pub fn tune(
    task: Task,
    config: &Config,
    file: &Path,
    lines: &mut dyn Write,
) -> anyhow::Result<bool> {
    if task != Task::DryRun {
        anyhow::ensure!(
            rustix::process::geteuid().is_root(),
            "`tune` changes this machine: run it as root (`--dry-run` only prints the commands)"
        );
    }
    if task == Task::Undo && !record::folder(file).exists() {
        return nothing_to_undo(file, lines);
    }
    let _lock = match task {
        Task::DryRun => None,
        Task::Apply | Task::Undo => Some(record::lock(file)?),
    };
    let mut save = |new: &Record| new.save(file);
    let mut output = Output {
        lines,
        save: &mut save,
    };
    if task == Task::Undo {
        let mut recorded = Record::load(file)?;
        if recorded.entries.is_empty() {
            return nothing_to_undo(file, output.lines);
        }
        return Ok(undo(&mut recorded, &mut ThisMachine, &mut output)? == 0);
    }
    let findings = doctor::examine(Some(config));
    let wanted = wanted(&findings);
    if wanted.is_empty() {
        writeln!(output.lines, "# nothing to change")?;
    }
    let succeeded = match task {
        Task::DryRun => {
            for (_, change) in &wanted {
                writeln!(output.lines, "{change}")?;
            }
            true
        }
        Task::Apply | Task::Undo => {
            let mut recorded = Record::load(file)?;
            apply(&wanted, &mut recorded, &mut ThisMachine, &mut output)? == 0
        }
    };
    for left in left_to_you(&findings) {
        writeln!(output.lines, "{left}")?;
    }
    Ok(succeeded)
}

fn nothing_to_undo(file: &Path, lines: &mut dyn Write) -> anyhow::Result<bool> {
    let file = file.display();
    writeln!(lines, "# nothing to undo: {file} records no change")?;
    Ok(true)
}

/// The changes that findings ask for.
fn wanted(findings: &[Finding]) -> Vec<Wanted> {
    let changes = findings
        .iter()
        .filter(|finding| finding.status != Status::Ok);
    changes
        .filter_map(|finding| Some((finding.id, finding.change.clone()?)))
        .collect()
}

/// A comment for each finding that is not ok and that `tune` does not mend.
fn left_to_you(findings: &[Finding]) -> Vec<String> {
    let left = findings
        .iter()
        .filter(|finding| finding.status != Status::Ok && finding.change.is_none());
    left.map(|finding| {
        let subject = finding.interface.as_deref().or(finding.service.as_deref());
        let subject = subject.map_or_else(String::new, |subject| format!(" ({subject})"));
        let command = finding.command.as_deref();
        let command = command.map_or_else(String::new, |command| format!(": {command}"));
        format!(
            "# left to you: {}{subject}: {}{command}",
            finding.id, finding.what
        )
    })
    .collect()
}

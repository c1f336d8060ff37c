//! `synward tune`: runs the commands that `doctor` recommends for the interfaces of a configuration, and undoes them.
//!
//! It changes only what can be restored: offloads, channels, rings, RSS, MTU, interrupts, sysctls, the mount of the BPF file
//! system. What it found before is recorded in a file before each change.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | makes the changes and undoes them |
//! | `record`, `record_lock` | the file with what was there before; its lock |
//! | `system` | reads settings and runs commands |
#![forbid(unsafe_code)]

mod apply;
mod record;
mod record_lock;
mod system;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;

use crate::config::Config;
use crate::doctor::{self, Finding, Status};
use apply::{CANNOT_PRINT, Output, Wanted, apply, undo};
use record::Record;
use record_lock::Lock;
use system::ThisMachine;

/// Where the record is kept.
pub const DEFAULT_RECORD: &str = "/var/lib/synward/tune.json";

/// Runs the commands of doctor for a configuration, or only prints them (`dry_run`). Prints commands, and comments with a `#`.
/// Returns whether everything succeeded.
///
/// # Errors
/// This user may not change the machine, or the record cannot be read or written.
pub fn tune(
    config: &Config,
    dry_run: bool,
    file: &Path,
    lines: &mut dyn Write,
) -> anyhow::Result<bool> {
    let lock = match dry_run {
        true => None,
        false => {
            require_root()?;
            Some(record_lock::lock(file)?)
        }
    };
    let findings = doctor::examine(Some(config));
    let wanted = wanted(&findings);
    if wanted.is_empty() {
        print(lines, "# nothing to change")?;
    }
    let succeeded = match &lock {
        None => {
            for (_, change) in &wanted {
                print(lines, &change.to_string())?;
            }
            true
        }
        Some(lock) => {
            let mut recorded = Record::load(file)?;
            let mut save = |new: &Record| new.save(file);
            let mut output = Output {
                lines: &mut *lines,
                save: &mut save,
            };
            apply(&wanted, &mut recorded, &mut machine(lock)?, &mut output)? == 0
        }
    };
    for left in left_to_you(&findings) {
        print(lines, &left)?;
    }
    Ok(succeeded)
}

/// Restores what earlier runs changed. Prints and returns as [`tune`] does.
///
/// # Errors
/// As for [`tune`].
pub fn undo_all(file: &Path, lines: &mut dyn Write) -> anyhow::Result<bool> {
    require_root()?;
    // Before the lock, which cannot be made on a read-only file system.
    if !file.exists() {
        return nothing_to_undo(file, lines);
    }
    let lock = record_lock::lock_to_undo(file)?;
    let mut recorded = Record::load(file)?;
    if recorded.entries.is_empty() {
        return nothing_to_undo(file, lines);
    }
    let mut save = |new: &Record| new.save(file);
    let mut output = Output {
        lines,
        save: &mut save,
    };
    Ok(undo(&mut recorded, &mut machine(&lock)?, &mut output)? == 0)
}

fn require_root() -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "`tune` changes this machine: run it as root (`--dry-run` only prints the commands)"
    );
    Ok(())
}

fn machine(lock: &Lock) -> anyhow::Result<ThisMachine> {
    Ok(ThisMachine::new(lock.share()?))
}

fn print(lines: &mut dyn Write, line: &str) -> anyhow::Result<()> {
    writeln!(lines, "{line}").context(CANNOT_PRINT)
}

fn nothing_to_undo(file: &Path, lines: &mut dyn Write) -> anyhow::Result<bool> {
    let file = file.display();
    print(
        lines,
        &format!("# nothing to undo: {file} records no change"),
    )?;
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

//! Child processes.
//!
//! Each has its own process group: Ctrl-C at the terminal reaches this program only, which ends its children in order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt::Interrupt;

/// Polling interval.
const TICK: Duration = Duration::from_millis(5);

/// A running program; dropping it interrupts it and waits for its end.
pub(crate) struct Process<'a> {
    child: Child,
    name: String,
    log: PathBuf,
    interrupt: &'a Interrupt,
}

impl<'a> Process<'a> {
    /// Starts it with stdout and stderr going to a file.
    ///
    /// # Errors
    /// No such program, or the file cannot be made.
    pub(crate) fn start(
        command: &mut Command,
        name: &str,
        log: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let file =
            File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        Ok(Self {
            child,
            name: name.into(),
            log: log.into(),
            interrupt,
        })
    }

    /// Waits until it has succeeded, and returns its output.
    ///
    /// # Errors
    /// It fails, takes longer than `limit`, or this program is interrupted.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<String> {
        let status = self.wait(limit)?;
        let printed = self.printed();
        ensure!(
            status.success(),
            "{} failed ({status}): {}",
            self.name,
            last_lines(&printed)
        );
        Ok(printed)
    }

    /// Interrupts it as Ctrl-C does, waits until it has succeeded, and returns its output.
    ///
    /// # Errors
    /// As [`Process::finish`].
    pub(crate) fn interrupt(self, limit: Duration) -> Result<String> {
        self.signal(Signal::INT);
        self.finish(limit)
    }

    /// Its output so far.
    pub(super) fn printed(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Polls until `condition` holds, while the program runs.
    ///
    /// # Errors
    /// It ends, it takes longer than `limit`, the condition fails, or this program is interrupted.
    pub(super) fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !condition(self)? {
            if let Some(status) = self.child.try_wait()? {
                let printed = self.printed();
                bail!(
                    "{} ended ({status}) instead of: {what}: {}",
                    self.name,
                    last_lines(&printed)
                );
            }
            self.pause(what, deadline)?;
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.pause("it ends", deadline)?;
        }
    }

    fn pause(&self, what: &str, deadline: Instant) -> Result<()> {
        ensure!(!self.interrupt.requested(), "interrupted");
        ensure!(
            Instant::now() < deadline,
            "{}: not in time: {what}: {}",
            self.name,
            last_lines(&self.printed())
        );
        sleep(TICK);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(self.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    self.signal(Signal::KILL);
                    break;
                }
                sleep(TICK);
            }
            // The only error is that there is no process to wait for.
            let _ = self.child.wait();
        }
    }
}

/// The lines to quote of a program that failed.
fn last_lines(printed: &str) -> String {
    let lines: Vec<_> = printed.trim().lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, test: impl FnOnce(Process<'_>)) {
        let interrupt = Interrupt::new().unwrap();
        let log = std::env::temp_dir().join(format!(
            "synward-bench-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        test(Process::start(&mut command, "script", &log, &interrupt).unwrap());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn it_gives_what_a_program_prints() {
        shell("echo one; echo two >&2", |process| {
            assert_eq!(
                process.finish(Duration::from_secs(10)).unwrap(),
                "one\ntwo\n"
            );
        });
    }

    #[test]
    fn a_failure_quotes_the_program() {
        shell("echo no such thing; exit 3", |process| {
            let error = process
                .finish(Duration::from_secs(10))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("exit status: 3") && error.contains("no such thing"),
                "{error}"
            );
        });
        shell("exec sleep 60", |process| {
            let error = process
                .finish(Duration::from_millis(20))
                .unwrap_err()
                .to_string();
            assert!(error.contains("not in time"), "{error}");
        });
    }

    #[test]
    fn it_waits_for_a_condition_or_for_the_end() {
        shell("echo ready; exec sleep 60", |mut process| {
            let ready = |process: &Process<'_>| Ok(process.printed().contains("ready"));
            process
                .until("ready", Duration::from_secs(10), ready)
                .unwrap();
        });
        shell("echo sorry", |mut process| {
            let error = process
                .until("ready", Duration::from_secs(10), |_| Ok(false))
                .unwrap_err()
                .to_string();
            assert!(error.contains("instead of: ready: sorry"), "{error}");
        });
    }
}

//! One run of a program of `on_event`: bounded in time, with all that it starts, and in what it prints.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::event::Event;

/// Time between two looks whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);
/// The same for what it has started, which takes a look at every process.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// Bytes of what a program prints that are kept.
const KEPT: usize = 1_000;
/// Bytes that are read at a look. Whoever prints more waits.
const READ: usize = 1 << 14;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("it cannot be started: {0}; make sure that the file exists and is executable")]
    Start(io::Error),
    #[error("it exited with {0}")]
    Failed(ExitStatus),
    #[error("it did not end within {} s and was killed", .0.as_secs())]
    Killed(Duration),
    #[error("what it has started did not end within {} s and was killed", .0.as_secs())]
    Left(Duration),
}

/// Runs a program, gives it the event as a line of JSON, and waits until it has ended with all of its process group. Also returns
/// the begin of what it has printed on its standard error.
pub(super) fn run_command(
    command: &[String],
    event: &Event,
    limit: Duration,
) -> (Result<(), CommandError>, String) {
    let Some((program, arguments)) = command.split_first() else {
        return (Ok(()), String::new());
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return (Err(CommandError::Start(error)), String::new()),
    };
    if let Some(mut input) = child.stdin.take() {
        // An event is far smaller than a pipe's buffer. A program need not read it.
        let _ = serde_json::to_writer(&mut input, event).map(|()| input.write_all(b"\n"));
    }
    let mut printed = Printed::new(child.stderr.take());
    let ended = wait(&mut child, &mut printed, limit);
    (ended, printed.text())
}

/// Waits for the program, then for what it has left in its process group.
fn wait(child: &mut Child, printed: &mut Printed, limit: Duration) -> Result<(), CommandError> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let began = Instant::now();
    let mut status = None;
    loop {
        // It is looked at before the program's end is known, so that nothing is missed.
        let is_over = began.elapsed() >= limit;
        if status.is_none() {
            status = child.try_wait().transpose();
        }
        printed.read();
        match &status {
            // While the group has members, its number is given to no other process.
            Some(Ok(status)) if !group.is_some_and(has_members) => {
                return match status.success() {
                    true => Ok(()),
                    false => Err(CommandError::Failed(*status)),
                };
            }
            Some(Ok(_)) if is_over => {
                kill(group);
                return Err(CommandError::Left(limit));
            }
            None if !is_over => thread::sleep(LOOK),
            Some(Ok(_)) => thread::sleep(LOOK_AFTER),
            None | Some(Err(_)) => {
                kill(group);
                let _ = child.kill();
                let _ = child.wait();
                return Err(CommandError::Killed(limit));
            }
        }
    }
}

/// Whether a process of the group runs. Ended ones that nobody waits for do not count: in a container there may be no init.
fn has_members(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    processes.flatten().any(|process| {
        let stat = fs::read_to_string(process.path().join("stat"));
        stat.is_ok_and(|stat| runs_in(&stat, group))
    })
}

/// Whether the line of /proc/PID/stat (proc_pid_stat(5)) is that of a process of the group that has not ended.
fn runs_in(stat: &str, group: Pid) -> bool {
    // The program's name may hold anything.
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = rest.split(' ');
    let (state, _parent) = (fields.next(), fields.next());
    !matches!(state, Some("Z" | "X"))
        && fields.next().and_then(|number| number.parse().ok())
            == Some(group.as_raw_nonzero().get())
}

fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// What a program prints. Only the begin is kept.
struct Printed {
    pipe: Option<ChildStderr>,
    begin: Vec<u8>,
}

impl Printed {
    fn new(pipe: Option<ChildStderr>) -> Self {
        // A pipe that would block is not read.
        let pipe = pipe.filter(|pipe| fcntl_setfl(pipe.as_fd(), OFlags::NONBLOCK).is_ok());
        Self {
            pipe,
            begin: Vec::new(),
        }
    }

    /// Reads what is there, at most [`READ`] bytes.
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut bytes = [0; READ];
        match pipe.read(&mut bytes) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let room = KEPT - self.begin.len();
                self.begin.extend_from_slice(&bytes[..length.min(room)]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }

    fn text(mut self) -> String {
        self.read();
        String::from_utf8_lossy(&self.begin).trim().to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::events::EventKind;

    fn run(script: &str, limit: u64) -> (Result<(), String>, String) {
        run_words(&["/bin/sh", "-c", script], limit)
    }

    fn run_words(words: &[&str], limit: u64) -> (Result<(), String>, String) {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let event = Event::new(EventKind::AttackBegin, Some("web"), "");
        let (ended, said) = run_command(&words, &event, Duration::from_millis(limit));
        (ended.map_err(|error| error.to_string()), said)
    }

    /// Limits of [`run`], ms. On a busy machine a shell may need more than the first.
    const LIMITS: [u64; 3] = [200, 2_000, 20_000];

    #[test]
    fn failures_are_named() {
        assert_eq!(run("exit 0", 60_000), (Ok(()), String::new()));
        let failed = "it exited with exit status: 3";
        let (ended, said) = run("echo no >&2; echo mail >&2; exit 3", 60_000);
        assert_eq!((ended, said.as_str()), (Err(failed.into()), "no\nmail"));
        let missing = run_words(&["/nonexistent/notify"], 60_000).0.unwrap_err();
        assert!(
            missing.starts_with("it cannot be started: No such file"),
            "{missing}"
        );
        let killed = "it did not end within 0 s and was killed";
        assert_eq!(run("sleep 600 & wait", 100).0, Err(killed.into()));
    }

    #[test]
    fn what_a_program_leaves_behind_has_its_time_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", file.display());
        let is_left = |limit: u64| {
            let seconds = limit / 1000;
            let left = format!("what it has started did not end within {seconds} s and was killed");
            run(&script, limit).0 == Err(left)
        };
        assert!(LIMITS.into_iter().any(is_left));
        let pid = fs::read_to_string(file).unwrap();
        let runs = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z"))
        };
        let began = Instant::now();
        while runs() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{pid} still runs"
            );
            thread::sleep(LOOK);
        }
        let short = run("(sleep 0.1; echo done >&2) & exit 0", 60_000);
        assert_eq!(short, (Ok(()), "done".into()));
    }

    #[test]
    fn who_has_ended_is_no_member() {
        let group = Pid::from_raw(70).unwrap();
        assert!(runs_in("71 (a) (b) S 1 70 70 0 -1", group));
        assert!(!runs_in("71 (sleep) Z 1 70 70 0 -1", group));
        assert!(!runs_in("71 (sleep) S 1 7 70 0 -1", group));
        assert!(!runs_in("", group));
    }

    #[test]
    fn endless_output_is_read_slowly_and_only_its_start_is_kept() {
        let printed = |limit| {
            let (ended, said) = run("exec yes >&2", limit);
            let killed = format!("it did not end within {} s and was killed", limit / 1000);
            assert_eq!(ended, Err(killed));
            said
        };
        let begin = "y\n".repeat(KEPT / 2);
        assert!(
            LIMITS
                .into_iter()
                .any(|limit| printed(limit) == begin.trim())
        );
    }
}

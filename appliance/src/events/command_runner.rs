//! The process that runs the programs of `on_event`.
//!
//! After the start no thread of the appliance can start a program, and none shall: whoever took one over by a bug could
//! start any. So the appliance starts this process before it confines itself, and tells it once which programs there are.
//! Later it only sends events and the number of the program that gets them.
//!
//! Each line of the socket is JSON: first the programs with their arguments, then `Job`s. At its end the process ends.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TrySendError, bounded};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::observe::LogLimit;

/// A program that runs for longer is killed, with its process group.
const LIMIT: Duration = Duration::from_secs(10);
/// Programs that run at a time.
const AT_A_TIME: usize = 4;
/// Events that wait for a program to end. Further ones are left out.
const WAITING: usize = 64;
/// Time between two looks whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The programs, each with its arguments.
pub(super) type Commands = Vec<Vec<String>>;

/// An event for a program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The program's number.
    pub(super) command: usize,
    /// What it reads on its standard input.
    pub(super) event: Event,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("it cannot be started: {0}; make sure that the file exists and is executable")]
    Start(io::Error),
    #[error("it exited with {0}")]
    Failed(ExitStatus),
    #[error("it did not end within {} s and was killed", .0.as_secs())]
    Killed(Duration),
}

/// Runs programs for the events of `input` until its end.
///
/// # Errors
/// `input` cannot be read, or does not begin with the programs.
pub fn run_event_commands(input: impl Read) -> io::Result<()> {
    let mut lines = BufReader::new(input).lines();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let commands: Arc<Commands> = Arc::new(serde_json::from_str(&first?)?);
    let (sender, receiver) = bounded(WAITING);
    let ended = Arc::new(OnceLock::new());
    let threads: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let (commands, receiver, ended) =
                (Arc::clone(&commands), receiver.clone(), Arc::clone(&ended));
            thread::spawn(move || run_jobs(&commands, &receiver, &ended))
        })
        .collect();
    let mut limit = LogLimit::default();
    for line in lines {
        let job: Job = serde_json::from_str(&line?)?;
        if let Err(TrySendError::Full(job)) = sender.try_send(job)
            && let Some(others) = limit.pass()
        {
            let event = &job.event.message;
            tracing::warn!(
                event,
                others,
                "no program of on_event gets the event: {WAITING} others wait"
            );
        }
    }
    drop(sender);
    // The appliance has ended; nobody waits for what is left.
    let _ = ended.set(Instant::now());
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn run_jobs(commands: &Commands, jobs: &Receiver<Job>, ended: &OnceLock<Instant>) {
    let mut limit = LogLimit::default();
    for job in jobs {
        let Some(command) = commands.get(job.command) else {
            continue;
        };
        if ended.get().is_some_and(|at| at.elapsed() > LIMIT) {
            return;
        }
        if let Err(error) = run_command(command, &job.event, LIMIT)
            && let Some(others) = limit.pass()
        {
            let program = command.first();
            tracing::warn!(program, others, "the program of on_event failed: {error}");
        }
    }
}

/// Runs a program, gives it the event as a line of JSON, and waits for its end.
fn run_command(command: &[String], event: &Event, limit: Duration) -> Result<(), CommandError> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(CommandError::Start)?;
    if let Some(mut input) = child.stdin.take() {
        // An event is far smaller than a pipe's buffer. A program that reads nothing is none of our business.
        let _ = serde_json::to_writer(&mut input, event).map(|()| input.write_all(b"\n"));
    }
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(CommandError::Failed(status)),
            Ok(None) if began.elapsed() < limit => thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                kill(&mut child);
                return Err(CommandError::Killed(limit));
            }
        }
    }
}

fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::events::EventKind;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn event(message: &str) -> Event {
        Event::new(EventKind::AttackBegin, Some("web"), message)
    }

    #[test]
    fn programs_read_their_events() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let append = |path: &std::path::Path| shell(&format!("cat >> {}", path.display()));
        let mut input = serde_json::to_string(&vec![append(&one), append(&two)]).unwrap();
        for (command, message) in [(0, "first"), (1, "second"), (7, "for nobody")] {
            let event = event(message);
            input += &format!(
                "\n{}",
                serde_json::to_string(&Job { command, event }).unwrap()
            );
        }
        run_event_commands(input.as_bytes()).unwrap();
        let read = |path| -> Event {
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        assert_eq!(read(one).message, "first");
        assert_eq!(read(two).message, "second");
    }

    #[test]
    fn what_is_not_for_this_process_is_an_error() {
        run_event_commands(&b""[..]).unwrap();
        assert!(run_event_commands(&b"hello\n"[..]).is_err());
        assert!(run_event_commands(&b"[[\"/bin/true\"]]\nhello\n"[..]).is_err());
    }

    #[test]
    fn failures_are_named() {
        let run = |command: &[String], limit| {
            let done = run_command(command, &event(""), Duration::from_millis(limit));
            done.map_err(|error| error.to_string())
        };
        assert_eq!(run(&shell("exit 0"), 60_000), Ok(()));
        assert_eq!(
            run(&shell("exit 3"), 60_000),
            Err("it exited with exit status: 3".into())
        );
        let missing = run(&["/nonexistent/notify".into()], 60_000).unwrap_err();
        assert!(
            missing.starts_with("it cannot be started: No such file"),
            "{missing}"
        );
        // Also what it has started itself.
        let killed = run(&shell("sleep 600 & wait"), 100);
        assert_eq!(
            killed,
            Err("it did not end within 0 s and was killed".into())
        );
    }
}

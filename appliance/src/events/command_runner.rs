//! The process that runs the programs of `on_event`.
//!
//! After the start no thread of the appliance can start a program: an attacker who took one over by a bug could start any.
//! The appliance therefore starts this process before it confines itself, and sends it the list of programs once.
//! Later it only sends events and the number of the program that gets them.
//!
//! Each line of the socket is JSON: first the programs with their arguments, then `Job`s. At its end the process ends.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TrySendError, bounded};
use serde::{Deserialize, Serialize};

use super::command_run::{CommandError, run_command};
use super::event::Event;
use crate::observe::LogLimit;

/// A program that runs for longer is killed, with what it has started.
const LIMIT: Duration = Duration::from_secs(10);
/// Programs that run at a time.
const AT_A_TIME: usize = 4;
/// Events that wait for a program to end. Further ones are left out.
const WAITING: usize = 64;

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
    let mut limits = Limits::default();
    for job in jobs {
        let Some(command) = commands.get(job.command) else {
            continue;
        };
        if ended.get().is_some_and(|at| at.elapsed() > LIMIT) {
            return;
        }
        let (ended, said) = run_command(command, &job.event, LIMIT);
        log_run(&mut limits, command, &ended, &said);
    }
}

/// The limits of what is logged of runs: of programs that print something, and of those that fail.
#[derive(Debug, Default)]
struct Limits {
    printed: LogLimit,
    failed: LogLimit,
}

impl Limits {
    fn of(&mut self, ended: &Result<(), CommandError>) -> &mut LogLimit {
        match ended {
            Ok(()) => &mut self.printed,
            Err(_) => &mut self.failed,
        }
    }
}

/// Logs what went wrong, and what the program has printed on its standard error.
fn log_run(limits: &mut Limits, command: &[String], ended: &Result<(), CommandError>, said: &str) {
    if ended.is_ok() && said.is_empty() {
        return;
    }
    let Some(others) = limits.of(ended).pass() else {
        return;
    };
    let program = command.first();
    let said = (!said.is_empty()).then_some(said);
    match ended {
        Ok(()) => tracing::info!(
            program,
            said,
            others,
            "the program of on_event wrote to standard error"
        ),
        Err(error) => tracing::warn!(
            program,
            said,
            others,
            "the program of on_event failed: {error}"
        ),
    }
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
    fn what_programs_print_hides_no_failure() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let failed = Err(CommandError::Killed(LIMIT));
        assert_eq!(limits.of(&Ok(())).pass_at(now), Some(0));
        assert_eq!(limits.of(&Ok(())).pass_at(now), None);
        assert_eq!(limits.of(&failed).pass_at(now), Some(0));
        assert_eq!(limits.of(&failed).pass_at(now), None);
    }

    #[test]
    fn what_is_not_for_this_process_is_an_error() {
        run_event_commands(&b""[..]).unwrap();
        assert!(run_event_commands(&b"hello\n"[..]).is_err());
        assert!(run_event_commands(&b"[[\"/bin/true\"]]\nhello\n"[..]).is_err());
    }
}

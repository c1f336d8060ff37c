//! The appliance's end of the socket to the process that runs the programs of `on_event`
//! ([`command_runner`](super::command_runner)).

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::command_runner::{Commands, Job};
use super::event::Event;
use crate::config::Service;
use crate::observe::{LogLimit, log};

/// The only argument of this program with which it [`run_event_commands`](super::run_event_commands).
pub const RUNNER: &str = "event-commands";

/// Passes events on. Dropping it ends the process, once its programs have ended.
#[derive(Debug)]
pub struct CommandLink {
    stream: UnixStream,
    programs: Programs,
    failed: LogLimit,
}

/// The programs, and which of them runs for the events of each service.
#[derive(Debug, Default)]
struct Programs {
    commands: Commands,
    of_service: BTreeMap<String, usize>,
    /// Those of services that the last reload has removed: it ends their attacks.
    of_removed: BTreeMap<String, usize>,
}

impl Programs {
    fn new(services: &[Service]) -> Self {
        let mut programs = Self::default();
        for service in services
            .iter()
            .filter(|service| !service.on_event.is_empty())
        {
            let known = programs
                .commands
                .iter()
                .position(|one| *one == service.on_event);
            let number = known.unwrap_or(programs.commands.len());
            if known.is_none() {
                programs.commands.push(service.on_event.clone());
            }
            programs.of_service.insert(service.name.clone(), number);
        }
        programs
    }

    /// The programs that get an event: that of its service, or all of them.
    fn of(&self, event: &Event) -> Vec<usize> {
        match &event.service {
            Some(service) => {
                let number = self.of_service.get(service);
                number
                    .or_else(|| self.of_removed.get(service))
                    .copied()
                    .into_iter()
                    .collect()
            }
            None => (0..self.commands.len()).collect(),
        }
    }

    /// Follows a reload. A program that is not known gets no events.
    fn follow(&mut self, services: &[Service]) {
        let services = || services.iter().filter(|service| service.is_configured());
        let is_there = |name: &String| services().any(|service| service.name == *name);
        let mut before = std::mem::take(&mut self.of_service);
        before.retain(|name, _| !is_there(name));
        self.of_removed = before;
        let number = |service: &Service| {
            let mut commands = self.commands.iter();
            commands.position(|one| *one == service.on_event)
        };
        self.of_service = services()
            .filter_map(|service| Some((service.name.clone(), number(service)?)))
            .collect();
    }
}

impl CommandLink {
    /// Starts the process if a service has `on_event`. Call it before any thread is confined.
    ///
    /// # Errors
    /// The kernel refuses the process or the socket.
    pub fn start(services: &[Service]) -> io::Result<Option<Self>> {
        let programs = Programs::new(services);
        if programs.commands.is_empty() {
            return Ok(None);
        }
        let (mut stream, theirs) = UnixStream::pair()?;
        // In a group of its own: Ctrl-C in a terminal ends the appliance first. Nobody waits for it: it ends after the
        // appliance, or by itself if the appliance is killed.
        let _ = Command::new("/proc/self/exe")
            .arg(RUNNER)
            .env(log::FORMAT, log::format_for_children())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        write_line(&mut stream, &programs.commands)?;
        // The control thread must not wait for programs.
        stream.set_nonblocking(true)?;
        Ok(Some(Self {
            stream,
            programs,
            failed: LogLimit::default(),
        }))
    }

    /// A link without programs.
    #[cfg(test)]
    pub(super) fn of_stream(stream: UnixStream) -> Self {
        Self {
            stream,
            programs: Programs::default(),
            failed: LogLimit::default(),
        }
    }

    /// Follows a reload. A program that is not known ([`Self::programs`]) gets no events: none can be started any more.
    pub fn follow(&mut self, services: &[Service]) {
        self.programs.follow(services);
    }

    /// Whether the process has ended: somebody has killed it. Another cannot be started.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok()
            && fds[0].revents().contains(PollFlags::HUP)
    }

    /// The programs, with their arguments.
    pub fn programs(&self) -> &[Vec<String>] {
        &self.programs.commands
    }

    /// Passes an event to the programs that are for it. One that cannot be passed is left out, with a line in the log.
    pub fn pass(&mut self, event: &Event) {
        for command in self.programs.of(event) {
            let event = event.clone();
            if let Err(error) = write_line(&mut self.stream, &Job { command, event })
                && let Some(others) = self.failed.pass()
            {
                tracing::warn!(%error, others, "events cannot be passed to the programs of on_event");
            }
        }
    }
}

/// Writes a line in one call: the kernel takes it as a whole or not at all, because it is small.
fn write_line(stream: &mut UnixStream, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::events::EventKind;

    #[test]
    fn the_end_of_the_process_is_seen() {
        let (stream, theirs) = UnixStream::pair().unwrap();
        let link = CommandLink::of_stream(stream);
        assert!(!link.has_ended());
        drop(theirs);
        assert!(link.has_ended());
    }

    #[test]
    fn services_share_programs() {
        let programs = Programs {
            commands: vec![vec!["/a".into()], vec!["/b".into()]],
            of_service: [("web".into(), 1), ("mail".into(), 1)].into(),
            ..Programs::default()
        };
        let of = |service| programs.of(&Event::new(EventKind::AttackEnd, service, ""));
        assert_eq!(of(Some("web")), [1]);
        assert!(of(Some("dns")).is_empty());
        assert_eq!(of(None), [0, 1]);
    }

    /// The program of a service that a reload removes gets the end of an attack on it.
    #[test]
    fn removed_services_have_their_program_until_the_next_reload() {
        let services = |name: &str| {
            Config::of_text(&format!(
                "[[interface]]\nname = \"eth0\"\nside = \"both\"\n\
                 [[service]]\nname = \"{name}\"\naddresses = [\"192.0.2.1\"]\nports = [80]\non_event = [\"/a\"]\n"
            ))
            .services
        };
        let mut programs = Programs::new(&services("web"));
        let of = |programs: &Programs, service| {
            programs.of(&Event::new(EventKind::AttackEnd, Some(service), ""))
        };
        programs.follow(&services("other"));
        assert_eq!(
            (of(&programs, "web"), of(&programs, "other")),
            (vec![0], vec![0])
        );
        programs.follow(&services("other"));
        assert!(of(&programs, "web").is_empty());
    }
}

//! The last events. Each is logged, kept and passed on.

use std::collections::VecDeque;
use std::time::Instant;

use super::command_link::CommandLink;
use super::event::Event;
use super::event_lines::EventLines;
use crate::config::Service;

/// Events that are kept.
const KEPT: usize = 64;

/// The last events of the appliance.
#[derive(Debug, Default)]
pub struct EventLog {
    events: VecDeque<Event>,
    programs: Option<CommandLink>,
    lines: EventLines,
    /// Whether the process that runs the programs had ended when it was last looked at.
    had_ended: bool,
    /// Whether that was said.
    is_unheard: bool,
}

/// Said while no program can be told.
const UNHEARD: &str = "the process that runs the programs of on_event has ended, so they are told of no attack; restart synward";

impl EventLog {
    /// A log whose events also go to the programs of `on_event`.
    pub fn new(programs: Option<CommandLink>) -> Self {
        Self {
            programs,
            ..Self::default()
        }
    }

    /// Follows a reload: events of services go to the programs that they name now.
    pub fn follow(&mut self, services: &[Service]) {
        if let Some(programs) = &mut self.programs {
            programs.follow(services);
        }
    }

    /// The programs that can be run, with their arguments: those that services named at the start.
    pub fn programs(&self) -> &[Vec<String>] {
        self.programs.as_ref().map_or(&[], CommandLink::programs)
    }

    /// Logs an event, keeps it and passes it on.
    pub fn record(&mut self, event: Event) {
        if let Some(programs) = &mut self.programs {
            programs.pass(&event);
        }
        self.lines.add(event.clone(), Instant::now());
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Logs the events whose lines had to wait, if they are due.
    pub fn log_waiting(&mut self) {
        self.lines.round(Instant::now());
    }

    /// Looks whether the programs can still be told; called in every round. A service manager that stops this process ends the
    /// other one at the same time. So it is said one round later: a stop comes before that.
    pub fn watch_programs(&mut self) {
        let programs = self.programs.as_ref();
        let has_ended = programs.is_some_and(CommandLink::has_ended);
        if has_ended && self.had_ended && !self.is_unheard {
            self.is_unheard = true;
            tracing::error!("{UNHEARD}");
        }
        self.had_ended = has_ended;
    }

    /// Why the programs cannot be told, if that is so.
    pub fn note(&self) -> Option<String> {
        self.is_unheard.then(|| UNHEARD.to_owned())
    }

    /// Logs all events whose lines wait.
    pub fn log_all(&mut self) {
        self.lines.flush();
    }

    /// The last events, the oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::events::EventKind;

    #[test]
    fn the_end_of_the_process_that_runs_programs_is_said_in_the_next_round() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut log = EventLog::new(Some(CommandLink::of_stream(ours)));
        let mut round = || {
            log.watch_programs();
            log.note()
        };
        assert_eq!([round(), round()], [None, None]);
        drop(theirs);
        let said = Some(UNHEARD.to_owned());
        assert_eq!([round(), round(), round()], [None, said.clone(), said]);
    }

    #[test]
    fn the_last_64_are_kept() {
        let mut log = EventLog::default();
        for number in 0..100 {
            log.record(Event::new(EventKind::AttackEnd, None, number.to_string()));
        }
        let kept: Vec<_> = log.events().map(|event| event.message.as_str()).collect();
        assert_eq!((kept.len(), kept[0], kept[63]), (64, "36", "99"));
    }
}

//! The last events. Each is logged once, at most one of a kind in a second.

use std::collections::{HashMap, VecDeque};

use super::command_link::CommandLink;
use super::event::{Event, EventKind};
use crate::config::Service;
use crate::observe::LogLimit;

/// Events that are kept.
const KEPT: usize = 64;

/// The last events of the appliance.
#[derive(Debug, Default)]
pub struct EventLog {
    events: VecDeque<Event>,
    programs: Option<CommandLink>,
    limits: HashMap<EventKind, LogLimit>,
}

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
        if let Some(others) = self.limits.entry(event.event).or_default().pass() {
            log(&event, others);
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The last events, the oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}

/// `others` events of the same kind were left out of the log since the last one.
fn log(event: &Event, others: u64) {
    let others = (others > 0).then_some(others);
    let (service, address) = (event.service.as_deref(), event.address.as_deref());
    let Some(attack) = event.attack else {
        tracing::info!(service, others, "{}", event.message);
        return;
    };
    let (rate, threshold, peak_rate) = (attack.rate, attack.threshold, attack.peak_rate);
    match event.event {
        EventKind::AttackBegin => {
            tracing::warn!(
                service,
                address,
                rate,
                threshold,
                others,
                "{}",
                event.message
            );
        }
        _ => tracing::info!(
            service,
            address,
            rate,
            peak_rate,
            duration_seconds = attack.duration_seconds,
            syns = attack.syns,
            proven_clients = attack.proven_clients,
            others,
            "{}",
            event.message
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

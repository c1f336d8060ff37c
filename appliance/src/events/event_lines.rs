//! The log lines of events: at most one of a kind in a second, which covers every event since the one before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{Event, EventKind};

/// Least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);
/// Events of one kind whose places are named in a shared line. Further ones are only counted.
const NAMED: usize = 16;

/// Which lines were written when, and what waits for the next one.
#[derive(Debug, Default)]
pub(super) struct EventLines {
    kinds: HashMap<EventKind, Kind>,
}

/// The lines of one kind.
#[derive(Debug, Default)]
struct Kind {
    logged: Option<Instant>,
    /// At most [`NAMED`].
    waiting: Vec<Event>,
    /// Further ones that wait.
    more: u64,
}

/// A line.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    One(&'a Event),
    Several(EventKind, String),
}

impl EventLines {
    /// Logs an event, now or with others in a later [`Self::round`].
    pub(super) fn add(&mut self, event: Event, now: Instant) {
        let kind = self.kinds.entry(event.event).or_default();
        if kind.waiting.len() < NAMED {
            kind.waiting.push(event);
        } else {
            kind.more += 1;
        }
        if kind.is_due(now) {
            kind.log(now);
        }
    }

    /// Logs what waits and is due.
    pub(super) fn round(&mut self, now: Instant) {
        for kind in self.kinds.values_mut() {
            if kind.is_due(now) {
                kind.log(now);
            }
        }
    }

    /// Logs all that waits.
    pub(super) fn flush(&mut self) {
        let now = Instant::now();
        self.kinds.values_mut().for_each(|kind| kind.log(now));
    }
}

impl Kind {
    fn is_due(&self, now: Instant) -> bool {
        self.logged.is_none_or(|at| now >= at + INTERVAL)
    }

    fn line(&self) -> Option<Line<'_>> {
        let first = self.waiting.first()?;
        if self.waiting.len() == 1 {
            return Some(Line::One(first));
        }
        let mut places: Vec<_> = self.waiting.iter().map(place).collect();
        if self.more > 0 {
            places.push(format!("{} more", self.more));
        }
        Some(Line::Several(first.event, places.join(", ")))
    }

    fn log(&mut self, now: Instant) {
        match self.line() {
            None => return,
            Some(Line::One(event)) => log_one(event),
            Some(Line::Several(kind, places)) => log_several(kind, &places),
        }
        self.logged = Some(now);
        self.waiting.clear();
        self.more = 0;
    }
}

/// Where an event happened.
fn place(event: &Event) -> String {
    match (&event.service, &event.address) {
        (Some(service), Some(address)) => format!("{service} {address}"),
        (Some(service), None) => service.clone(),
        (None, _) => event.message.clone(),
    }
}

fn log_several(kind: EventKind, places: &str) {
    match kind {
        EventKind::AttackBegin => {
            tracing::warn!(services = places, "several attacks begin: `synward status`");
        }
        EventKind::AttackEnd => tracing::info!(services = places, "several attacks are over"),
        _ => tracing::info!("{places}"),
    }
}

fn log_one(event: &Event) {
    let (service, address) = (event.service.as_deref(), event.address.as_deref());
    let Some(attack) = event.attack else {
        tracing::info!(service, "{}", event.message);
        return;
    };
    let (rate, threshold, peak_rate) = (attack.rate, attack.threshold, attack.peak_rate);
    match event.event {
        EventKind::AttackBegin => {
            tracing::warn!(service, address, rate, threshold, "{}", event.message);
        }
        _ => tracing::info!(
            service,
            address,
            rate,
            peak_rate,
            duration_seconds = attack.duration_seconds,
            syns = attack.syns,
            proven_clients = attack.proven_clients,
            "{}",
            event.message
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(lines: &EventLines) -> Option<Line<'_>> {
        lines.kinds.get(&EventKind::AttackBegin)?.line()
    }

    #[test]
    fn every_event_is_in_a_line_and_there_is_one_a_second() {
        let (mut lines, now) = (EventLines::default(), Instant::now());
        let begins = |service: &str| Event::new(EventKind::AttackBegin, Some(service), "");
        lines.add(begins("web"), now);
        assert_eq!(waiting(&lines), None, "it is logged at once");
        let mail = begins("mail");
        lines.add(mail.clone(), now);
        assert_eq!(waiting(&lines), Some(Line::One(&mail)));
        lines.add(Event::new(EventKind::AttackEnd, Some("web"), ""), now);
        assert!(lines.kinds[&EventKind::AttackEnd].waiting.is_empty());
        lines.round(now + INTERVAL / 2);
        assert!(waiting(&lines).is_some());
        let with_address = Event {
            address: Some("192.0.2.1".into()),
            ..begins("dns")
        };
        lines.add(with_address, now);
        let several = |places: String| Some(Line::Several(EventKind::AttackBegin, places));
        assert_eq!(waiting(&lines), several("mail, dns 192.0.2.1".into()));
        for _ in 0..20 {
            lines.add(begins("api"), now);
        }
        let names = "mail, dns 192.0.2.1".to_owned() + &", api".repeat(NAMED - 2) + ", 6 more";
        assert_eq!(waiting(&lines), several(names));
        lines.round(now + INTERVAL);
        assert_eq!(waiting(&lines), None);
        lines.add(mail, now + INTERVAL);
        assert!(waiting(&lines).is_some());
        lines.flush();
        assert_eq!(waiting(&lines), None);
    }
}

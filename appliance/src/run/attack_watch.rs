//! Watches the rates of all services, has those with mode `auto` challenge their clients while they are under attack, and
//! records when attacks begin and end.

use std::time::Instant;

use synward_core::counters::{Counter, ServiceCounters};

use super::attack_sources;
use crate::activation::{Attack, Change, Detector, Seen, Totals};
use crate::config::{Config, Handoff, Mode, Service};
use crate::events::{AttackNumbers, Event, EventKind, EventLog};
use crate::kernel;
use crate::observe::{AttackView, LogLimit};
use crate::steering::{SampledSources, Steering};

/// The detectors of all services.
pub(super) struct AttackWatch {
    began: Instant,
    services: Vec<Watched>,
    /// How often listeners of this machine had no room, at the last round.
    overflows: Option<u64>,
    failed: LogLimit,
}

/// What is known of one service.
struct Watched {
    detector: Detector,
    attacks: u64,
    /// SYNs of attacks during which the service challenged nobody.
    unanswered: u64,
}

impl Watched {
    fn new(service: &Service) -> Self {
        Self {
            // The cookies that an edge issues come back to the server.
            detector: Detector::new(service.activation, service.handoff != Handoff::Forward),
            attacks: 0,
            unanswered: 0,
        }
    }
}

impl AttackWatch {
    /// Watches the services of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            began: Instant::now(),
            services: config.services.iter().map(Watched::new).collect(),
            overflows: None,
            failed: LogLimit::default(),
        }
    }

    /// Follows a reload: services with the indices `started` are new, the others have the settings of `config`.
    pub(super) fn follow(&mut self, config: &Config, started: &[u32]) {
        self.services.truncate(config.services.len());
        for (watched, service) in self.services.iter_mut().zip(&config.services) {
            watched.detector.set(service.activation);
        }
        let new = config.services.iter().skip(self.services.len());
        self.services.extend(new.map(Watched::new));
        for index in started.iter().map(|index| *index as usize) {
            if let (Some(watched), Some(service)) =
                (self.services.get_mut(index), config.services.get(index))
            {
                *watched = Watched::new(service);
            }
        }
    }

    /// One round, every tenth of a second.
    pub(super) fn round(
        &mut self,
        config: &Config,
        steering: &mut Steering,
        events: &mut EventLog,
    ) {
        let now = self.began.elapsed();
        let pressed = self.have_listeners_overflowed(config);
        for (index, watched) in self.services.iter_mut().enumerate() {
            let Some(service) = config.services.get(index) else {
                continue;
            };
            let index = index as u32;
            let (Ok(mode), Ok(counters)) = (steering.mode(index), steering.counters(index)) else {
                // `status` says that they cannot be read.
                continue;
            };
            let challenges = steering.challenges(index);
            let seen = Seen {
                totals: totals(&counters, service.handoff),
                challenges,
                pressed: pressed && service.handoff == Handoff::Local,
            };
            let before = watched.detector.attack().map_or(0, |attack| attack.syns);
            let change = watched.detector.round(now, &seen);
            if let (Some(attack), false) = (watched.detector.attack(), challenges) {
                watched.unanswered += attack.syns.saturating_sub(before);
            }
            if let Err(error) = steering.set_attack(index, watched.detector.attack().is_some())
                && let Some(others) = self.failed.pass()
            {
                tracing::error!(service = service.name, %error, others, "the service cannot be switched");
            }
            let challenges = steering.challenges(index);
            if let Some(Change::Began(_)) = change {
                watched.attacks += 1;
            }
            if change.is_some()
                && let Err(error) = steering.forget_sources(index)
                && let Some(others) = self.failed.pass()
            {
                tracing::error!(service = service.name, %error, others, "the sources of earlier SYNs stay");
            }
            if let (Some(change), true) = (change, mode != Mode::Off) {
                events.record(event(&service.name, &change, challenges));
            }
        }
    }

    /// Whether a listener of this machine had no room since the last round.
    fn have_listeners_overflowed(&mut self, config: &Config) -> bool {
        let mut services = config.services.iter();
        if !services.any(|service| service.handoff == Handoff::Local) {
            return false;
        }
        let now = kernel::listen_overflows().ok();
        let before = std::mem::replace(&mut self.overflows, now);
        before.zip(now).is_some_and(|(before, now)| now > before)
    }

    /// The source prefixes of all attacks. Without an attack nothing is read.
    pub(super) fn sources(&self, steering: &Steering) -> SampledSources {
        let mut services = self.services.iter();
        if !services.any(|watched| watched.detector.attack().is_some()) {
            return SampledSources::new();
        }
        // `status` says elsewhere that maps cannot be read.
        steering.sampled_sources().unwrap_or_default()
    }

    /// What `status` and metrics say of a service.
    pub(super) fn view(&self, index: usize, sources: &SampledSources) -> AttackView {
        let Some(watched) = self.services.get(index) else {
            return AttackView::default();
        };
        let (detector, now) = (&watched.detector, self.began.elapsed());
        let thresholds = detector.thresholds();
        AttackView {
            active: detector.attack().is_some(),
            total: watched.attacks,
            syn_rate: detector.rates().syns.round() as u64,
            activate_syn_rate: thresholds.activate.round() as u64,
            deactivate_syn_rate: thresholds.deactivate.round() as u64,
            since_seconds: detector
                .attack()
                .map(|attack| now.saturating_sub(attack.began).as_secs_f64()),
            peak_syn_rate: detector.attack().map(|attack| attack.peak.round() as u64),
            unanswered_syns: watched.unanswered,
            sources: match (detector.attack(), sources.get(&(index as u32))) {
                (Some(attack), Some(sources)) => attack_sources::largest(sources, attack.syns),
                _ => Vec::new(),
            },
        }
    }
}

fn totals(counters: &ServiceCounters, handoff: Handoff) -> Totals {
    let learned = match handoff {
        Handoff::Splice => counters.value(Counter::Learned),
        Handoff::Local | Handoff::Forward => 0,
    };
    Totals {
        syns: counters.value(Counter::Syn),
        proven: counters.value(Counter::CookieValid) + learned,
        bad_acks: counters.value(Counter::CookieInvalid),
    }
}

fn event(service: &str, change: &Change, challenged: bool) -> Event {
    let (kind, attack) = match change {
        Change::Began(attack) => (EventKind::AttackBegin, attack),
        Change::Ended(attack) => (EventKind::AttackEnd, attack),
    };
    let message = match (kind, challenged) {
        (EventKind::AttackBegin, true) => "attack begins: clients are challenged",
        (EventKind::AttackBegin, false) => {
            "attack begins: mode \"auto\" would challenge clients now"
        }
        _ => "attack is over",
    };
    Event {
        attack: Some(numbers(attack, challenged)),
        ..Event::new(kind, Some(service), message)
    }
}

fn numbers(attack: &Attack, challenged: bool) -> AttackNumbers {
    let duration = attack.last.saturating_sub(attack.began).as_secs_f64();
    AttackNumbers {
        rate: attack.rate.round() as u64,
        threshold: attack.threshold.round() as u64,
        peak_rate: attack.peak.round() as u64,
        duration_seconds: (duration * 10.0).round() / 10.0,
        syns: attack.syns,
        proven_clients: attack.proven,
        challenged,
    }
}

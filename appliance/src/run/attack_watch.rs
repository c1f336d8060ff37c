//! Watches the rates of all services, has those with mode `auto` challenge their clients while they are under attack, and
//! records when attacks begin and end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::attack_events::{address_text, event};
use super::attack_sources;
use super::attack_totals::{SeenOfService, look};
use crate::activation::{AddressDetectors, Attack, Change, Changed, Detector, ListenerPressure};
use crate::config::{Config, Handoff, Mode, Service};
use crate::events::EventLog;
use crate::kernel;
use crate::observe::{AddressAttackView, AttackView, LogLimit};
use crate::steering::{ResumedAttack, SampledSources, Steering};

/// The detectors of all services.
pub(super) struct AttackWatch {
    began: Instant,
    services: Vec<Watched>,
    pressure: ListenerPressure,
    /// When the attacks in progress were last recorded for the next process.
    kept: Option<Duration>,
    failed: LogLimit,
}

/// How often their numbers are recorded for the next process. A begin or an end is recorded at once.
const KEEP: Duration = Duration::from_secs(1);

/// What is known of one service.
struct Watched {
    /// Its name in the file; if it is not in it any more, the last one.
    name: String,
    detector: Detector,
    addresses: AddressDetectors,
    attacks: u64,
    /// SYNs of attacks during which the service challenged nobody.
    unanswered: u64,
}

impl Watched {
    fn new(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            detector: detector(service),
            addresses: AddressDetectors::default(),
            attacks: 0,
            unanswered: 0,
        }
    }

    fn set(&mut self, service: &Service) {
        if service.is_configured() {
            self.name.clone_from(&service.name);
        }
        self.detector.set(service.activation);
        self.addresses.set(service.activation);
    }

    fn round(
        &mut self,
        service: &Service,
        mode: Mode,
        now: Duration,
        seen: &SeenOfService,
    ) -> Vec<Changed> {
        let nets = seen.places.iter().map(|place| place.net);
        let mut changes = self.addresses.follow(nets, || detector(service));
        if seen.each.is_empty() {
            let change = match mode {
                Mode::Off => self.detector.unwatched_round(now, &seen.whole),
                _ => self.detector.round(now, &seen.whole),
            };
            changes.extend(change.map(|change| (None, change)));
        } else {
            let more = self
                .addresses
                .round(&mut self.detector, now, &seen.whole, &seen.each);
            changes.extend(more);
        }
        self.attacks += changes.iter().filter(|one| is_begin(one)).count() as u64;
        changes
    }

    fn is_attacked(&self) -> bool {
        self.detector.attack().is_some() || self.addresses.attacks().next().is_some()
    }

    /// SYNs of the attacks that go on.
    fn attack_syns(&self) -> u64 {
        match self.detector.attack() {
            Some(attack) => attack.syns,
            None => self.addresses.attacks().map(|(_, _, one)| one.syns).sum(),
        }
    }
}

fn is_begin((_, change): &Changed) -> bool {
    matches!(change, Change::Began(_))
}

fn detector(service: &Service) -> Detector {
    // The cookies that an edge issues come back to the server.
    Detector::new(service.activation, service.handoff != Handoff::Forward)
}

impl AttackWatch {
    /// Watches the services of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            began: Instant::now(),
            services: config.services.iter().map(Watched::new).collect(),
            pressure: ListenerPressure::default(),
            kept: None,
            failed: LogLimit::default(),
        }
    }

    /// Resumes the attacks that the previous process knew and has reported. It reports the end of those on services and
    /// addresses that are not watched any more.
    pub(super) fn resume(&mut self, config: &Config, steering: &Steering, events: &mut EventLog) {
        let now = self.began.elapsed();
        for resumed in steering.resumed_attacks() {
            let (service, net) = (&resumed.service, resumed.net);
            if self.goes_on(config, steering, resumed, now) {
                let seconds = resumed.attack.age.as_secs();
                let address = net.map(address_text);
                tracing::info!(
                    service,
                    address,
                    seconds,
                    "an attack that began before this process continues"
                );
            } else {
                let attack = resumed.attack.resumed(now);
                events.record(event(service, net, &Change::Unwatched(attack), false));
            }
        }
    }

    /// Goes on with an attack. `false`: its service or address is not watched.
    fn goes_on(
        &mut self,
        config: &Config,
        steering: &Steering,
        resumed: &ResumedAttack,
        now: Duration,
    ) -> bool {
        let mut services = config.services.iter().zip(&mut self.services).enumerate();
        let same = |(_, (service, _)): &(usize, (&Service, _))| service.name == resumed.service;
        let Some((index, (service, watched))) = services.find(same) else {
            return false;
        };
        let places = steering.watched_addresses(index as u32).iter();
        // No detector has seen anything yet.
        let _ = watched
            .addresses
            .follow(places.map(|place| place.net), || detector(service));
        match resumed.net {
            Some(net) => watched.addresses.resume(net, now, &resumed.attack),
            None if service.mode == Mode::Off => false,
            None => {
                watched.detector.resume(now, &resumed.attack);
                true
            }
        }
    }

    /// Follows a reload: services with the indices `started` are new, the others have the settings of `config`.
    pub(super) fn follow(&mut self, config: &Config, started: &[u32]) {
        self.services.truncate(config.services.len());
        for (watched, service) in self.services.iter_mut().zip(&config.services) {
            watched.set(service);
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
        let pressed = self.are_listeners_pressed(config, now);
        if let Err(error) = steering.read_address_counts()
            && let Some(others) = self.failed.pass()
        {
            tracing::error!(%error, others, "the counts of watched addresses cannot be read");
        }
        let mut has_changed = false;
        for (index, watched) in self.services.iter_mut().enumerate() {
            let Some(service) = config.services.get(index) else {
                continue;
            };
            let index = index as u32;
            let pressed = pressed && service.handoff == Handoff::Local;
            let (Ok(mode), Some(seen)) = (
                steering.mode(index),
                look(steering, index, service, pressed),
            ) else {
                continue;
            };
            let (was_attacked, before) = (watched.is_attacked(), watched.attack_syns());
            let changes = watched.round(service, mode, now, &seen);
            has_changed |= !changes.is_empty();
            if service.handoff == Handoff::Local && changes.iter().any(is_begin) {
                self.pressure.explain();
            }
            if !steering.challenges_anywhere(index) {
                watched.unanswered += watched.attack_syns().saturating_sub(before);
            }
            let attacked = watched.addresses.attacks();
            let attacked: BTreeSet<_> = attacked
                .filter_map(|(net, ..)| seen.places.iter().find(|place| place.net == net))
                .map(|place| place.policy)
                .collect();
            let is_whole = watched.detector.attack().is_some();
            if let Err(error) = steering.set_attack(index, is_whole, &attacked)
                && let Some(others) = self.failed.pass()
            {
                tracing::error!(service = service.name, %error, others, "the service cannot start or stop challenging clients");
            }
            if was_attacked != watched.is_attacked()
                && let Err(error) = steering.forget_sources(index)
                && let Some(others) = self.failed.pass()
            {
                tracing::error!(service = service.name, %error, others, "the sources of earlier SYNs cannot be forgotten");
            }
            if !changes.is_empty() {
                let challenging = challenging(steering, index);
                if challenging.everywhere {
                    watched.detector.note_challenged();
                }
                watched.addresses.note_challenged(&challenging.addresses);
                for (net, change) in changes {
                    let challenged = challenging.at(net);
                    events.record(event(&watched.name, net, &change, challenged));
                }
            }
        }
        self.keep(config, steering, now, has_changed);
    }

    /// Tells that nobody looks any more: the process ends, and takes its programs with it.
    pub(super) fn end(&mut self, config: &Config, steering: &Steering, events: &mut EventLog) {
        for (index, (watched, service)) in (0..).zip(self.services.iter_mut().zip(&config.services))
        {
            let challenging = challenging(steering, index);
            let nobody = std::iter::empty();
            let mut changes = watched.addresses.follow(nobody, || detector(service));
            changes.extend(watched.detector.unwatch().map(|change| (None, change)));
            for (net, change) in changes {
                let challenged = challenging.at(net);
                events.record(event(&watched.name, net, &change, challenged));
            }
        }
    }

    /// Tells the next process which attacks go on.
    fn keep(&mut self, config: &Config, steering: &mut Steering, now: Duration, at_once: bool) {
        let is_due = self
            .kept
            .is_none_or(|last| now.saturating_sub(last) >= KEEP);
        if !at_once && !is_due {
            return;
        }
        self.kept = Some(now);
        let services = self.services.iter().zip(&config.services);
        let ongoing = services.flat_map(move |(watched, service)| {
            let addresses = watched.addresses.attacks();
            let addresses = addresses.map(|(net, _, attack)| (Some(net), attack));
            let all = watched.detector.attack().map(|attack| (None, attack));
            let all = all.into_iter().chain(addresses);
            all.map(move |(net, attack)| (service.name.as_str(), net, attack.kept(now)))
        });
        if let Err(error) = steering.keep_attacks(ongoing)
            && let Some(others) = self.failed.pass()
        {
            tracing::error!(%error, others, "attacks in progress cannot be recorded for the next process");
        }
    }

    /// Whether listeners of this machine are under pressure.
    fn are_listeners_pressed(&mut self, config: &Config, now: Duration) -> bool {
        let mut services = config.services.iter();
        services.any(|service| service.handoff == Handoff::Local)
            && self.pressure.round(now, kernel::listen_overflows().ok())
    }

    /// The source prefixes of all attacks. Without an attack nothing is read.
    pub(super) fn sources(&self, steering: &Steering) -> SampledSources {
        if !self.services.iter().any(Watched::is_attacked) {
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
        let since = |attack: &Attack| attack.age(now).as_secs_f64();
        let peak = |attack: &Attack| attack.peak.round() as u64;
        let attacks = || watched.addresses.attacks();
        let all = || {
            let addresses = attacks().map(|(_, _, attack)| attack);
            detector.attack().into_iter().chain(addresses)
        };
        let address = |(net, detector, attack): (IpNet, &Detector, &Attack)| AddressAttackView {
            address: address_text(net),
            syn_rate: detector.rates().syns.round() as u64,
            deactivate_syn_rate: attack.quiet(&detector.thresholds()).round() as u64,
            since_seconds: since(attack),
            peak_syn_rate: peak(attack),
        };
        let beside: f64 = attacks().map(|(_, one, _)| one.rates().syns).sum();
        AttackView {
            active: watched.is_attacked(),
            total: watched.attacks,
            syn_rate: (detector.rates().syns + beside).round() as u64,
            activate_syn_rate: thresholds.activate.round() as u64,
            deactivate_syn_rate: thresholds.deactivate.round() as u64,
            since_seconds: all().map(since).reduce(f64::max),
            peak_syn_rate: all().map(peak).max(),
            unanswered_syns: watched.unanswered,
            everywhere: detector.attack().is_some(),
            addresses: attacks().map(address).collect(),
            sources: match sources.get(&(index as u32)) {
                Some(sources) if watched.is_attacked() => {
                    attack_sources::largest(sources, watched.attack_syns())
                }
                _ => Vec::new(),
            },
        }
    }
}

/// Where a service challenges its clients.
struct Challenging {
    everywhere: bool,
    addresses: Vec<IpNet>,
}

impl Challenging {
    /// Whether it does at an address, or (`None`) at all.
    fn at(&self, net: Option<IpNet>) -> bool {
        self.everywhere || net.is_some_and(|net| self.addresses.contains(&net))
    }
}

fn challenging(steering: &Steering, service: u32) -> Challenging {
    let places = steering.watched_addresses(service).iter();
    let places = places.filter(|place| steering.challenges_at(**place));
    Challenging {
        everywhere: steering.challenges(service),
        addresses: places.map(|place| place.net).collect(),
    }
}

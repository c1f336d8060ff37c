//! The state machine: an attack begins when the rate reaches one threshold, and ends when it was below a lower one for as
//! long as `hold_seconds`. A rate between the two changes nothing.
//!
//! With `activate_syn_rate` set, the rate is that of SYNs, or of ACKs with a bad cookie if those are more. Otherwise it is
//! that of SYNs whose handshake is not completed, as far as this is known: a crowd of real clients is no attack.

use std::time::Duration;

use super::normal_rate::NormalRate;
use super::rate_window::{RateWindow, Rates, Totals};
use super::thresholds::{AT_START, Thresholds};
use crate::config::Activation;

/// The time after the start in which the normal rate is not known at all.
const START: Duration = Duration::from_secs(1);
/// SYNs a second with which a full queue of a listener is an attack.
const PRESSED: f64 = 20.0;

/// What is seen of a service in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The totals of its counters.
    pub totals: Totals,
    /// Whether it challenges its clients: their cookies then show how many complete their handshake.
    pub challenges: bool,
    /// Whether listeners are under pressure ([`super::ListenerPressure`]).
    pub pressed: bool,
}

/// An attack, so far or over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attack {
    /// When it began, on the caller's clock.
    pub began: Duration,
    /// When its rate was last too high for its end.
    pub last: Duration,
    /// The rate with which it began.
    pub rate: f64,
    /// The threshold at which it began.
    pub threshold: f64,
    /// The highest rate of SYNs.
    pub peak: f64,
    /// SYNs since it began.
    pub syns: u64,
    /// Handshakes that were completed since it began, as far as it is known.
    pub proven: u64,
    /// Whether the service challenged its clients in any round of it.
    pub challenged: bool,
    /// It ends below this rate, if that is lower than the threshold: it began without reaching one.
    most_quiet: f64,
    before: Totals,
    earlier: Earlier,
}

/// What an attack had been when this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Earlier {
    time: Duration,
    syns: u64,
    proven: u64,
}

/// An attack as the next process gets to know it, if this one is killed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeptAttack {
    /// How long it has gone on.
    pub age: Duration,
    /// [`Attack::rate`].
    pub rate: f64,
    /// [`Attack::threshold`].
    pub threshold: f64,
    /// [`Attack::peak`].
    pub peak: f64,
    /// It ends below this rate, if that is lower than the threshold.
    pub most_quiet: f64,
    /// [`Attack::syns`].
    pub syns: u64,
    /// [`Attack::proven`].
    pub proven: u64,
    /// [`Attack::challenged`].
    pub challenged: bool,
}

impl KeptAttack {
    /// The attack as it goes on in a process that starts now.
    pub fn resumed(&self, now: Duration) -> Attack {
        Attack {
            began: now,
            last: now,
            rate: self.rate,
            threshold: self.threshold,
            peak: self.peak,
            syns: self.syns,
            proven: self.proven,
            challenged: self.challenged,
            most_quiet: self.most_quiet,
            before: Totals::default(),
            earlier: Earlier {
                time: self.age,
                syns: self.syns,
                proven: self.proven,
            },
        }
    }
}

impl Attack {
    /// It may be over below this rate.
    pub fn quiet(&self, thresholds: &Thresholds) -> f64 {
        thresholds.deactivate.min(self.most_quiet)
    }

    /// How long it has gone on.
    pub fn age(&self, now: Duration) -> Duration {
        self.earlier.time + now.saturating_sub(self.began)
    }

    /// How long it went on until its rate was low.
    pub fn duration(&self) -> Duration {
        self.age(self.last)
    }

    /// What the next process needs to know of it.
    pub fn kept(&self, now: Duration) -> KeptAttack {
        KeptAttack {
            age: self.age(now),
            rate: self.rate,
            threshold: self.threshold,
            peak: self.peak,
            most_quiet: self.most_quiet,
            syns: self.syns,
            proven: self.proven,
            challenged: self.challenged,
        }
    }
}

/// What has changed in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// An attack began.
    Began(Attack),
    /// It is over.
    Ended(Attack),
    /// It may go on, but nobody looks any more: another mode or another configuration.
    Unwatched(Attack),
}

/// What a round has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Observed {
    /// An attack is over.
    pub(super) ended: Option<Change>,
    /// An attack should begin, see [`Detector::begin`].
    pub(super) begins: bool,
}

/// Decides whether one service is under attack.
#[derive(Clone, Debug)]
pub struct Detector {
    settings: Activation,
    /// Whether completed handshakes are known while the service challenges.
    knows_proven: bool,
    window: RateWindow,
    normal: NormalRate,
    first: Option<Duration>,
    last: Duration,
    rates: Rates,
    attack: Option<Attack>,
}

impl Detector {
    /// A detector of a service that has seen nothing. `knows_proven`: its cookies come back to this machine and not past it.
    pub fn new(settings: Activation, knows_proven: bool) -> Self {
        Self {
            settings,
            knows_proven,
            window: RateWindow::default(),
            normal: NormalRate::default(),
            first: None,
            last: Duration::ZERO,
            rates: Rates::default(),
            attack: None,
        }
    }

    /// Takes over new settings; what was seen so far stays.
    pub fn set(&mut self, settings: Activation) {
        self.settings = settings;
    }

    /// The attack that goes on.
    pub fn attack(&self) -> Option<&Attack> {
        self.attack.as_ref()
    }

    /// The rates of the last half second.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// The thresholds that apply now.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds::new(&self.settings, self.normal.value())
    }

    /// A round at `now`, on any clock that does not go back.
    pub fn round(&mut self, now: Duration, seen: &Seen) -> Option<Change> {
        let observed = self.observe(now, seen);
        if observed.begins {
            Some(self.begin(now, seen))
        } else {
            observed.ended
        }
    }

    /// The same, but the caller decides whether an attack begins.
    pub(super) fn observe(&mut self, now: Duration, seen: &Seen) -> Observed {
        let rates = self.window.add(now, seen.totals);
        self.observe_rates(now, seen, rates)
    }

    /// The same with rates that the caller has measured.
    pub(super) fn observe_rates(&mut self, now: Duration, seen: &Seen, rates: Rates) -> Observed {
        let is_start = now.saturating_sub(*self.first.get_or_insert(now)) < START;
        let elapsed = now.saturating_sub(self.last);
        self.last = now;
        self.rates = rates;
        let thresholds = self.thresholds();
        let rate = self.rate_of(rates);
        let scale = if is_start && self.settings.activate_syn_rate.is_none() {
            AT_START
        } else {
            1.0
        };
        let is_loud = rate >= scale * thresholds.activate;
        let is_pressed = seen.pressed && !seen.challenges && self.rates.syns >= PRESSED;
        let begins = self.attack.is_none() && (is_loud || is_pressed);
        let ended = match &mut self.attack {
            None => None,
            Some(attack) => {
                attack.peak = attack.peak.max(self.rates.syns);
                let (earlier, before) = (attack.earlier, attack.before);
                attack.syns = earlier.syns + seen.totals.syns.saturating_sub(before.syns);
                attack.proven = earlier.proven + seen.totals.proven.saturating_sub(before.proven);
                attack.challenged |= seen.challenges;
                if rate >= attack.quiet(&thresholds) {
                    attack.last = now;
                }
                let is_over = now.saturating_sub(attack.last) >= self.settings.hold;
                is_over
                    .then(|| self.attack.take())
                    .flatten()
                    .map(Change::Ended)
            }
        };
        self.learn(seen, begins || rate >= thresholds.activate, elapsed);
        Observed { ended, begins }
    }

    /// Begins an attack. Its rate may be below the threshold if a full queue or the service's other addresses showed it.
    pub(super) fn begin(&mut self, now: Duration, seen: &Seen) -> Change {
        let (rate, thresholds) = (self.rate_of(self.rates), self.thresholds());
        let most_quiet = if rate >= thresholds.activate {
            f64::INFINITY
        } else {
            rate / 2.0
        };
        let attack = begin(now, rate, most_quiet, &thresholds, seen.totals);
        self.attack = Some(attack);
        Change::Began(attack)
    }

    /// A round in which attacks are not looked for: what is normal is learned nevertheless.
    pub fn unwatched_round(&mut self, now: Duration, seen: &Seen) -> Option<Change> {
        let ended = self.observe(now, seen).ended;
        ended.or_else(|| self.unwatch())
    }

    /// Resumes an attack that the previous process knew. All counters have started from 0 since.
    pub fn resume(&mut self, now: Duration, kept: &KeptAttack) {
        self.attack = Some(kept.resumed(now));
    }

    /// Notes that clients are challenged since the attack began, before the next round sees that.
    pub fn note_challenged(&mut self) {
        if let Some(attack) = &mut self.attack {
            attack.challenged = true;
        }
    }

    /// Forgets an attack, whatever the rate.
    pub fn unwatch(&mut self) -> Option<Change> {
        self.attack.take().map(Change::Unwatched)
    }

    /// What is left of a rate that would begin an attack is none below this: the threshold, or half of the rate.
    pub(super) fn harmless(&self) -> f64 {
        let half = self.rate_of(self.rates) / 2.0;
        self.thresholds().activate.min(half)
    }

    /// The rate that is compared with the thresholds.
    pub(super) fn rate_of(&self, rates: Rates) -> f64 {
        let Rates {
            syns,
            proven,
            bad_acks,
        } = rates;
        let syns = match self.settings.activate_syn_rate {
            Some(_) => syns,
            None => syns - proven,
        };
        syns.max(bad_acks)
    }

    /// Learns what is normal: clients that have proven themselves, or all while there is no attack.
    fn learn(&mut self, seen: &Seen, is_loud: bool, elapsed: Duration) {
        if seen.challenges && self.knows_proven {
            self.normal.add(self.rates.proven, elapsed);
        } else if self.attack.is_none() && !is_loud {
            self.normal.add(self.rates.syns, elapsed);
        }
    }
}

fn begin(
    now: Duration,
    rate: f64,
    most_quiet: f64,
    thresholds: &Thresholds,
    before: Totals,
) -> Attack {
    Attack {
        began: now,
        last: now,
        rate,
        threshold: thresholds.activate,
        peak: rate,
        syns: 0,
        proven: 0,
        challenged: false,
        most_quiet,
        before,
        earlier: Earlier::default(),
    }
}

#[cfg(test)]
mod tests;

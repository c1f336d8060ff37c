//! Rates from totals that are read ten times a second, or less often on a busy machine.

use std::collections::VecDeque;
use std::time::Duration;

/// The time over which rates are measured. A burst of a tenth of a second counts as a fifth of its rate, and a flood is
/// seen after a tenth of a second nevertheless, if its rate is five times the threshold.
pub(super) const SPAN: Duration = Duration::from_millis(500);

/// Totals of a service's counters since some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// SYNs from clients.
    pub syns: u64,
    /// Handshakes that were completed, as far as it is known: valid cookies, and connections learned from the server.
    pub proven: u64,
    /// ACKs with an invalid cookie.
    pub bad_acks: u64,
}

/// Rates, each a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Of [`Totals::syns`].
    pub syns: f64,
    /// Of [`Totals::proven`].
    pub proven: f64,
    /// Of [`Totals::bad_acks`].
    pub bad_acks: f64,
}

impl Rates {
    /// The rates of both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            syns: self.syns + other.syns,
            proven: self.proven + other.proven,
            bad_acks: self.bad_acks + other.bad_acks,
        }
    }
}

/// The totals of the last half second.
#[derive(Clone, Debug, Default)]
pub(super) struct RateWindow {
    samples: VecDeque<(Duration, Totals)>,
}

impl RateWindow {
    /// Adds totals that were read at `now` (on any clock that does not go back), and returns the rates until then.
    pub(super) fn add(&mut self, now: Duration, totals: Totals) -> Rates {
        self.samples.push_back((now, totals));
        let is_old = |at: &(Duration, Totals)| now.saturating_sub(at.0) >= SPAN;
        // The oldest is the last one that is at least as old as the span.
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else {
            return Rates::default();
        };
        let seconds = now.saturating_sub(*since).max(SPAN).as_secs_f64();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Rates {
            syns: rate(totals.syns, before.syns),
            proven: rate(totals.proven, before.proven),
            bad_acks: rate(totals.bad_acks, before.bad_acks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syns(syns: u64) -> Totals {
        Totals {
            syns,
            ..Totals::default()
        }
    }

    #[test]
    fn rates_are_over_half_a_second() {
        let mut window = RateWindow::default();
        let at = Duration::from_millis;
        assert_eq!(window.add(at(0), syns(7_000)).syns, 0.0);
        assert_eq!(window.add(at(100), syns(7_100)).syns, 200.0);
        assert_eq!(window.add(at(500), syns(7_500)).syns, 1_000.0);
        assert_eq!(window.add(at(600), syns(7_500)).syns, 800.0);
        assert_eq!(window.add(at(1_100), syns(7_500)).syns, 0.0);
        // A round that comes late: the rate is over the time that has passed.
        assert_eq!(window.add(at(3_100), syns(11_500)).syns, 2_000.0);
        // A counter that begins again.
        assert_eq!(window.add(at(3_200), syns(0)).syns, 0.0);
        assert!(window.samples.len() < 8);
    }
}

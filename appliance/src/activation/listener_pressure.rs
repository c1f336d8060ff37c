//! Whether listeners of this machine are under pressure, from the count of how often they had no room.
//!
//! The kernel does not tell which listener it was. A flood that is loud enough to be an attack by its rate is one within the time
//! over which rates are measured, and fills a queue before that: it is no evidence against other addresses and services.

use std::time::Duration;

use super::rate_window::SPAN;

/// The pressure on the listeners of this machine.
#[derive(Clone, Debug, Default)]
pub struct ListenerPressure {
    /// The count at the last round.
    before: Option<u64>,
    /// When a listener had no room for the first time that nothing explains yet, on the caller's clock.
    since: Option<Duration>,
}

impl ListenerPressure {
    /// A round at `now`, on any clock that does not go back. `overflows` is how often listeners had no room; `None`: it is not
    /// known. Returns whether some had none a while ago, and no attack has begun that explains it.
    pub fn round(&mut self, now: Duration, overflows: Option<u64>) -> bool {
        let before = std::mem::replace(&mut self.before, overflows);
        if before
            .zip(overflows)
            .is_some_and(|(before, now)| now > before)
        {
            self.since.get_or_insert(now);
        }
        self.since
            .take_if(|since| now.saturating_sub(*since) >= SPAN)
            .is_some()
    }

    /// An attack on this machine has begun: what overflows until the next round is its doing as well.
    pub fn explain(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenths(number: u64) -> Duration {
        Duration::from_millis(100 * number)
    }

    #[test]
    fn a_full_listener_counts_once_and_later() {
        let mut pressure = ListenerPressure::default();
        assert!(!pressure.round(tenths(0), Some(7)), "before the start");
        assert!((1..6).all(|tenth| !pressure.round(tenths(tenth), Some(8))));
        assert!(pressure.round(tenths(6), Some(8)));
        assert!((7..20).all(|tenth| !pressure.round(tenths(tenth), Some(8))));
    }

    #[test]
    fn pressure_that_goes_on_counts_again() {
        let mut pressure = ListenerPressure::default();
        let counted = (0..61).filter(|tenth| pressure.round(tenths(*tenth), Some(*tenth)));
        assert_eq!(counted.count(), 10);
    }

    #[test]
    fn an_attack_explains_what_came_before_it_and_until_the_next_round() {
        let mut pressure = ListenerPressure::default();
        for tenth in 0..5 {
            assert!(!pressure.round(tenths(tenth), Some(tenth)));
        }
        pressure.explain();
        // The next round is late.
        assert!(!pressure.round(tenths(20), Some(900)));
        assert!((21..40).all(|tenth| !pressure.round(tenths(tenth), Some(900))));
        // Another one.
        assert!(!pressure.round(tenths(40), Some(901)));
        assert!(pressure.round(tenths(45), Some(901)));
    }

    #[test]
    fn a_count_that_cannot_be_read_says_nothing() {
        let mut pressure = ListenerPressure::default();
        let read = [Some(1), None, Some(9), Some(9), None, Some(9)];
        for (tenth, overflows) in (0..).step_by(10).zip(read) {
            assert!(!pressure.round(tenths(tenth), overflows));
        }
    }
}

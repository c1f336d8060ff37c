//! The times at which connections are due.
//!
//! With a constant rate, due times are fixed before the first connection begins and do not depend on the others:
//! measuring from the due time includes the effect of a stall on connections that should have begun during it (Gil
//! Tene's "coordinated omission"). With a fixed number open at a time there are no due times, so stalls are not
//! included.

use std::time::Duration;

/// What determines when the next connection begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// The rate: connections per second (open loop).
    PerSecond(u64),
    /// The end of another connection: number open at a time (closed loop).
    AtOnce(usize),
}

/// The connections that have not begun. All times are since the start of the run.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    connections: u64,
    time: Duration,
    begun: u64,
}

impl Schedule {
    /// `connections` at most, none due at or after `time`.
    pub(super) fn new(pace: Pace, connections: u64, time: Duration) -> Self {
        Self {
            pace,
            connections,
            time,
            begun: 0,
        }
    }

    /// Takes the next connection if it is due `now` while `running` others are open; returns its due time.
    pub(super) fn take(&mut self, now: Duration, running: usize) -> Option<Duration> {
        let intended = match self.pace {
            Pace::PerSecond(_) => self.next()?,
            Pace::AtOnce(most) if running < most && !self.over(now) => now,
            Pace::AtOnce(_) => return None,
        };
        if intended > now {
            return None;
        }
        self.begun += 1;
        Some(intended)
    }

    /// When the next connection is due; `None` if that depends on the others, or if there is no next.
    pub(super) fn next(&self) -> Option<Duration> {
        match self.pace {
            Pace::PerSecond(rate) if self.begun < self.connections => {
                Some(nth(self.begun, rate)).filter(|intended| *intended < self.time)
            }
            _ => None,
        }
    }

    /// Whether no further connection will begin.
    pub(super) fn over(&self, now: Duration) -> bool {
        match self.pace {
            Pace::PerSecond(_) => self.next().is_none(),
            Pace::AtOnce(_) => self.begun >= self.connections || now >= self.time,
        }
    }

    /// Abandons the overdue connections `grace` after the last was due; returns their number.
    pub(super) fn abandon(&mut self, now: Duration, grace: Duration) -> u64 {
        let Pace::PerSecond(rate) = self.pace else {
            return 0;
        };
        // The first connection that is due at `time` or later.
        let in_time = (self.time.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000);
        let all = u64::try_from(in_time).map_or(self.connections, |all| all.min(self.connections));
        let last = nth(all.saturating_sub(1), rate);
        if now < last.saturating_add(grace) {
            return 0;
        }
        let abandoned = all.saturating_sub(self.begun);
        self.connections = self.begun.min(self.connections);
        abandoned
    }
}

/// When connection `number`, from 0, is due at `rate` per second.
fn nth(number: u64, rate: u64) -> Duration {
    let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn drain(schedule: &mut Schedule, now: Duration) -> Vec<Duration> {
        std::iter::from_fn(|| schedule.take(now, 0)).collect()
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        // 3 per second: thirds are not rounded one by one.
        let mut schedule = Schedule::new(Pace::PerSecond(3), u64::MAX, Duration::MAX);
        let begun = drain(&mut schedule, Duration::from_secs(1000));
        assert_eq!(begun.len(), 3001);
        assert_eq!(begun[3000], Duration::from_secs(1000));
        assert_eq!(begun[1], Duration::from_nanos(333_333_333));
    }

    #[test]
    fn what_a_stall_delayed_keeps_its_intended_time() {
        let mut schedule = Schedule::new(Pace::PerSecond(1000), 10, Duration::MAX);
        assert_eq!(drain(&mut schedule, MS(1)), [MS(0), MS(1)]);
        assert_eq!(schedule.next(), Some(MS(2)));
        assert_eq!(drain(&mut schedule, MS(5)), [MS(2), MS(3), MS(4), MS(5)]);
        // Whoever is under way does not matter.
        assert_eq!(schedule.take(MS(6), 1_000_000), Some(MS(6)));
    }

    #[test]
    fn number_and_time_end_it() {
        let mut schedule = Schedule::new(Pace::PerSecond(1000), 3, Duration::MAX);
        assert_eq!(drain(&mut schedule, MS(100)).len(), 3);
        assert!(schedule.over(MS(100)) && schedule.next().is_none());
        // The connection that would begin at the very end does not.
        let mut schedule = Schedule::new(Pace::PerSecond(1000), u64::MAX, MS(5));
        assert_eq!(drain(&mut schedule, MS(100)).len(), 5);
        assert!(schedule.over(MS(100)));
    }

    #[test]
    fn what_never_began_is_counted() {
        let mut schedule = Schedule::new(Pace::PerSecond(1000), u64::MAX, MS(5));
        assert!(schedule.take(MS(0), 0).is_some());
        assert_eq!(schedule.abandon(MS(103), MS(100)), 0);
        assert!(!schedule.over(MS(103)));
        assert_eq!(schedule.abandon(MS(104), MS(100)), 4);
        assert!(schedule.over(MS(104)) && schedule.next().is_none());
        assert_eq!(schedule.abandon(MS(105), MS(100)), 0, "but once");
        let mut endless = Schedule::new(Pace::PerSecond(1), 2, Duration::MAX);
        assert_eq!(endless.abandon(Duration::from_secs(60), MS(1)), 2);
    }

    #[test]
    fn so_many_at_a_time() {
        let mut schedule = Schedule::new(Pace::AtOnce(2), 3, MS(10));
        assert_eq!(schedule.take(MS(1), 0), Some(MS(1)));
        assert_eq!(schedule.take(MS(1), 1), Some(MS(1)));
        assert_eq!(schedule.take(MS(1), 2), None);
        assert_eq!(schedule.next(), None, "that depends on the others");
        assert!(schedule.over(MS(10)));
        assert_eq!(schedule.take(MS(10), 1), None);
        assert_eq!(schedule.take(MS(9), 1), Some(MS(9)));
        assert!(schedule.over(MS(9)), "the third was the last");
    }
}

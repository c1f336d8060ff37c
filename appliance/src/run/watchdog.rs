//! The service manager's watchdog (sd_watchdog_enabled(3)): it restarts a process that does not say in time that it works.

use std::time::{Duration, Instant};

use crate::observe::notify;

/// Says WATCHDOG=1 while everything works, four times in the period that the service manager allows.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// `None`: nobody watches.
    interval: Option<Duration>,
    fed_at: Option<Instant>,
}

impl Watchdog {
    /// As the service manager asks by the environment (WATCHDOG_USEC, WATCHDOG_PID).
    pub(super) fn from_environment() -> Self {
        Self {
            interval: notify::watchdog_period().map(|period| period / 4),
            fed_at: None,
        }
    }

    /// Notifies, if it is time to and everything works.
    pub(super) fn feed(&mut self, now: Instant, works: impl FnOnce() -> bool) {
        if self.is_due(now) && works() {
            self.fed_at = Some(now);
            notify::notify_watchdog();
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.interval.is_some_and(|interval| {
            self.fed_at
                .is_none_or(|at| now.saturating_duration_since(at) >= interval)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_fed_each_interval_and_only_while_everything_works() {
        let began = Instant::now();
        let mut watchdog = Watchdog {
            interval: Some(SECOND),
            fed_at: None,
        };
        watchdog.feed(began, || false);
        assert!(watchdog.is_due(began), "what does not work feeds nobody");
        watchdog.feed(began, || true);
        assert!(!watchdog.is_due(began + SECOND / 2));
        watchdog.feed(began + SECOND, || false);
        assert!(watchdog.is_due(began + SECOND));
    }

    #[test]
    fn without_a_watchdog_nothing_is_asked() {
        let mut watchdog = Watchdog {
            interval: None,
            fed_at: None,
        };
        watchdog.feed(Instant::now(), || panic!("nobody watches"));
    }
}

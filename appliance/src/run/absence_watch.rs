//! Notices that workers are back after an absence in which clients passed unchallenged (`when_absent = "pass"`): their connections
//! are adopted as those from before the start.

use std::mem;
use std::time::{Duration, Instant};

use synward_core::layout::ABSENT_AFTER;

use super::start::Appliance;
use crate::maps::coarse_now;

/// What was seen in the round before.
#[derive(Debug)]
pub(super) struct AbsenceWatch {
    looked_at: Instant,
    was_absent: bool,
}

impl AbsenceWatch {
    /// Of an appliance that has just started.
    pub(super) fn new() -> Self {
        Self {
            looked_at: Instant::now(),
            was_absent: false,
        }
    }

    /// Has connections adopted when an absence is over.
    pub(super) fn round(&mut self, appliance: &mut Appliance) {
        let (beats, now) = (appliance.steering.heartbeats(), coarse_now());
        let mut workers = appliance.workers.iter();
        let absent = workers.any(|one| now.saturating_sub(beats.last(one.queue)) >= ABSENT_AFTER);
        if self.has_ended(Instant::now(), absent)
            && let Err(error) = appliance.steering.adopt_after_absence()
        {
            tracing::error!(%error, "connections that passed without a worker cannot be adopted");
        }
    }

    /// Whether an absence has ended: of workers, or of the whole process, which was frozen between two rounds.
    fn has_ended(&mut self, now: Instant, absent: bool) -> bool {
        let since = now.duration_since(mem::replace(&mut self.looked_at, now));
        let was_frozen = since >= Duration::from_nanos(ABSENT_AFTER);
        let was_absent = mem::replace(&mut self.was_absent, absent);
        !absent && (was_absent || was_frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_ends_once() {
        let mut watch = AbsenceWatch::new();
        let began = Instant::now();
        let mut look =
            |seconds, absent| watch.has_ended(began + Duration::from_secs(seconds), absent);
        assert!(!look(1, false));
        assert!(!look(2, true), "workers are absent");
        assert!(look(3, false) && !look(4, false));
        assert!(look(9, false), "the process was frozen");
        assert!(!look(14, true), "the workers are not back yet");
        assert!(look(15, false) && !look(16, false));
    }
}

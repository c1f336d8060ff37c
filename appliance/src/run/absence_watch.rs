//! Notices that workers are back after an absence in which clients passed unchallenged (`when_absent = "pass"`): their connections
//! are adopted as those from before the start.
//!
//! Each worker sees by its own heartbeats that it was absent: also if it was frozen together with this thread, or has begun long
//! after the programs. How long a round of this thread takes says nothing about workers.

use std::mem;

use super::start::Appliance;

/// What was seen in the round before.
#[derive(Debug, Default)]
pub(super) struct AbsenceWatch {
    /// Absences of all workers that have ended, from the start on.
    ended: u64,
}

impl AbsenceWatch {
    /// Has connections adopted when an absence is over.
    pub(super) fn round(&mut self, appliance: &mut Appliance) {
        let ended = appliance.workers.iter().map(|one| one.status.returns());
        if self.has_ended(ended.sum())
            && let Err(error) = appliance.steering.adopt_after_absence()
        {
            tracing::error!(%error, "connections that passed without a worker cannot be adopted");
        }
    }

    /// Whether an absence has ended since the round before. `ended` is the number of those that have.
    fn has_ended(&mut self, ended: u64) -> bool {
        mem::replace(&mut self.ended, ended) != ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_ends_once() {
        let mut watch = AbsenceWatch::default();
        assert!(!watch.has_ended(0), "rounds take as long as they may");
        assert!(watch.has_ended(1), "of a worker");
        assert!(!watch.has_ended(1));
        assert!(watch.has_ended(3), "of two");
        assert!(!watch.has_ended(3));
    }

    #[test]
    fn an_absence_before_the_first_round_counts() {
        assert!(AbsenceWatch::default().has_ended(2));
    }
}

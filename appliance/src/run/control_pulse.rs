//! What the control thread does, and since when. It may hang, with the lock of the appliance or without: in the kernel, or in a
//! file system that does not answer. Observers then say so instead of waiting, or of showing a state that nobody renews.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long an observer waits for the lock: less than `status` waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same once it is known that the thread hangs.
const LITTLE: Duration = Duration::from_millis(100);

/// What the control thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Its rounds, ten a second.
    Rounds,
    /// A reload: it reads files, and fills many maps.
    Reload,
}

impl Activity {
    /// After which time it hangs.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Rounds => 5,
            // Longer than a client waits for the report (`reload_request`).
            Self::Reload => 20,
        })
    }
}

/// The control thread's activity, written by it and read by all.
#[derive(Debug)]
pub(super) struct ControlPulse {
    origin: Instant,
    /// Milliseconds from `origin` to the begin of the activity, times two, plus one for a reload.
    word: AtomicU64,
}

impl ControlPulse {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            word: AtomicU64::new(0),
        }
    }

    /// The control thread begins a round, or a reload.
    pub(super) fn begin(&self, activity: Activity, now: Instant) {
        let milliseconds = now.saturating_duration_since(self.origin).as_millis() as u64;
        let word = (milliseconds << 1) | u64::from(activity == Activity::Reload);
        self.word.store(word, Relaxed);
    }

    /// Why the control thread must be taken for hanging.
    pub(super) fn fault(&self, now: Instant) -> Option<String> {
        let (activity, age) = self.age(now);
        (age > activity.limit()).then(|| describe(activity, age))
    }

    /// How long an observer waits for the lock.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        match self.fault(now) {
            Some(_) => LITTLE,
            None => PATIENCE,
        }
    }

    /// Why the lock was not to be had. It may be had soon, unless the control thread must be taken for hanging.
    pub(super) fn refusal(&self, now: Instant) -> String {
        self.fault(now).unwrap_or_else(|| {
            let (activity, age) = self.age(now);
            format!("{}; ask again", state(activity, age))
        })
    }

    fn age(&self, now: Instant) -> (Activity, Duration) {
        let word = self.word.load(Relaxed);
        let activity = match word & 1 {
            0 => Activity::Rounds,
            _ => Activity::Reload,
        };
        let began = self.origin + Duration::from_millis(word >> 1);
        (activity, now.saturating_duration_since(began))
    }
}

/// What the control thread does, and for how long.
fn state(activity: Activity, age: Duration) -> String {
    let seconds = age.as_secs();
    match activity {
        Activity::Rounds => format!("the control thread has made no round for {seconds} s"),
        Activity::Reload => format!("a reload has gone on for {seconds} s"),
    }
}

fn describe(activity: Activity, age: Duration) -> String {
    let (state, pid) = (state(activity, age), std::process::id());
    match activity {
        Activity::Rounds => format!(
            "{state}: no keys are renewed, and no attack and no fault is seen; /proc/{pid}/stack says where the kernel keeps \
             it; to end that, `kill -9 {pid}` and start synward again"
        ),
        Activity::Reload => format!(
            "{state}: one of its files may be on a file system that does not answer; mend that, or `kill -9 {pid}` and start \
             synward again"
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_named_and_waited_for_no_more() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let pulse = ControlPulse::new(start);
        pulse.begin(Activity::Rounds, at(100));
        assert_eq!(pulse.fault(at(5_000)), None);
        assert_eq!(pulse.patience(at(5_000)), PATIENCE);
        assert_eq!(
            pulse.refusal(at(4_200)),
            "the control thread has made no round for 4 s; ask again"
        );
        let fault = pulse.fault(at(7_200)).unwrap();
        assert!(fault.contains("no round for 7 s"), "{fault}");
        assert_eq!(pulse.refusal(at(7_200)), fault);
        assert_eq!(pulse.patience(at(7_200)), LITTLE);

        pulse.begin(Activity::Reload, at(8_000));
        assert_eq!(pulse.fault(at(27_900)), None);
        assert_eq!(
            pulse.refusal(at(27_900)),
            "a reload has gone on for 19 s; ask again",
            "it fills maps: it has read its files before"
        );
        let fault = pulse.fault(at(28_900)).unwrap();
        assert!(fault.contains("gone on for 20 s"), "{fault}");
        pulse.begin(Activity::Rounds, at(29_000));
        assert_eq!(pulse.fault(at(29_100)), None);
    }
}

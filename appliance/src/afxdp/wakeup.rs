//! Decides when a driver needs a wakeup: the rule alone, without system call and clock.
//!
//! A wakeup (`ndo_xsk_wakeup`) makes the driver process a ring. Most drivers only schedule their NAPI, which runs later and
//! often on another CPU. While it has not run, a second wakeup has no effect, and once it has taken the entries of a ring,
//! interrupts report their completion. So there are two reasons for a wakeup:
//!
//! - Entries wait, and the driver has taken all that earlier wakeups announced. It may be asleep.
//! - Nothing has moved for [`PATIENCE`]: the wakeup was lost, or the driver completes entries only when it is woken.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// How long a driver may be silent before it is woken again.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);

/// A ring that this process fills and the driver empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entries {
    /// Entries ever submitted, modulo 2³².
    pub(super) submitted: u32,
    /// Of these, entries that the driver has not taken from the ring.
    pub(super) waiting: u32,
    /// Of these, entries that the driver has not completed; at least `waiting`.
    pub(super) unfinished: u32,
}

/// What is known about the driver's progress on one ring.
#[derive(Debug, Default)]
pub(super) struct Wakeup {
    /// [`Entries::submitted`] at the last wakeup: all of these entries are announced.
    announced: u32,
    seen: Entries,
    /// Since when the entries are as in `seen`, or the time of the last wakeup if that is later.
    silent_since: Option<Instant>,
}

impl Wakeup {
    /// Whether to wake the driver now. If so, all entries count as announced. Call it only while the kernel's flag asks for
    /// wakeups (`XDP_RING_NEED_WAKEUP`).
    ///
    /// Reads the clock only while entries are unfinished.
    #[inline]
    pub(super) fn due(&mut self, entries: Entries, clock: impl FnOnce() -> Instant) -> bool {
        if entries.unfinished == 0 {
            return false;
        }
        let now = clock();
        if entries != self.seen {
            self.seen = entries;
            self.silent_since = Some(now);
        }
        let taken = entries.submitted.wrapping_sub(entries.waiting);
        let announced_are_taken = taken.wrapping_sub(self.announced) as i32 >= 0;
        let silent = self
            .silent_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        let due = silent || entries.waiting > 0 && announced_are_taken;
        if due {
            self.announced = entries.submitted;
            self.silent_since = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of a worker on one ring.
    struct Turns {
        wakeup: Wakeup,
        now: Instant,
    }

    impl Turns {
        fn new() -> Self {
            Turns {
                wakeup: Wakeup::default(),
                now: Instant::now(),
            }
        }

        /// One turn, `after` microseconds after the previous one.
        fn due(&mut self, after: u64, submitted: u32, waiting: u32, unfinished: u32) -> bool {
            self.now += Duration::from_micros(after);
            let entries = Entries {
                submitted,
                waiting,
                unfinished,
            };
            let now = self.now;
            self.wakeup.due(entries, || now)
        }
    }

    #[test]
    fn a_submission_is_announced_once() {
        let mut turns = Turns::new();
        assert!(turns.due(0, 8, 8, 8));
        // Ten turns within the patience: the driver has not run yet, has taken some, has taken all.
        assert!((0..4).all(|_| !turns.due(50, 8, 8, 8)));
        assert!((0..3).all(|_| !turns.due(50, 8, 3, 8)));
        assert!((0..3).all(|_| !turns.due(50, 8, 0, 8)));
    }

    #[test]
    fn entries_added_before_the_driver_ran_need_no_wakeup_of_their_own() {
        let mut turns = Turns::new();
        assert!(turns.due(0, 8, 8, 8));
        assert!(!turns.due(50, 16, 16, 16));
        // It took the announced ones only, and may be asleep again.
        assert!(turns.due(50, 16, 8, 16));
        assert!(!turns.due(50, 16, 8, 16));
    }

    #[test]
    fn a_driver_that_processes_the_ring_by_itself_is_left_alone() {
        let mut turns = Turns::new();
        let moving = (1..100).all(|turn| !turns.due(500, 8 * turn, 0, 8));
        assert!(
            moving,
            "each turn, all entries of the previous one are completed"
        );
    }

    #[test]
    fn a_silent_driver_is_woken_once_per_patience() {
        let mut turns = Turns::new();
        assert!(turns.due(0, 8, 8, 8));
        let woken = (0..1000).filter(|_| turns.due(10, 8, 0, 8)).count();
        assert!((8..=10).contains(&woken), "{woken} wakeups in 10 ms");
    }

    #[test]
    fn without_unfinished_entries_there_is_no_wakeup_and_no_clock() {
        let mut wakeup = Wakeup::default();
        let entries = Entries {
            submitted: 8,
            ..Entries::default()
        };
        assert!(!wakeup.due(entries, || panic!("the clock was read")));
    }

    #[test]
    fn counts_may_wrap() {
        let mut turns = Turns::new();
        turns.wakeup.announced = u32::MAX - 3;
        assert!(turns.due(0, 4, 8, 8));
        assert!(!turns.due(50, 4, 8, 8));
        assert!(turns.due(50, 12, 8, 8));
    }
}

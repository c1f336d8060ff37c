//! Bounds how often one kind of line is logged: an event of every connection must not fill a disk.

use std::time::{Duration, Instant};

/// Least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(1);

/// The limit of one kind of line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLimit {
    logged: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// Whether to log a line at `now`: the number of lines left out since the last one, or `None` to leave this one out too.
    pub fn pass_at(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|at| now < at + INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }

    /// [`Self::pass_at`] now.
    pub fn pass(&mut self) -> Option<u64> {
        self.pass_at(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        assert_eq!(limit.pass_at(now), Some(0));
        for _ in 0..7 {
            assert_eq!(limit.pass_at(now), None);
        }
        assert_eq!(limit.pass_at(now + INTERVAL), Some(7));
        assert_eq!(limit.pass_at(now + 2 * INTERVAL), Some(0));
    }
}

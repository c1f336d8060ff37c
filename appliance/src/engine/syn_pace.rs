//! How many SYNs may be on their way to one server: a burst of clients waits in the openings instead of in the server's SYN
//! queue.
//!
//! A server whose SYN queue overflows drops SYNs, or answers them with SYN cookies of its own, which hold few options. The
//! bound is therefore found as TCP finds its congestion window (RFC 5681): it grows while answers are complete and clients wait,
//! and is halved when one lacks an option that the SYN had.

/// The bound before a server has answered. The shortest listen backlog in common use is 128.
const START: u32 = 64;
/// Up to here the bound grows by one for each answer, and from here on by one for each round of answers.
const SLOW_START: u32 = 128;
/// The largest bound.
const MAX: u32 = 1024;
/// The smallest bound, and that of a silent server.
const MIN: u32 = 8;
/// Nanoseconds between two reductions: about one round trip.
const BETWEEN_REDUCTIONS: u64 = 250_000_000;

/// The SYNs on their way to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct SynPace {
    in_flight: u32,
    bound: u32,
    /// Answers since the bound grew.
    answers: u32,
    reduced: u64,
}

impl Default for SynPace {
    fn default() -> Self {
        Self {
            in_flight: 0,
            bound: START,
            answers: 0,
            reduced: 0,
        }
    }
}

impl SynPace {
    /// Whether another SYN may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.in_flight < self.bound
    }

    /// A SYN was sent.
    pub(super) fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// A SYN is no longer on its way: it was answered, is taken for lost, or its client is gone.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The server has given all options of a SYN, while other SYNs wait.
    pub(super) fn grow(&mut self) {
        self.answers += 1;
        if self.bound < SLOW_START || self.answers >= self.bound {
            self.bound = (self.bound + 1).min(MAX);
            self.answers = 0;
        }
    }

    /// The server has refused an option: its SYN queue may be full.
    pub(super) fn reduce(&mut self, now: u64) {
        if now.saturating_sub(self.reduced) >= BETWEEN_REDUCTIONS {
            self.reduced = now;
            self.bound = (self.bound / 2).max(MIN);
        }
    }

    /// The server does not answer.
    pub(super) fn silent(&mut self) {
        self.bound = MIN;
    }

    /// The server answers again.
    pub(super) fn recovered(&mut self) {
        self.bound = self.bound.max(START);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_answers_and_is_halved_once_a_round() {
        let mut pace = SynPace::default();
        for _ in 0..START {
            assert!(pace.may_send());
            pace.sent();
        }
        assert!(!pace.may_send());
        pace.ended();
        assert!(pace.may_send());
        for _ in START..SLOW_START {
            pace.grow();
        }
        assert_eq!(pace.bound, SLOW_START);
        for _ in 0..SLOW_START {
            pace.grow();
        }
        assert_eq!(pace.bound, SLOW_START + 1);
        let now = 5_000_000_000;
        for late in [0, 1, BETWEEN_REDUCTIONS] {
            pace.reduce(now + late);
        }
        assert_eq!(pace.bound, 32);
        pace.silent();
        assert_eq!(pace.bound, MIN);
        pace.recovered();
        assert_eq!(pace.bound, START);
    }
}

//! What a service normally sees: the mean of its rate, with the weight of older rates falling exponentially.

use std::time::Duration;

/// After this time an older rate has a weight of 1/e.
const MEMORY: Duration = Duration::from_secs(300);

/// The mean rate of the last minutes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NormalRate {
    value: f64,
    /// For how long rates were added, at most [`MEMORY`]: the first ones count equally.
    seen: Duration,
}

impl NormalRate {
    /// Adds the rate of the time that has passed since the last call.
    pub(super) fn add(&mut self, rate: f64, elapsed: Duration) {
        self.seen = (self.seen + elapsed).min(MEMORY);
        if !self.seen.is_zero() {
            let weight = (elapsed.as_secs_f64() / self.seen.as_secs_f64()).min(1.0);
            self.value += weight * (rate - self.value);
        }
    }

    /// A second.
    pub(super) fn value(self) -> f64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_minutes_are_a_mean_and_later_ones_fade() {
        let mut normal = NormalRate::default();
        normal.add(5.0, Duration::ZERO);
        assert_eq!(normal.value(), 0.0);
        for _ in 0..10 {
            normal.add(100.0, Duration::from_millis(100));
        }
        assert!((normal.value() - 100.0).abs() < 1e-9);
        normal.add(300.0, Duration::from_secs(1));
        assert!((normal.value() - 200.0).abs() < 1e-9);
        normal.add(200.0, Duration::from_secs(100_000));
        assert_eq!(normal.value(), 200.0);
        for _ in 0..3000 {
            normal.add(1_000.0, Duration::from_millis(100));
        }
        let left = (1_000.0 - normal.value()) / 800.0;
        assert!((left - (-1.0_f64).exp()).abs() < 0.01, "{left}");
    }
}

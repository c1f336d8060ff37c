//! A histogram of handoff durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Inclusive upper bounds of the buckets: from a server on the same network to one that answers the third SYN.
pub const BOUNDS: [Duration; 16] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_micros(1_000),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Durations by bucket. Each worker has its own histogram; a snapshot contains the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Number of durations in each bucket of [`BOUNDS`]. Durations beyond the last bound are only in `count`.
    pub buckets: [u64; BOUNDS.len()],
    /// Total number of durations.
    pub count: u64,
    /// Sum of the durations in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub fn observe(&mut self, took: Duration) {
        if let Some(bucket) = self.buckets.get_mut(Self::bucket(took)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum_seconds += took.as_secs_f64();
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        for (total, value) in self.buckets.iter_mut().zip(other.buckets) {
            *total += value;
        }
        self.count += other.count;
        self.sum_seconds += other.sum_seconds;
    }

    /// Index of the bucket for a duration; `BOUNDS.len()` if it exceeds the last bound.
    #[inline]
    pub fn bucket(took: Duration) -> usize {
        BOUNDS.partition_point(|bound| *bound < took)
    }

    /// Each bound with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS
            .iter()
            .zip(self.buckets)
            .scan(0, |sum, (bound, count)| {
                *sum += count;
                Some((*bound, *sum))
            })
    }

    /// The smallest bound that at least this share (0 to 1) of the durations did not exceed. `None` if there is no
    /// such bound, or no duration.
    pub fn within(&self, share: f64) -> Option<Duration> {
        let needed = (self.count as f64 * share).ceil().max(1.0);
        self.cumulative()
            .find(|(_, count)| *count as f64 >= needed)
            .map(|(bound, _)| bound)
    }

    /// The mean; `None` without durations.
    pub fn mean(&self) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        Duration::try_from_secs_f64(self.sum_seconds / self.count as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut one = Histogram::default();
        for took in [
            Duration::ZERO,
            BOUNDS[0],
            BOUNDS[0] + Duration::from_nanos(1),
        ] {
            one.observe(took);
        }
        let mut sum = Histogram::default();
        sum.observe(Duration::from_secs(11));
        sum.add(&one);
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.count), (2, 1, 4));
        let last = sum.cumulative().last();
        assert_eq!(last, Some((Duration::from_secs(10), 3)));
        assert_eq!(sum.within(0.75), Some(BOUNDS[1]));
        assert_eq!(sum.within(0.99), None);
        assert_eq!(Histogram::default().within(0.5), None);
    }
}

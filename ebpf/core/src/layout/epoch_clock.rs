//! The time from which the programs know the epoch.

/// The time as the control thread last set it, on the clock of `bpf_ktime_get_coarse_ns` (CLOCK_MONOTONIC_COARSE). Reading it
/// costs a tenth of a fine clock, and it is exact enough for epochs of 32 s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// An epoch.
    pub epoch: u64,
    /// When that epoch began, ns.
    pub epoch_start: u64,
}

impl Clock {
    /// The epoch at `now` (ns). It advances without the control thread.
    #[inline(always)]
    pub const fn epoch_at(&self, now: u64) -> u64 {
        let passed = now.wrapping_sub(self.epoch_start);
        // A program may have read its time just before the control thread began this epoch.
        if passed < crate::cookie::EPOCH_NANOSECONDS || passed.cast_signed() < 0 {
            self.epoch
        } else {
            self.epoch
                .wrapping_add(passed / crate::cookie::EPOCH_NANOSECONDS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_advance_without_the_control_thread() {
        let clock = Clock {
            epoch: 10,
            epoch_start: 1_000,
        };
        assert_eq!(clock.epoch_at(1_000), 10);
        assert_eq!(clock.epoch_at(999), 10);
        assert_eq!(clock.epoch_at(999 + 32_000_000_000), 10);
        assert_eq!(clock.epoch_at(1_000 + 32_000_000_000 * 70), 80);
    }
}

//! When a flow last carried a segment: the coarse clock in 32 bits.

/// A moment of the coarse clock (CLOCK_MONOTONIC_COARSE, `bpf_ktime_get_coarse_ns`), in units of 2³⁰ ns (1.07 s).
///
/// The unit is a power of two, so that the XDP program shifts instead of dividing. Values wrap after 146 years.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTime(u32);

impl FlowTime {
    /// Nanoseconds of one unit.
    pub const UNIT_NS: u64 = 1 << 30;

    /// The unit in which `ns` of the coarse clock lies.
    #[inline(always)]
    pub const fn from_ns(ns: u64) -> Self {
        Self((ns / Self::UNIT_NS) as u32)
    }

    /// The time that a map holds as a word; the inverse of [`Self::to_word`].
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// The word that a map holds.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        self.0
    }

    /// The time `units` later.
    #[inline(always)]
    pub const fn wrapping_add(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// Units from `earlier` to this time. Zero if `earlier` is the later one: another CPU, whose clock is ahead, may have
    /// written it.
    #[inline(always)]
    pub const fn elapsed_since(self, earlier: Self) -> u32 {
        let units = self.0.wrapping_sub(earlier.0);
        if units > u32::MAX / 2 { 0 } else { units }
    }

    /// Units that last at least `seconds`; saturates.
    pub const fn units_of_seconds(seconds: u64) -> u32 {
        let units = (seconds as u128 * 1_000_000_000).div_ceil(Self::UNIT_NS as u128);
        if units > u32::MAX as u128 {
            u32::MAX
        } else {
            units as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_last_at_least_the_seconds_given() {
        assert_eq!(FlowTime::units_of_seconds(0), 0);
        assert_eq!(FlowTime::units_of_seconds(1), 1);
        assert_eq!(FlowTime::units_of_seconds(240), 224);
        assert_eq!(FlowTime::units_of_seconds(u64::MAX), u32::MAX);
        let units = u64::from(FlowTime::units_of_seconds(7500));
        assert!(units * FlowTime::UNIT_NS >= 7_500_000_000_000);
    }

    #[test]
    fn time_elapses_across_the_wrap_and_never_backwards() {
        let before = FlowTime::from_word(u32::MAX);
        let after = before.wrapping_add(3);
        assert_eq!(after.to_word(), 2);
        assert_eq!(after.elapsed_since(before), 3);
        assert_eq!(before.elapsed_since(after), 0);
        let last_ns = FlowTime::from_ns(FlowTime::UNIT_NS - 1);
        assert_eq!(
            FlowTime::from_ns(FlowTime::UNIT_NS).elapsed_since(last_ns),
            1
        );
    }
}

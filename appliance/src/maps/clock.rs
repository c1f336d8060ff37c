//! The two clocks: the wall clock, which counts epochs, and the coarse monotonic clock, which the XDP program reads.
#![allow(unsafe_code)] // clock_gettime(2)

use std::time::{SystemTime, UNIX_EPOCH};

use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::flow_time::FlowTime;
use synward_core::layout::Clock;

/// CLOCK_MONOTONIC_COARSE in nanoseconds, the clock of `bpf_ktime_get_coarse_ns`. Its resolution is one jiffy.
pub fn coarse_now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC_COARSE)
}

/// CLOCK_MONOTONIC in nanoseconds: the same time with a resolution of nanoseconds, for measurements.
pub fn fine_now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec, and the call writes nothing else. Both clocks exist since Linux 2.6.32, so
    // the call cannot fail.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Now, in the unit of [`Flow::last_seen`](synward_core::layout::Flow::last_seen).
pub fn flow_now() -> FlowTime {
    FlowTime::from_ns(coarse_now())
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Nanoseconds since 1970.
    pub unix: u64,
    /// Nanoseconds of the coarse clock.
    pub coarse: u64,
}

impl Times {
    /// Reads both clocks.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            // A clock before 1970 is out of every tolerance anyway.
            unix: unix.map_or(0, |since| since.as_nanos() as u64),
            coarse: coarse_now(),
        }
    }

    /// The current epoch, that of cookies sent now.
    pub const fn epoch(&self) -> u64 {
        self.unix / EPOCH_NANOSECONDS
    }

    /// The current epoch and its start on the coarse clock. In the first epoch after boot the start is before the zero of that
    /// clock, so the subtraction wraps around; so does that of the XDP program.
    pub const fn clock(&self) -> Clock {
        Clock {
            epoch: self.epoch(),
            epoch_start: self.coarse.wrapping_sub(self.unix % EPOCH_NANOSECONDS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xdp_program_computes_the_same_epoch() {
        let times = Times {
            unix: 1_000 * EPOCH_NANOSECONDS + 7,
            coarse: 3,
        };
        let clock = times.clock();
        assert_eq!(clock.epoch_at(times.coarse), 1_000);
        assert_eq!(clock.epoch_at(times.coarse + EPOCH_NANOSECONDS - 8), 1_000);
        assert_eq!(clock.epoch_at(times.coarse + EPOCH_NANOSECONDS - 7), 1_001);
    }

    #[test]
    fn the_coarse_clock_advances() {
        let start = coarse_now();
        assert!(start > 0);
        while coarse_now() == start {
            std::hint::spin_loop();
        }
        assert!(coarse_now() > start);
    }
}

//! The two clocks: the wall clock that epochs are counted by, and the coarse one that the XDP program reads.
#![allow(unsafe_code)] // clock_gettime(2)

use std::time::{SystemTime, UNIX_EPOCH};

use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::flow_time::FlowTime;
use synward_core::layout::Clock;

/// Now in nanoseconds of CLOCK_MONOTONIC_COARSE, which is what `bpf_ktime_get_coarse_ns` reads; exact to a jiffy.
pub fn coarse_now() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Now on the same clock, exact to some nanoseconds: for what is measured rather than compared with the XDP program.
pub fn fine_now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec, which is all that the call writes. Both clocks exist since Linux
    // 2.6.32, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Now as [`Flow::last_seen`](synward_core::layout::Flow::last_seen) counts it.
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
    /// This moment.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            // A clock before 1970 is wrong by more than any neighbour would forgive anyway.
            unix: unix.map_or(0, |since| since.as_nanos() as u64),
            coarse: coarse_now(),
        }
    }

    /// The epoch of cookies made now.
    pub const fn epoch(&self) -> u64 {
        self.unix / EPOCH_NANOSECONDS
    }

    /// The current epoch and when it began on the coarse clock. That may be before the clock's zero, within an
    /// epoch of the machine's start: the XDP program subtracts with wrap-around, too.
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
    fn the_program_reads_the_epoch_that_we_mean() {
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
    fn the_coarse_clock_goes() {
        let start = coarse_now();
        assert!(start > 0);
        while coarse_now() == start {
            std::hint::spin_loop();
        }
        assert!(coarse_now() > start);
    }
}

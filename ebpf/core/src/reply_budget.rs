//! How many replies one client prefix gets: synward is no reflector.
//!
//! A SYN from a spoofed address has its answer sent to that address, and so has a segment that is answered with a RST. Replies
//! are counted per client prefix (IPv4: /24, IPv6: /64) and service in periods of 1.07 s on each CPU ([`prefix_counts`]). N
//! requests in a period bring about budget · (1 + ln(N / budget)) replies, and never none. A prefix from which a valid cookie
//! came in the last minute has [`PROVEN_FACTOR`] times the budget.
//!
//! In a flood from random addresses every cell also counts other prefixes, as many as an average cell has. That
//! [`Background`] is subtracted (count-mean-min sketch: Deng, Rafiei, "New estimation algorithms for streaming data", 2007).
//! Without it, such a flood would use up the budget of every prefix.

use crate::flow_time::FlowTime;
use crate::prefix_counts::{self, ROWS};
use crate::siphash::Hasher;
use crate::wire::Address;

/// Cells of a row, a power of two: both rows take 128 KiB on each CPU.
pub const CELLS: usize = 1 << 13;
/// How many times the budget a prefix with a proven client has.
pub const PROVEN_FACTOR: u32 = 64;
/// Replies of one CPU in a jiffy (1 to 10 ms) that are not counted. More are a flood.
pub const UNCOUNTED: u32 = 64;
/// While no prefix is near its budget, one in so many replies is counted, for so many. A power of two.
pub const SAMPLE: u32 = 16;

/// The two cells of a client prefix, and a fingerprint of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Indices in the table, one for each row.
    pub cells: [u32; ROWS],
    /// The number of the period.
    pub period: u32,
    /// Of prefix and service.
    pub fingerprint: u32,
}

/// A client prefix and the service that replies to it. Two numbers: functions of the XDP program take no large arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub(crate) prefix: u64,
    /// Index of the service; the highest bit says that the prefix is of IPv4.
    pub(crate) service: u32,
}

impl Receiver {
    /// The prefix of a client, and the service.
    #[inline(always)]
    pub const fn new(client: &Address, service: u32) -> Self {
        let [a, b, _, d] = client.0;
        if client.is_v4() {
            Self {
                prefix: (d & u32::from_ne_bytes([255, 255, 255, 0])) as u64,
                service: service | 1 << 31,
            }
        } else {
            Self {
                prefix: a as u64 | (b as u64) << 32,
                service,
            }
        }
    }

    /// The same with the prefix of a site: IPv4 stays a /24, IPv6 becomes a /48, the most that one site is usually assigned
    /// (RFC 6177 §2). Whoever has a /48 can send from any /64 of it.
    #[inline(always)]
    pub const fn of_site(self) -> Self {
        let second = u32::from_ne_bytes([255, 255, 0, 0]) as u64;
        let kept = if self.is_v4() {
            u64::MAX
        } else {
            second << 32 | u32::MAX as u64
        };
        Self {
            prefix: self.prefix & kept,
            service: self.service,
        }
    }

    /// The address of the prefix: its host bits are zero.
    pub const fn address(&self) -> Address {
        if self.is_v4() {
            Address::v4(self.prefix as u32)
        } else {
            Address([self.prefix as u32, (self.prefix >> 32) as u32, 0, 0])
        }
    }

    #[inline(always)]
    const fn is_v4(&self) -> bool {
        self.service >> 31 != 0
    }

    /// Index of the service.
    #[inline(always)]
    pub const fn service(&self) -> u32 {
        self.service & !(1 << 31)
    }

    /// The prefix's place under a random `key`; `now`: coarse clock, ns.
    #[inline(always)]
    pub const fn place(&self, key: &[u64; 2], now: u64) -> Place {
        let hasher = Hasher::<1, 3>::new(key).word(self.prefix);
        let hash = hasher.finish(self.service as u64, 12);
        let cells = prefix_counts::cells_of(hash, CELLS);
        let phases = prefix_counts::PHASES as u64;
        let later = prefix_counts::phase_of(cells[0]) as u64 * (FlowTime::UNIT_NS / phases);
        Place {
            cells,
            period: FlowTime::from_ns(now.wrapping_add(later)).to_word(),
            fingerprint: (hash >> 16) as u32,
        }
    }
}

/// The replies that an average cell of a CPU's table has counted in a period.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Background {
    /// The number of the period.
    period: u32,
    /// Replies counted in it.
    replies: u32,
    /// Replies counted in the period before.
    before: u32,
}

impl Background {
    /// Adds `weight` replies at `now` (coarse clock, ns), and says how many an average cell has. Periods of cells begin at
    /// different moments, so that is the larger of two averages: of this period so far, and of the one before.
    #[inline(always)]
    pub const fn add(&mut self, weight: u32, now: u64) -> u32 {
        let period = FlowTime::from_ns(now).to_word();
        if self.period != period {
            self.before = if period.wrapping_sub(self.period) == 1 {
                self.replies
            } else {
                0
            };
            (self.period, self.replies) = (period, 0);
        }
        self.replies = self.replies.saturating_add(weight);
        let more = if self.replies > self.before {
            self.replies
        } else {
            self.before
        };
        more / CELLS as u32
    }
}

/// How many replies the next one stands for: `sent` is its number in this jiffy, `is_near` whether some prefix is near its
/// budget. 0: it is not counted.
#[inline(always)]
pub const fn weight(sent: u32, is_near: bool) -> u32 {
    if sent <= UNCOUNTED {
        0
    } else if is_near {
        1
    } else if sent.is_multiple_of(SAMPLE) {
        SAMPLE
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u64; 2] = [1, 2];

    #[test]
    fn prefixes_are_those_of_one_network() {
        let place = |client: &Address, service| Receiver::new(client, service).place(&KEY, 0);
        let v4 = |octets| place(&Address::v4(u32::from_ne_bytes(octets)), 0);
        assert_eq!(v4([192, 0, 2, 1]), v4([192, 0, 2, 254]));
        assert_ne!(v4([192, 0, 2, 1]), v4([192, 0, 3, 1]));
        let v6 = |words| place(&Address(words), 0);
        assert_eq!(v6([1, 2, 3, 4]), v6([1, 2, 5, 6]));
        assert_ne!(v6([1, 2, 3, 4]), v6([1, 3, 3, 4]));
        assert_ne!(v6([1, 2, 3, 4]), place(&Address([1, 2, 3, 4]), 1));
    }

    #[test]
    fn the_background_is_the_average_of_this_period_or_the_one_before() {
        let mut background = Background::default();
        let second = |n: u64| n * FlowTime::UNIT_NS;
        let cells = CELLS as u32;
        assert_eq!(background.add(cells - 1, second(7)), 0);
        assert_eq!(background.add(5 * cells + 1, second(7)), 6);
        assert_eq!(background.add(cells, second(8)), 6);
        assert_eq!(background.add(8 * cells, second(8)), 9);
        assert_eq!(background.add(1, second(10)), 0, "a period without replies");
        assert_eq!(background.add(u32::MAX, second(10)), u32::MAX / cells);
    }

    #[test]
    fn few_replies_are_not_counted_and_all_are_near_a_budget() {
        let counted = |near| (1..=1000).map(|sent| weight(sent, near)).sum::<u32>();
        assert_eq!(
            (1..=UNCOUNTED).map(|sent| weight(sent, true)).sum::<u32>(),
            0
        );
        assert_eq!(counted(true), 1000 - UNCOUNTED);
        assert!(counted(false).abs_diff(1000 - UNCOUNTED) < SAMPLE);
    }
}

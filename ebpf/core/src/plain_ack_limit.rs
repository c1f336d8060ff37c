//! How many wrong plain cookies are checked: a plain cookie has a MAC of 25 bits, which a blind sender can guess.
//!
//! Wrong ACKs without timestamps are counted per client prefix (IPv4: the address, IPv6: /64), service and [`Class`], for
//! [`PERIOD`] epochs. With n of them counted, the next one is checked with the probability min(1, [`BUDGET`] / n), and
//! dropped unchecked otherwise. N wrong ACKs in a period are thus checked about BUDGET · (1 + ln(N / BUDGET)) times: the
//! sender gains next to nothing by sending more, and a client of the same prefix is never shut out for certain. SECURITY.md
//! has the odds that follow.
//!
//! The counts are [`prefix_counts`]; not all cells begin their period at the same epoch. The table also bounds what all prefixes
//! together may try.

use crate::prefix_counts::{self, Cell, ROWS};
use crate::siphash::Hasher;
use crate::wire::Address;

/// Cells of a row, a power of two.
pub const CELLS: usize = 1 << 16;
/// Wrong ACKs in a period that are checked in any case.
pub const BUDGET: u32 = 30;
/// Epochs of one period: 512 s.
pub const PERIOD: u64 = 16;
/// From this count on, one in sixteen wrong ACKs is counted, for sixteen: CPUs would otherwise pass the cell's cache line to
/// and fro with each segment of a flood.
const SAMPLED: u32 = 256;
const SAMPLE: u32 = 16;

/// What is known of an ACK before its cookie is checked. Each class has counts of its own.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No SYN of its addresses and ports was seen lately, or nobody looked.
    Unannounced = 1,
    /// A SYN of its addresses and ports was answered here lately.
    Announced = 2,
    /// As [`Self::Unannounced`], while ACKs of connections that were never challenged are expected: the service challenges
    /// nobody, or adopts connections that exist. These say nothing against their client.
    Unchallenged = 3,
    /// Its numbers are in the window of a closing connection on its addresses and ports: most such ACKs are of that one. A
    /// sender that knows no such connection hits its window once in 2¹⁴ (`flow_state`).
    OfClosing = 4,
}

/// The two cells of a client prefix, and the period that they count.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Indices in the table, one for each row.
    pub cells: [u32; ROWS],
    /// The number of the period.
    pub period: u32,
}

impl Place {
    /// The place of the prefix of `client` under a random `key`, in `epoch`.
    #[inline(always)]
    pub const fn of(
        key: &[u64; 2],
        client: &Address,
        service: u32,
        class: Class,
        epoch: u64,
    ) -> Self {
        let [a, b, _, d] = client.0;
        let prefix = if client.is_v4() {
            d as u64
        } else {
            a as u64 | (b as u64) << 32
        };
        let tail = service as u64 | (class as u64) << 32 | (client.is_v4() as u64) << 40;
        let hash = Hasher::<1, 3>::new(key).word(prefix).finish(tail, 14);
        let cells = prefix_counts::cells_of(hash, CELLS);
        let phase = prefix_counts::phase_of(cells[0]) as u64;
        let later = phase * (PERIOD / prefix_counts::PHASES as u64);
        Self {
            cells,
            period: (epoch.wrapping_add(later) / PERIOD) as u32,
        }
    }

    /// The wrong ACKs of the prefix in this period, or some more if both cells also count others.
    #[inline(always)]
    pub const fn wrong(&self, cells: [Cell; ROWS]) -> u32 {
        prefix_counts::smaller_count(cells, self.period)
    }

    /// The cell after one more wrong ACK; `None` if it stays as it is. `random` is the one of [`is_checked`].
    #[inline(always)]
    pub const fn count_wrong(&self, cell: Cell, random: u32) -> Option<Cell> {
        let weight = if prefix_counts::count(cell, self.period) < SAMPLED {
            1
        } else if random.is_multiple_of(SAMPLE) {
            SAMPLE
        } else {
            return None;
        };
        Some(prefix_counts::added(cell, self.period, weight))
    }
}

/// Whether an ACK is checked if `wrong` ones are counted; `random` is uniform over all 32-bit numbers.
#[inline(always)]
pub const fn is_checked(wrong: u32, random: u32) -> bool {
    prefix_counts::is_admitted(wrong, BUDGET, random)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::client_options::ClientOptions;
    use crate::cookie::make_cookie;
    use crate::flow::FlowKey;
    use std::vec;
    use std::vec::Vec;

    const KEY: [u64; 2] = [0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00];

    struct Table {
        cells: Vec<Cell>,
        seed: u64,
    }

    impl Table {
        fn new() -> Self {
            Self {
                cells: vec![0; ROWS * CELLS],
                seed: 1,
            }
        }

        fn random(&mut self) -> u32 {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            (crate::multilinear::mix_bits(self.seed) >> 32) as u32
        }

        fn wrong(&self, place: &Place) -> u32 {
            place.wrong(place.cells.map(|at| self.cells[at as usize]))
        }

        /// A wrong ACK arrives. Whether it is checked.
        fn try_wrong(&mut self, place: &Place) -> bool {
            let random = self.random();
            let is_checked = is_checked(self.wrong(place), random);
            for at in place.cells {
                let cell = &mut self.cells[at as usize];
                *cell = place.count_wrong(*cell, random).unwrap_or(*cell);
            }
            is_checked
        }
    }

    /// How many of `sent` wrong ACKs of one prefix are checked in a period, on average.
    fn expected(sent: f64) -> f64 {
        let budget = f64::from(BUDGET);
        budget * (1.0 + (sent / budget).ln())
    }

    fn place(client: u32, epoch: u64) -> Place {
        Place::of(&KEY, &Address::v4(client), 3, Class::Unannounced, epoch)
    }

    /// The experiment beside SECURITY.md's arithmetic: a blind sender counts through a MAC that is shortened to `BITS`
    /// bits, in one client's name, over many periods.
    #[test]
    fn forging_with_a_shortened_mac_succeeds_as_often_as_calculated() {
        const BITS: u32 = 8;
        const PERIODS: u64 = 150;
        const SENT: u32 = 50_000;
        let flow = FlowKey::new(Address::v4(7), 6666, Address::v4(8), 80);
        let options = ClientOptions {
            mss: 1460,
            window_scale: Some(8),
            sack: true,
            ecn: false,
        };
        let mut table = Table::new();
        let (mut checked, mut forged) = (0u32, 0u32);
        for period in 0..PERIODS {
            let epoch = period * PERIOD + 2;
            let key = [epoch, !epoch];
            let place = place(7, epoch);
            let right = make_cookie(&key, epoch, &flow, 5, &options, false);
            let mac = right.isn.wrapping_sub(5);
            for guess in 0..SENT {
                if table.try_wrong(&place) {
                    checked += 1;
                    forged += u32::from((mac ^ guess) & ((1 << BITS) - 1) == 0);
                }
            }
        }
        let calculated = expected(f64::from(SENT)) * PERIODS as f64;
        assert!(
            (f64::from(checked) / calculated - 1.0).abs() < 0.05,
            "{checked} of {calculated}"
        );
        let odds = calculated / f64::from(1 << BITS);
        let deviation = odds.sqrt();
        assert!(
            (f64::from(forged) - odds).abs() < 4.0 * deviation,
            "{forged} forged, {odds} calculated"
        );
        std::println!("{forged} forged, {odds:.1} calculated; {checked} ACKs checked");
    }

    #[test]
    fn all_prefixes_together_are_bounded_by_the_table() {
        const SENT: u32 = 4_000_000;
        let mut table = Table::new();
        let mut checked = 0;
        for _ in 0..SENT {
            let client = table.random();
            checked += u32::from(table.try_wrong(&place(client, 107)));
        }
        let cells = f64::from(CELLS as u32);
        let each_row = cells * expected(f64::from(SENT) / cells);
        assert!(
            f64::from(checked) < 2.0 * each_row,
            "{checked} of {each_row}"
        );
    }

    #[test]
    fn a_thousand_attacked_prefixes_do_not_touch_the_others() {
        let mut table = Table::new();
        for client in 0..1000 {
            for _ in 0..500 {
                table.try_wrong(&place(client, 100));
            }
        }
        let touched = (1_000_000..1_100_000)
            .filter(|client| table.wrong(&place(*client, 100)) >= BUDGET)
            .count();
        assert!(touched < 60, "{touched} of 100,000 share both cells");
    }

    #[test]
    fn a_prefix_is_never_shut_out_and_recovers_with_the_next_period() {
        let mut table = Table::new();
        let attacked = place(7, 100);
        for _ in 0..100_000 {
            table.try_wrong(&attacked);
        }
        let checked = (0..1_000_000)
            .filter(|_| {
                let random = table.random();
                is_checked(table.wrong(&attacked), random)
            })
            .count();
        assert!((150..=500).contains(&checked), "{checked}");
        assert_eq!(table.wrong(&place(7, 100 + PERIOD)), 0);
        for class in [Class::Announced, Class::Unchallenged] {
            let other = Place::of(&KEY, &Address::v4(7), 3, class, 100);
            assert_eq!(table.wrong(&other), 0);
        }
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_64_bit_prefix() {
        let at = |address: [u32; 4]| Place::of(&KEY, &Address(address), 3, Class::Announced, 1);
        assert_eq!(at([1, 2, 3, 4]), at([1, 2, 5, 6]));
        assert_ne!(at([1, 2, 3, 4]), at([1, 3, 3, 4]));
    }
}

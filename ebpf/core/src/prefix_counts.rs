//! Counts of client prefixes in a table of fixed size, and limits that are never exact.
//!
//! A prefix has one cell in each of two rows, under bits of a keyed hash; the smaller count decides. A prefix is hit by what
//! others do only if both of its cells are, and nobody can choose or observe which prefixes share a cell. With n counted in a
//! period, the next is admitted with the probability min(1, budget / n): of N, budget · (1 + ln(N / budget)) are admitted. No
//! sender gains much by sending more, no prefix is ever shut out for certain, and no exact count can be measured from outside
//! (CVE-2016-5696 was an exact limit that all shared).

/// Rows of a table.
pub const ROWS: usize = 2;

/// A count: the number of the period in the upper half, the count in the lower.
pub type Cell = u64;

/// The count of a cell in `period`.
#[inline(always)]
pub const fn count(cell: Cell, period: u32) -> u32 {
    if (cell >> 32) as u32 == period {
        cell as u32
    } else {
        0
    }
}

/// The count of a prefix with these cells in `period`, or some more if both also count others.
#[inline(always)]
pub const fn smaller_count(cells: [Cell; ROWS], period: u32) -> u32 {
    let (one, other) = (count(cells[0], period), count(cells[1], period));
    if one < other { one } else { other }
}

/// The cell with `more` counted in `period`.
#[inline(always)]
pub const fn added(cell: Cell, period: u32, more: u32) -> Cell {
    (period as u64) << 32 | count(cell, period).saturating_add(more) as u64
}

/// Whether one more is admitted after `count`; `random` is uniform over all 32-bit numbers.
#[inline(always)]
pub const fn is_admitted(count: u32, budget: u32, random: u32) -> bool {
    count < budget || (random as u64 * count as u64) >> 32 < budget as u64
}

/// Phases of cells: the periods of a cell begin at one of so many moments. A power of two.
pub const PHASES: u32 = 4;

/// The cells of a prefix in a table of two rows with `cells` (a power of two) each. Both have the same phase, so that they
/// begin a period together.
#[inline(always)]
pub const fn cells_of(hash: u64, cells: usize) -> [u32; ROWS] {
    let mask = cells as u32 - 1;
    let one = hash as u32 & mask;
    let other = (hash >> 32) as u32 & mask & !(PHASES - 1) | phase_of(one);
    [one, cells as u32 | other]
}

/// The phase of a cell. All prefixes that share a cell share it: their periods have the same number.
#[inline(always)]
pub const fn phase_of(cell: u32) -> u32 {
    cell & (PHASES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_begins_anew_with_its_period() {
        let cell = added(added(0, 7, 3), 7, 2);
        assert_eq!((count(cell, 7), count(cell, 8)), (5, 0));
        assert_eq!(count(added(cell, 8, 1), 8), 1);
        assert_eq!(smaller_count([cell, added(0, 7, 9)], 7), 5);
        assert_eq!(count(added(added(0, 1, u32::MAX), 1, 9), 1), u32::MAX);
    }

    #[test]
    fn both_cells_of_a_prefix_have_one_phase() {
        for hash in (0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let [one, other] = cells_of(hash, 1 << 16);
            assert!(one < 1 << 16 && (1 << 16..1 << 17).contains(&other));
            assert_eq!(phase_of(one), phase_of(other));
        }
    }

    #[test]
    fn what_exceeds_the_budget_is_admitted_in_proportion() {
        assert!(is_admitted(6, 7, u32::MAX));
        assert!(is_admitted(14, 7, (1 << 31) - 1) && !is_admitted(14, 7, 1 << 31));
        assert!(is_admitted(u32::MAX, 7, 0));
    }
}

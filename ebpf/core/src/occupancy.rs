//! The occupancy filter: two bits for each bucket of the flow table, small enough to stay in a CPU's cache.
//!
//! Most segments of a flood match no flow. To find that out in the flow table costs a cache miss, and in the map of
//! passed connections another. If a bucket's bit is clear, there is nothing to find. If it is set, there may be.

/// The bits of 256 buckets: one cache line.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The bits of the flow table. The appliance sets and clears them.
    pub flows: [u64; 4],
    /// The bits of passed connections. The XDP program sets them. They are bytes because the program has no atomic
    /// operations: if two CPUs set bits of the same byte at once, one is lost, and the server's next segment sets it again.
    pub passed: [u8; 32],
}

/// Buckets that share one [`Line`].
pub const BUCKETS_PER_LINE: u32 = 256;

/// How many [`Line`]s a table of `buckets` needs.
pub const fn line_count(buckets: u32) -> u32 {
    buckets.div_ceil(BUCKETS_PER_LINE)
}

/// The position of a bucket's two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketBits {
    /// Index of the line.
    pub line: u32,
    /// Index in [`Line::flows`], and the bit in that word.
    pub flows: (usize, u64),
    /// Index in [`Line::passed`], and the bit in that byte.
    pub passed: (usize, u8),
}

impl BucketBits {
    /// The position of the bits of `bucket`.
    #[inline(always)]
    pub const fn of(bucket: u32) -> Self {
        Self {
            line: bucket / BUCKETS_PER_LINE,
            flows: ((bucket >> 6 & 3) as usize, 1 << (bucket & 63)),
            passed: ((bucket >> 3 & 31) as usize, 1 << (bucket & 7)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    extern crate std;

    #[test]
    fn no_two_buckets_share_a_bit() {
        let (mut flows, mut pass) = (BTreeSet::new(), BTreeSet::new());
        for bucket in 0..4 * BUCKETS_PER_LINE {
            let bits = BucketBits::of(bucket);
            assert!(bits.line < line_count(4 * BUCKETS_PER_LINE));
            assert!(flows.insert((bits.line, bits.flows)));
            assert!(pass.insert((bits.line, bits.passed)));
        }
        assert_eq!(line_count(1), 1);
    }
}

//! What may be known about the flows of a bucket: two bits, in memory small enough to stay in a CPU's cache.
//!
//! Most segments of a flood belong to nothing. To find that out in the flow table costs a line of memory that no cache
//! holds, and among the connections that merely pass another. A bit here says that there is nothing to be found.
//! A bit that is set promises nothing; one that is not set is certain.

/// The bits of 256 buckets, a cache line.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Those of the flow table, which the appliance sets and takes back.
    pub flows: [u64; 4],
    /// Those of connections that pass, which the XDP program sets. In bytes, because it has no atomic operations: two CPUs
    /// that set bits of the same byte at once lose one, and the next segment from the server sets it again.
    pub passed: [u8; 32],
}

/// Buckets of one [`Line`].
pub const BUCKETS_PER_LINE: u32 = 256;

/// Lines for a table of so many buckets.
pub const fn line_count(buckets: u32) -> u32 {
    buckets.div_ceil(BUCKETS_PER_LINE)
}

/// Where the bits of a bucket are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketBits {
    /// Index of the line.
    pub line: u32,
    /// Word of the flow table's bit, and the bit.
    pub flows: (usize, u64),
    /// Byte of the bit of connections that pass, and the bit.
    pub passed: (usize, u8),
}

impl BucketBits {
    /// The place of a bucket's bits.
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
    fn every_bucket_has_bits_of_its_own() {
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

//! The occupancy filter's bits of buckets.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use synward_core::flow::FREE;
use synward_core::occupancy::BucketBits;

use super::{FlowTable, OCCUPANCY_WORDS};
use crate::maps::atomics::{AtomicU64, fence};

impl FlowTable {
    /// Sets the occupancy bit of a bucket.
    pub(in crate::maps) fn set_occupied(&self, bucket: u32) {
        let (word, bit) = self.occupancy_bit(bucket);
        word.fetch_or(bit, SeqCst);
    }

    /// Clears the occupancy bit of a bucket if the bucket is empty.
    pub(in crate::maps) fn clear_if_empty(&self, bucket: u32) {
        let is_empty = || {
            let tags = self.bucket(bucket).iter();
            tags.map(|tag| tag.load(SeqCst)).all(|tag| tag == FREE)
        };
        let (word, bit) = self.occupancy_bit(bucket);
        if word.load(Relaxed) & bit == 0 || !is_empty() {
            return;
        }
        word.fetch_and(!bit, SeqCst);
        fence(SeqCst);
        // An entry published in between may have set the bit before it was cleared, so check again. An entry published
        // from here on sets the bit later.
        if !is_empty() {
            word.fetch_or(bit, SeqCst);
        }
    }

    fn occupancy_bit(&self, bucket: u32) -> (&AtomicU64, u64) {
        let bits = BucketBits::of(bucket);
        let (word, bit) = bits.flows;
        (
            &self.occupancy[bits.line as usize * OCCUPANCY_WORDS + word],
            bit,
        )
    }
}

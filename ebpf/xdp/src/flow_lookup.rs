//! The flow table as the XDP program uses it: the program finds entries, the appliance inserts them.

use crate::maps;
use synward_core::flow::{FlowKey, OVERFLOW, Place, WAYS, entry_index};
use synward_core::layout::Flow;
use synward_core::occupancy::BucketBits;

/// No entry.
const NONE: u32 = u32::MAX;

/// What the bucket of a flow may hold.
pub struct MayHold {
    /// A flow.
    pub flows: bool,
    /// A passed connection; it hashes to the bucket without being in it.
    pub passed: bool,
}

/// What a bucket may hold, from two bits of the occupancy filter (`synward_core::occupancy`), which are nearly always in the
/// cache.
#[inline(always)]
pub fn bucket_may_hold(bucket: u32) -> Option<MayHold> {
    let bits = BucketBits::of(bucket);
    let line = maps::OCCUPANCY.get(bits.line)?;
    let (byte, passed) = bits.passed;
    let (word, flows) = bits.flows;
    Some(MayHold {
        flows: line.flows[word & 3] & flows != 0,
        passed: line.passed[byte & 31] & passed != 0,
    })
}

/// The flow of a key and its entry's index; `may_pass` says whether it may be a passed connection.
#[inline(always)]
pub fn find_flow(key: &FlowKey, may_pass: &mut bool) -> Option<(u32, *mut Flow)> {
    *may_pass = true;
    let place = place_of(key)?;
    let may_hold = bucket_may_hold(place.bucket)?;
    *may_pass = may_hold.passed;
    if !may_hold.flows {
        return None;
    }
    let index = find_index(key, place.bucket, place.overflow, place.tag);
    if index == NONE {
        return None;
    }
    Some((index, maps::FLOWS.get_ptr_mut(index)?))
}

/// The place that a flow has if it is in the table.
#[inline(always)]
pub fn place_of(key: &FlowKey) -> Option<Place> {
    let globals = maps::GLOBALS.get(0)?;
    let hash = key.table_hash(&globals.table_key);
    Some(Place::of(hash, globals.bucket_mask))
}

/// The hash of a flow.
#[inline(always)]
pub fn hash_of(key: &FlowKey) -> u64 {
    maps::GLOBALS
        .get(0)
        .map_or(0, |globals| key.table_hash(&globals.table_key))
}

/// A function apart from [`find_flow`], so that the verifier follows one path from here on, and not one for each way.
#[inline(never)]
fn find_index(key: &FlowKey, bucket: u32, overflow: u32, tag: u32) -> u32 {
    let Some(tags) = maps::TAGS.get(bucket) else {
        return NONE;
    };
    let found = search(key, bucket, tag, tags);
    if found != NONE || tags[OVERFLOW] == 0 {
        return found;
    }
    match maps::TAGS.get(overflow) {
        Some(tags) => search(key, overflow, tag, tags),
        None => NONE,
    }
}

#[inline(always)]
fn search(key: &FlowKey, bucket: u32, tag: u32, tags: &[u32; WAYS + 1]) -> u32 {
    for (way, found) in tags[..WAYS].iter().enumerate() {
        if *found == tag {
            let index = entry_index(bucket, way as u32);
            // An element of an array lives as long as the program.
            if maps::FLOWS.get(index).is_some_and(|flow| flow.key == *key) {
                return index;
            }
        }
    }
    NONE
}

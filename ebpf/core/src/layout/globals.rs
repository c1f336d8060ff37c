//! What every program needs to know of the maps: keys of hashes, the size of the flow table, the generation of policies.

use crate::cookie::Key;
use crate::multilinear;

/// Numbers that the appliance sets before any packet is steered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Key of the flow table's hash.
    pub table_key: multilinear::Key,
    /// Key of the fingerprints of [`crate::replay_cache`] and the places of [`crate::prefix_counts`].
    pub replay_key: Key,
    /// Buckets of the flow table minus one: a mask.
    pub bucket_mask: u32,
    /// Units of [`FlowTime`](crate::flow_time::FlowTime) without a segment after which a passed connection no longer
    /// counts.
    pub passed_idle: u32,
    /// 1: some service is configured by prefix or for any port.
    pub prefixes: u32,
    /// Changes, but never to 0 or 1, with every change of an endpoint or a service. While it is the same, what the programs have
    /// looked up stays valid. Its lowest bit names the bank of policies that is in force ([`policy_slot`](super::policy_slot)).
    pub generation: u32,
}

//! The contenders, sized at load, and the plan of the measurement.

use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use synward_bench_ebpf::flow_draw::Plan;
use synward_core::flow::FlowKey;

/// A flow as the kernel's maps hold it: without its key, which they store themselves.
pub type Value = [u32; 7];

#[btf_map]
pub static PLAN: Array<Plan, 1> = Array::new();

/// The drawn flow, in a map as in the steering program.
#[btf_map]
pub static DRAWN: Array<FlowKey, 1> = Array::new();

#[btf_map]
pub static HASH: HashMap<FlowKey, Value, 1024> = HashMap::new();

#[btf_map]
pub static LRU: LruHashMap<FlowKey, Value, 1024> = LruHashMap::new();

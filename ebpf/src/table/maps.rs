//! The contenders, sized at load, and the plan of the measurement.

use crate::plan::Plan;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use synward_ebpf::flow::{FlowKey, WAYS};
use synward_ebpf::hints;
use synward_ebpf::layout::{Flow, Globals};

const MMAPABLE: usize = 1 << 10;

/// A flow as the kernel's maps hold it: without its key, which they keep themselves.
pub type Value = [u32; 7];

#[btf_map]
pub static PLAN: Array<Plan, 1> = Array::new();

/// The flow drawn: it lives in a map as it does in the steering program.
#[btf_map]
pub static DRAWN: Array<FlowKey, 1> = Array::new();

#[btf_map]
pub static GLOBALS: Array<Globals, 1> = Array::new();

#[btf_map]
pub static TAGS: Array<[u32; WAYS + 1], 1024, MMAPABLE> = Array::new();

#[btf_map]
pub static HINTS: Array<hints::Line, 4, MMAPABLE> = Array::new();

#[btf_map]
pub static FLOWS: Array<Flow, 16384, MMAPABLE> = Array::new();

#[btf_map]
pub static HASH: HashMap<FlowKey, Value, 1024> = HashMap::new();

#[btf_map]
pub static LRU: LruHashMap<FlowKey, Value, 1024> = LruHashMap::new();

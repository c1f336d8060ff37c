//! The maps that the programs share with the appliance; `synward_core::layout` defines what they hold.

use crate::cpu_scratch::CpuScratch;
use crate::prepared::{self, Prepared};
use aya_ebpf::btf_maps::lpm_trie::Key as Prefix;
use aya_ebpf::btf_maps::{
    Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, XskMap,
};
use aya_ebpf::macros::btf_map;
use synward_core::address_counts::AddressCounts;
use synward_core::capture::{Arrived, Capture, RING};
use synward_core::counters::ServiceCounters;
use synward_core::flow::{FlowKey, WAYS};
use synward_core::handed_over::{self, HandedOver};
use synward_core::layout::{
    Clock, Endpoint, EndpointKey, Flow, Globals, Interfaces, JUDGED_PREFIXES, KEY_SLOTS, KeySlot,
    MAX_INTERFACES, MAX_LISTED, MAX_OWN_SOURCES, MAX_POLICIES, MAX_QUEUES, MAX_SERVICES,
    MAX_UNRESOLVED, MAX_VLANS, MAX_WATCHED, NextHop, Passed, PrefixPort, Service, VlanTags,
};
use synward_core::source_filter::SourceFilter;
use synward_core::source_sample::{BUCKETS, Bucket};
use synward_core::waiting_client::{MAX_WAITING, WAITING_PREFIXES, WaitingClient};
use synward_core::wire::Address;
use synward_core::{occupancy, plain_ack_limit, prefix_counts, replay_cache};

/// `BPF_F_MMAPABLE`: user space maps the array into its memory, and reads and writes it without system calls.
const MMAPABLE: usize = 1 << 10;

/// How each interface is steered.
#[btf_map]
pub static INTERFACES: Array<Interfaces, 1, MMAPABLE> = Array::new();

/// Numbers that the appliance sets at start, and the generation of what it changes later.
#[btf_map]
pub static GLOBALS: Array<Globals, 1, MMAPABLE> = Array::new();

/// The epoch, kept by the control thread.
#[btf_map]
pub static CLOCK: Array<Clock, 1, MMAPABLE> = Array::new();

/// Exact address and port → service and what its server does.
#[btf_map]
pub static ENDPOINTS: HashMap<EndpointKey, Endpoint, 16384> = HashMap::new();

/// Address prefix → index of the prefix. Looked up only if a service has prefixes or any port.
#[btf_map]
pub static PREFIXES: LpmTrie<[u32; 4], u32, 4096> = LpmTrie::new();

/// (Prefix, port or any) → service and what its servers do.
#[btf_map]
pub static PREFIX_PORTS: HashMap<PrefixPort, Endpoint, 16384> = HashMap::new();

/// (Service, source prefix) → see `layout::listed`.
#[btf_map]
pub static LISTS: LpmTrie<[u32; 5], u32, { MAX_LISTED as usize }> = LpmTrie::new();

/// Policies of services and of their addresses, in two banks (`layout::policy_slot`).
#[btf_map]
pub static SERVICES: Array<Service, { 2 * MAX_POLICIES as usize }, MMAPABLE> = Array::new();

/// Service and epoch → keys.
#[btf_map]
pub static KEYS: Array<KeySlot, { (MAX_SERVICES * KEY_SLOTS) as usize }, MMAPABLE> = Array::new();

/// Service → counters of this CPU.
#[btf_map]
pub static COUNTERS: PerCpuArray<ServiceCounters, { MAX_SERVICES as usize }> = PerCpuArray::new();

/// Address that is watched separately → its counts on this CPU.
#[btf_map]
pub static ADDRESS_COUNTS: PerCpuArray<AddressCounts, { MAX_WATCHED as usize }> =
    PerCpuArray::new();

/// Fingerprints of the flow table: one bucket, a cache line, an element. Sized at load.
#[btf_map]
pub static TAGS: Array<[u32; WAYS + 1], 1024, MMAPABLE> = Array::new();

/// Occupancy filter of the flow table, two bits a bucket. Sized at load.
#[btf_map]
pub static OCCUPANCY: Array<occupancy::Line, 4, MMAPABLE> = Array::new();

/// The flows, one for each way of each bucket. Sized at load.
#[btf_map]
pub static FLOWS: Array<Flow, 16384, MMAPABLE> = Array::new();

/// Passed connections. Sized at load.
#[btf_map]
pub static PASSED: LruHashMap<FlowKey, Passed, 4096> = LruHashMap::new();

/// Neighbours that the control thread has the kernel resolve; it removes them then. The value means nothing.
#[btf_map]
pub static UNRESOLVED: LruHashMap<NextHop, u32, { MAX_UNRESOLVED as usize }> = LruHashMap::new();

/// The VLANs that this machine has devices for. The value means nothing.
#[btf_map]
pub static VLANS: HashMap<VlanTags, u32, { MAX_VLANS as usize }> = HashMap::new();

/// This machine's own addresses and broadcast addresses. The value means nothing.
#[btf_map]
pub static OWN_SOURCES: HashMap<Address, u32, { MAX_OWN_SOURCES as usize }> = HashMap::new();

/// What `OWN_SOURCES` may hold.
#[btf_map]
pub static SOURCE_FILTER: Array<SourceFilter, 1> = Array::new();

/// Segments of unknown connections that were left to the server to judge: in the high half the unit of `FlowTime`, in the low
/// half how many in it, for each hash of a client's prefix.
#[btf_map]
pub static JUDGED: Array<u64, { JUDGED_PREFIXES as usize }> = Array::new();

/// Handshakes that have had their connection.
#[btf_map]
pub static REPLAY_CACHE: Array<replay_cache::Set, { replay_cache::SETS }, MMAPABLE> = Array::new();

/// Words of [`ASSIGNMENTS`], a power of two: 128 KiB. At a hundred thousand connections a second, six hundred of them are recent
/// ([`assignments`](crate::assignments)).
pub const ASSIGNMENT_NOTES: usize = 1 << 14;

/// When handshakes were assigned.
#[btf_map]
pub static ASSIGNMENTS: Array<u64, { ASSIGNMENT_NOTES }> = Array::new();

/// Validated clients that no worker serves yet, by flow.
#[btf_map]
pub static WAITING: HashMap<FlowKey, WaitingClient, { MAX_WAITING as usize }> = HashMap::new();

/// The latest ACKs of validated clients that this CPU has handed to workers.
#[btf_map]
pub static HANDED_OVER: PerCpuArray<HandedOver, { handed_over::ENTRIES as usize }> =
    PerCpuArray::new();

/// How many clients of a prefix have begun to wait for a worker, for each hash of a prefix; then, how many for their share.
#[btf_map]
pub static WAITING_COUNTS: Array<prefix_counts::Cell, { 2 * WAITING_PREFIXES as usize }> =
    Array::new();

/// Counts of wrong ACKs without timestamps.
#[btf_map]
pub static WRONG_PLAIN_ACKS: Array<
    prefix_counts::Cell,
    { prefix_counts::ROWS * plain_ack_limit::CELLS },
> = Array::new();

/// Words of [`NOTED_SYNS`], a power of two: 1 MiB.
pub const SYN_NOTES: usize = 1 << 18;

/// Notes of answered SYNs, while wrong ACKs are too many to check.
#[btf_map]
pub static NOTED_SYNS: Array<u32, { SYN_NOTES }> = Array::new();

/// Service → until when its SYNs are noted, coarse clock, ns.
#[btf_map]
pub static NOTED_UNTIL: Array<u64, { MAX_SERVICES as usize }> = Array::new();

/// Counts of replies of this CPU.
#[btf_map]
pub static REPLIES: PerCpuArray<
    prefix_counts::Cell,
    { prefix_counts::ROWS * synward_core::reply_budget::CELLS },
> = PerCpuArray::new();

/// Words of [`PROVEN_PREFIXES`], a power of two.
pub const PROVEN_NOTES: usize = 1 << 16;

/// Client prefixes that have shown a valid cookie lately, noted while some prefix is near its budget of replies.
#[btf_map]
pub static PROVEN_PREFIXES: Array<u32, { PROVEN_NOTES }> = Array::new();

/// The AF_XDP sockets: interface slot * 64 + queue.
#[btf_map]
pub static SOCKETS: XskMap<{ (MAX_INTERFACES * MAX_QUEUES) as usize }> = XskMap::new();

/// Interface slot → the program behind, which gets what belongs to no service.
#[btf_map]
pub static NEXT: ProgramArray<{ MAX_INTERFACES as usize }> = ProgramArray::new();

/// When the worker of each queue was last seen alive, coarse clock, ns.
#[btf_map]
pub static HEARTBEATS: Array<u64, { MAX_QUEUES as usize }, MMAPABLE> = Array::new();

/// What each program works with on this CPU: [`steer_scratch`] and [`assign_scratch`].
#[btf_map]
pub static SCRATCH: PerCpuArray<CpuScratch, 2> = PerCpuArray::new();

/// What each CPU has prepared for the SYNs of a jiffy.
#[btf_map]
pub static PREPARED: PerCpuArray<Prepared, { prepared::SLOTS as usize }> = PerCpuArray::new();

/// Where the SYNs of attacks come from that this CPU sampled.
#[btf_map]
pub static SOURCES: PerCpuArray<Bucket, BUCKETS> = PerCpuArray::new();

/// What `synward capture` wants.
#[btf_map]
pub static CAPTURE: Array<Capture, 1> = Array::new();

/// The frame that each CPU works on, while something is captured.
#[btf_map]
pub static ARRIVED: PerCpuArray<Arrived, 1> = PerCpuArray::new();

/// Captured frames, each a `capture::Record`. The map has no type of values: libbpf would take it for their size, which a ring
/// does not have.
#[btf_map]
pub static CAPTURED: RingBuf<(), RING> = RingBuf::new();

/// What the XDP program works with on this CPU.
#[inline(always)]
pub fn steer_scratch() -> Option<&'static mut CpuScratch> {
    scratch(0)
}

/// What the TC program works with on this CPU. It has an element of its own, because XDP may interrupt it.
#[inline(always)]
pub fn assign_scratch() -> Option<&'static mut CpuScratch> {
    scratch(1)
}

#[inline(always)]
fn scratch(index: u32) -> Option<&'static mut CpuScratch> {
    let scratch = SCRATCH.get_ptr_mut(index)?;
    // SAFETY: per-CPU and never freed; each program has its own element, and runs to its end on this CPU before another run
    // of it starts here.
    Some(unsafe { &mut *scratch })
}

/// A prefix of an address.
pub type AddressPrefix = Prefix<[u32; 4]>;
/// A prefix of (service, address).
pub type ListPrefix = Prefix<[u32; 5]>;

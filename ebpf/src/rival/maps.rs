//! Those maps of the steering program that say whose a packet is, with the same shapes.

use crate::packet::Packet;
use aya_ebpf::btf_maps::lpm_trie::Key as Prefix;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::macros::btf_map;
use synward_ebpf::counters::ServiceCounters;
use synward_ebpf::layout::{Endpoint, EndpointKey, Globals, MAX_SERVICES, PrefixPort, Service};

/// Exact address and port → service and what its server does.
#[btf_map]
pub static ENDPOINTS: HashMap<EndpointKey, Endpoint, 16384> = HashMap::new();

/// Numbers set once at start; no service has prefixes here.
#[btf_map]
pub static GLOBALS: Array<Globals, 1> = Array::new();

/// Address prefix → index of the prefix.
#[btf_map]
pub static PREFIXES: LpmTrie<[u32; 4], u32, 16> = LpmTrie::new();

/// (Prefix, port or any) → service and what its servers do.
#[btf_map]
pub static PREFIX_PORTS: HashMap<PrefixPort, Endpoint, 16> = HashMap::new();

/// (Service, source prefix) → 1 allowed, 2 denied.
#[btf_map]
pub static LISTS: LpmTrie<[u32; 5], u32, 16> = LpmTrie::new();

/// Service → policy.
#[btf_map]
pub static SERVICES: Array<Service, { MAX_SERVICES as usize }> = Array::new();

/// Service → counters of this CPU.
#[btf_map]
pub static COUNTERS: PerCpuArray<ServiceCounters, { MAX_SERVICES as usize }> = PerCpuArray::new();

/// The packet that the program looks at on this CPU.
#[btf_map]
pub static SCRATCH: PerCpuArray<Packet, 1> = PerCpuArray::new();

/// A prefix of an address.
pub type AddressPrefix = Prefix<[u32; 4]>;
/// A prefix of (service, address).
pub type ListPrefix = Prefix<[u32; 5]>;

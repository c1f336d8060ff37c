//! Which service a packet is for or from: exact address and port first, prefixes only if some service has them.

use crate::cpu_memory::CpuMemory;
use crate::maps::{self, AddressPrefix, ListPrefix};
use crate::monitor;
use crate::packet::Kind;
use crate::packet_context::PacketContext;
use crate::verdict::{NO_SERVICE, Verdict};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{
    ANY_PORT, Endpoint, EndpointKey, NO_PORT, PrefixPort, Profile, Service, listed, mode,
    policy_slot,
};
use synward_core::wire::Address;

/// What [`find_endpoint`] overwrites.
pub const NO_ENDPOINT: Endpoint = {
    let profile = Profile {
        mss: 0,
        window: 0,
        window_scale: 0,
        flags: 0,
        reserved: [0; 2],
    };
    Endpoint {
        service: 0,
        policy: 0,
        since: 0,
        now: profile,
        before: profile,
    }
};

/// Finds the endpoint at an address and port, and leaves it in `memory`. Most packets are for the endpoint of the packet
/// before, which is still there: these need no look-up.
#[inline(always)]
pub fn find_endpoint_for(memory: &mut CpuMemory, address: Address, port: u16) -> bool {
    let Some(generation) = generation() else {
        return false;
    };
    let at = EndpointKey {
        address,
        port: port as u32,
    };
    if memory.has_endpoint(&at, generation) {
        return true;
    }
    if !find_endpoint(&address, at.port, &mut memory.endpoint) {
        return false;
    }
    memory.remember_endpoint(at, generation);
    true
}

/// `Globals::generation`: copies of endpoints and services are valid as long as it stays the same.
#[inline(always)]
pub fn generation() -> Option<u32> {
    let globals = maps::GLOBALS.get(0)?;
    // SAFETY: a field of a live object. Volatile, so that it is read before endpoints and services are.
    Some(unsafe { core::ptr::read_volatile(&raw const globals.generation) })
}

/// Copies the endpoint at an address and port (or [`NO_PORT`]), and says whether it is protected.
#[inline(always)]
pub fn find_endpoint(address: &Address, port: u32, endpoint: &mut Endpoint) -> bool {
    let key = EndpointKey {
        address: *address,
        port,
    };
    // SAFETY: an element may be replaced while it is read; the appliance replaces whole elements, and
    // a run of this program is over before the kernel reuses the old one's memory (RCU).
    if let Some(found) = unsafe { maps::ENDPOINTS.get(&key) } {
        *endpoint = *found;
        return true;
    }
    match maps::GLOBALS.get(0) {
        Some(globals) if globals.prefixes != 0 => find_prefix(address, port, endpoint),
        _ => false,
    }
}

#[inline(never)]
fn find_prefix(address: &Address, port: u32, endpoint: &mut Endpoint) -> bool {
    let Some(prefix) = maps::PREFIXES.get(&AddressPrefix::new(128, address.0)) else {
        return false;
    };
    for port in [port, ANY_PORT] {
        // SAFETY: as above.
        if let Some(found) = unsafe {
            maps::PREFIX_PORTS.get(&PrefixPort {
                prefix: *prefix,
                port,
            })
        } {
            *endpoint = *found;
            return true;
        }
    }
    false
}

/// The policy of the endpoint that was looked up last, and its counters on this CPU.
#[inline(always)]
pub fn policy_and_counters_of(
    memory: &CpuMemory,
) -> Option<(&'static Service, &'static mut ServiceCounters)> {
    policy_and_counters(&memory.endpoint, memory.endpoint_generation)
}

/// The policy of an endpoint that was looked up in `generation`, and the counters of its service on this CPU.
#[inline(always)]
pub fn policy_and_counters(
    endpoint: &Endpoint,
    generation: u32,
) -> Option<(&'static Service, &'static mut ServiceCounters)> {
    let service = maps::SERVICES.get(policy_slot(endpoint.policy, generation))?;
    Some((service, counters_of(endpoint.service)?))
}

/// The counters of a service on this CPU.
#[inline(always)]
pub fn counters_of(service: u32) -> Option<&'static mut ServiceCounters> {
    let counters = maps::COUNTERS.get_ptr_mut(service)?;
    // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run
    // of it starts here.
    Some(unsafe { &mut *counters })
}

/// What the lists of the service say about the source of a packet, also left in `found.listed`.
#[inline(always)]
pub fn find_listed(pkt: &mut PacketContext) -> u32 {
    pkt.cpu.found.listed = if pkt.service.listed == 0 {
        listed::NEITHER
    } else {
        look_up_lists(pkt.cpu.memory.endpoint.service, &pkt.cpu.packet.source)
    };
    pkt.cpu.found.listed
}

/// What the lists of a service say about a source: a value of [`listed`].
#[inline(never)]
pub fn look_up_lists(service: u32, source: &Address) -> u32 {
    let [a, b, c, d] = source.0;
    match maps::LISTS.get(&ListPrefix::new(160, [service, a, b, c, d])) {
        Some(verdict) => *verdict,
        None => listed::NEITHER,
    }
}

/// Decides about a packet without readable ports: dropped if its address is protected and the policy says so.
/// A SYN in two fragments would otherwise reach the listener.
#[inline(never)]
pub fn decide_unreadable(destination: &Address, kind: Kind) -> Verdict {
    let mut endpoint = NO_ENDPOINT;
    let Some(generation) = generation() else {
        return XDP_PASS;
    };
    if !find_endpoint(destination, NO_PORT, &mut endpoint) {
        return NO_SERVICE;
    }
    let Some((service, counters)) = policy_and_counters(&endpoint, generation) else {
        return XDP_PASS;
    };
    let fragment = kind == Kind::Fragment;
    if service.mode != mode::ALWAYS || (fragment && service.pass_fragments != 0) {
        monitor::count_unreadable(service, counters, kind);
        return XDP_PASS;
    }
    counters.bump(match kind {
        Kind::Fragment => Counter::DropFragment,
        Kind::MoreTags => Counter::DropTooManyTags,
        _ => Counter::DropMalformed,
    });
    XDP_DROP
}

/// Drops a frame with more tags than are skipped. Nobody sends such frames in earnest, and its destination is not known: it
/// counts for the first service.
#[inline(always)]
pub fn drop_only_tags() -> Verdict {
    if let Some(counters) = counters_of(0) {
        counters.bump(Counter::DropTooManyTags);
    }
    XDP_DROP
}

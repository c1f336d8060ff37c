//! The kernel takes cookies only for a listener for which it has made one itself in the last two minutes
//! (`tcp_synq_no_recent_overflow`, include/net/tcp.h). So now and then a SYN is its to answer: with
//! `net.ipv4.tcp_syncookies=2` it answers with a cookie of the same kind.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use synward_core::layout::EndpointKey;
use synward_xdp::cpu_memory::CpuMemory;
use synward_xdp::maps;
use synward_xdp::packet::Packet;

/// Ticks (2³⁰ ns) between two such SYNs: a listener that has just been opened waits no longer for its first.
const INTERVAL: u32 = 1;

/// Whether the SYN in `packet` is one of these. `since` of its endpoint, which nobody else needs here, remembers the last.
#[inline(always)]
pub fn is_due(packet: &Packet, memory: &mut CpuMemory) -> bool {
    // SAFETY: the helper takes nothing and cannot fail.
    let now = (unsafe { bpf_ktime_get_coarse_ns() } >> 30) as u32;
    if now.wrapping_sub(memory.endpoint.since) < INTERVAL {
        return false;
    }
    memory.endpoint.since = now;
    note(packet, now);
    true
}

#[inline(never)]
fn note(packet: &Packet, now: u32) {
    let key = EndpointKey {
        address: packet.destination,
        port: packet.destination_port as u32,
    };
    if let Some(endpoint) = maps::ENDPOINTS.get_ptr_mut(&key) {
        // SAFETY: elements are never removed; two CPUs that write at once write the same.
        unsafe { (*endpoint).since = now };
    }
}

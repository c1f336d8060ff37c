//! The kernel takes cookies only for a listener for which it has made one itself in the last two minutes
//! (`tcp_synq_no_recent_overflow`, include/net/tcp.h). So a SYN passes to the kernel now and then: with
//! `net.ipv4.tcp_syncookies=2` it answers with a cookie of the same kind.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use synward_core::flow_time::FlowTime;
use synward_core::layout::EndpointKey;
use synward_xdp::cpu_memory::CpuMemory;
use synward_xdp::maps;
use synward_xdp::packet::Packet;

/// Units of [`FlowTime`] between two such SYNs: a new listener gets its first within that time.
const INTERVAL: u32 = 1;

/// Whether the SYN in `packet` passes to the kernel. `Endpoint::since`, which these programs use for nothing else, holds the
/// time of the last one.
#[inline(always)]
pub fn is_due(packet: &Packet, memory: &mut CpuMemory) -> bool {
    // SAFETY: the helper takes nothing and cannot fail.
    let now = FlowTime::from_ns(unsafe { bpf_ktime_get_coarse_ns() }).to_word();
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

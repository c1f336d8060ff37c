//! The coarse clock, read again only when it may have moved.

use crate::packet::Packet;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};

/// Now on the coarse clock, ns, or a tick before. That clock moves with the kernel's ticks, whose number the verifier has
/// loaded in place, while a helper's call and return stop the CPU's pipeline.
#[inline(always)]
pub fn now(packet: &mut Packet) -> u64 {
    // SAFETY: both helpers take nothing and read a clock.
    let tick = unsafe { bpf_jiffies64() };
    if packet.tick != tick {
        packet.tick = tick;
        packet.syns = 0;
        // SAFETY: as above.
        packet.now = unsafe { bpf_ktime_get_coarse_ns() };
    }
    packet.now
}

//! The program of interfaces with `attach = "none"`: another program calls it, it counts the frame and calls `steer`.
//!
//! It outlives processes: a caller keeps it, and each process puts its own `steer` behind it.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::btf_maps::{PerCpuHashMap, ProgramArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use synward_core::layout::MAX_INTERFACES;

/// Interface index → frames that arrived there on this CPU. The appliance makes the entries.
#[btf_map]
static ARRIVED: PerCpuHashMap<u32, u64, { 2 * MAX_INTERFACES as usize }> = PerCpuHashMap::new();

/// The program `steer` of the process that serves; empty while there is none.
#[btf_map]
static STEER: ProgramArray<1> = ProgramArray::new();

/// Counts one frame and leaves it to `steer`; without that, to the kernel.
#[xdp(frags)]
#[inline(always)]
pub fn entry(ctx: XdpContext) -> u32 {
    if let Some(frames) = ARRIVED.get_ptr_mut(&(ctx.ingress_ifindex() as u32)) {
        // SAFETY: per-CPU, and this program runs to its end on this CPU before another run of it starts here.
        unsafe { *frames += 1 };
    }
    // SAFETY: a jump to another program, which never returns here; nothing that is alive has to be dropped.
    unsafe { STEER.tail_call(&ctx, 0) };
    XDP_PASS
}

/// Needed to link; nothing in this program panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Tail calls ask for a licence that is compatible with that of the program called.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

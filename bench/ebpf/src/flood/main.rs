//! The flood generator of `bench flood`: XDP programs that make segments of a flood, count what comes back,
//! and pass every frame.
//!
//! `flood` is run by BPF_PROG_TEST_RUN with live frames and redirects each to an interface. The kernel recycles
//! the pages of these frames (net/bpf/test_run.c, `xdp_test_run_batch`), so every run writes its whole frame.
#![no_std]
#![no_main]
#![allow(missing_docs, unreachable_pub)] // of what #[xdp] expands to

mod flood_frame;
mod flood_plan;
mod flood_replies;
mod handshake;
mod pace;
mod random;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_tail};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

/// What one generator has done so far: only the CPU that runs `flood` writes it.
#[repr(C)]
pub(crate) struct Progress {
    /// State of the random numbers; user space seeds it.
    random: u64,
    /// SYNs sent.
    syns: u64,
    /// ACKs sent.
    acks: u64,
    /// When the next segment is due, in 1/1024 ns since `start`.
    due: u64,
    /// `bpf_ktime_get_ns` of the first run.
    start: u64,
}

#[btf_map]
static PROGRESS: Array<Progress, 1> = Array::new();

/// Writes one segment into the frame and redirects it, or drops the frame while none is due.
#[xdp]
pub fn flood(ctx: XdpContext) -> u32 {
    let Some(progress) = PROGRESS.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the pointer is checked and aligned, the map outlives the program, and `bench flood` loads an
    // object of its own for the one thread that runs it: nobody else writes this element.
    let progress = unsafe { &mut *progress };
    if progress.syns + progress.acks >= flood_plan::LIMIT.load() || !pace::due(progress) {
        return xdp_action::XDP_DROP;
    }
    let bits = random::next(&mut progress.random);
    let ack = match flood_plan::KIND.load() {
        flood_plan::SYN | flood_plan::EXACT => false,
        flood_plan::ACK => true,
        _ => bits & 1 != 0,
    };
    let (data, end) = (ctx.data(), ctx.data_end());
    let (segment, sent) = if ack {
        (&flood_plan::ACK_SEGMENT, &mut progress.acks)
    } else {
        (&flood_plan::SYN_SEGMENT, &mut progress.syns)
    };
    if !flood_frame::write(data, end, segment, ack, bits, &mut progress.random) {
        return xdp_action::XDP_ABORTED;
    }
    *sent += 1;
    if ack {
        let spare =
            flood_plan::ACK_SEGMENT.length.load() as i32 - flood_plan::FRAME_LENGTH.load() as i32;
        // SAFETY: the context is the one that the kernel gave; no pointer into the frame is used afterwards.
        if spare != 0 && unsafe { bpf_xdp_adjust_tail(ctx.ctx, spare) } != 0 {
            return xdp_action::XDP_ABORTED;
        }
    }
    // SAFETY: the helper takes two integers; an interface that is gone makes the kernel drop the frame.
    unsafe { bpf_redirect(flood_plan::INTERFACE.load(), 0) as u32 }
}

/// Passes every frame. A veth receives what its peer transmits by XDP only while it has a program.
#[xdp]
pub fn pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Drops every frame, to measure the cost of the generator and of receiving alone.
#[xdp]
pub fn sink(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

synward_xdp::export_options_walk!();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

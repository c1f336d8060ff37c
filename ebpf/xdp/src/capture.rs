//! Shows frames of a service to `synward capture`, with what the program decided about them.
//!
//! The reason is which counters of the service the program moved on this CPU. The frame is copied before the program works on it,
//! because an answer is written over it. While a capture runs, the fast path leaves all SYNs to the general path; while
//! none runs, the general path reads one word twice, and the fast path nothing.

use crate::maps;
use crate::verdict::Verdict;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use synward_core::capture::{Arrived, Capture, Record, SNAP};
use synward_core::counters::NAMES;

/// Whether a capture runs.
#[inline(always)]
pub fn is_on() -> bool {
    maps::CAPTURE
        .get(0)
        .is_some_and(|capture| capture.limit != 0)
}

/// Keeps the frame as it arrived.
#[inline(always)]
pub fn begin(ctx: &XdpContext) {
    if is_on() {
        keep(ctx);
    }
}

/// Captures the frame that was kept if it has moved a wanted counter.
#[inline(always)]
pub fn end(verdict: Verdict) {
    if is_on() {
        compare(verdict);
    }
}

#[inline(always)]
fn capture() -> Option<&'static mut Capture> {
    let capture = maps::CAPTURE.get_ptr_mut(0)?;
    // SAFETY: the kernel returned the map's only value, and never removes it. All CPUs and the command access it a word at once.
    Some(unsafe { &mut *capture })
}

#[inline(always)]
fn arrived() -> Option<&'static mut Arrived> {
    let arrived = maps::ARRIVED.get_ptr_mut(0)?;
    // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here.
    Some(unsafe { &mut *arrived })
}

#[inline(never)]
fn keep(ctx: &XdpContext) -> u32 {
    let (Some(capture), Some(arrived)) = (capture(), arrived()) else {
        return 0;
    };
    let record = &mut arrived.record;
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    record.time = 0;
    if capture.taken >= capture.limit || now >= capture.until {
        capture.limit = 0;
        return 0;
    }
    let Some(counters) = maps::COUNTERS.get(capture.service) else {
        return 0;
    };
    for slot in 0..NAMES.len() {
        arrived.before.0[slot] = counters.0[slot];
    }
    // SAFETY: the context is the kernel's own.
    record.length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    record.interface = ctx.ingress_ifindex() as u32;
    record.queue = ctx.rx_queue_index();
    record.captured = record.length.min(SNAP as u32);
    // Read back from the map, because the compiler would leave out the bounds that the verifier needs. Linux 6.1 wants a length
    // of one or more, and learns no lower bound from a comparison with zero.
    // SAFETY: a reference is valid for reads.
    let captured = unsafe { core::ptr::read_volatile(&raw const record.captured) };
    let captured = (captured.wrapping_sub(1) & (SNAP as u32 - 1)) + 1;
    // SAFETY: the helper writes `captured` bytes, which is at most the length of `data`: SNAP is a power of two.
    if unsafe { bpf_xdp_load_bytes(ctx.ctx, 0, record.data.as_mut_ptr().cast(), captured) } == 0 {
        record.time = now;
    }
    0
}

#[inline(never)]
fn compare(verdict: Verdict) -> u32 {
    let (Some(capture), Some(arrived)) = (capture(), arrived()) else {
        return 0;
    };
    let Some(counters) = maps::COUNTERS.get(capture.service) else {
        return 0;
    };
    if arrived.record.time == 0 {
        return 0;
    }
    let mut counted = 0;
    for slot in 0..NAMES.len() {
        counted |= u64::from(counters.0[slot] != arrived.before.0[slot]) << slot;
    }
    // CPUs that count at the same moment count one frame less than they put in: the command ignores what is too many.
    if counted & capture.counters != 0 && capture.taken < capture.limit {
        arrived.record.counted = counted;
        arrived.record.verdict = verdict;
        capture.taken += 1;
        if maps::CAPTURED
            .output_untyped::<Record>(&arrived.record, 0)
            .is_err()
        {
            capture.lost += 1;
        }
    }
    arrived.record.time = 0;
    0
}

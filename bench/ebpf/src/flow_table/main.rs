//! The contenders for the flow table, as `bench flow-table` measures them with BPF_PROG_TEST_RUN: the bucketed table
//! of the steering program (its very code), the kernel's hash map and its LRU hash map.
//!
//! Every run draws a flow, looks it up (or inserts it) and lets the next draw depend on what was found, so that
//! the CPU cannot overlap one run's cache misses with the next one's.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

mod contender_maps;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use synward_bench_ebpf::flow_draw::{self, Plan};
use synward_core::flow::FlowKey;
use synward_xdp::flow_lookup;

/// Draws a flow and counts whether `look_up` found it: 0 for no, 1 for yes.
#[inline(always)]
fn run(look_up: impl FnOnce(&FlowKey) -> u32) -> u32 {
    let (Some(plan), Some(drawn)) = (
        contender_maps::PLAN.get_ptr_mut(0),
        contender_maps::DRAWN.get_ptr_mut(0),
    ) else {
        return XDP_ABORTED;
    };
    // SAFETY: elements of arrays live as long as the program, and `bench flow-table` runs one program at a
    // time on maps of its own, so nobody else holds a reference to either.
    let (plan, drawn): (&mut Plan, &mut FlowKey) = unsafe { (&mut *plan, &mut *drawn) };
    *drawn = flow_draw::flow(plan.draw(), plan.v6 != 0);
    let found = look_up(drawn) as u64;
    plan.found += found;
    plan.random ^= found >> 1;
    XDP_PASS
}

/// What all other programs do besides the look-up.
#[xdp]
pub fn baseline(_: XdpContext) -> u32 {
    run(|key| key.ports >> 31 & 1)
}

#[xdp]
pub fn bucketed(_: XdpContext) -> u32 {
    run(|key| match flow_lookup::find_flow(key, &mut true) {
        // SAFETY: the element lives as long as the program; nobody writes it while programs run.
        Some((_, flow)) => unsafe { (*flow).last_seen.to_word() },
        None => 0,
    })
}

#[xdp]
pub fn hash(_: XdpContext) -> u32 {
    // SAFETY: nobody removes elements while programs run.
    run(|key| unsafe { contender_maps::HASH.get(key) }.map_or(0, |value| value[4]))
}

#[xdp]
pub fn lru(_: XdpContext) -> u32 {
    // SAFETY: nobody removes elements while programs run.
    run(|key| unsafe { contender_maps::LRU.get(key) }.map_or(0, |value| value[4]))
}

/// `last_seen` is the fifth word, 1 in every flow of the measurement.
const VALUE: contender_maps::Value = [0, 0, 0, 0, 1, 0, 0];

#[xdp]
pub fn hash_insert(_: XdpContext) -> u32 {
    run(|key| contender_maps::HASH.insert(key, &VALUE, 0).is_ok() as u32)
}

#[xdp]
pub fn lru_insert(_: XdpContext) -> u32 {
    run(|key| contender_maps::LRU.insert(key, &VALUE, 0).is_ok() as u32)
}

/// Needed to link; nothing in these programs panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

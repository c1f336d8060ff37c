//! Programs at the kernel's tracepoints of XDP, the only place where the failure of a redirect shows (include/trace/events/xdp.h).
//! They count the frames that were not transmitted. `probe` makes frames for the self-test.
//!
//! Only `devmap_xmit` and `bulk_tx` run while nothing fails: once for up to sixteen frames, to compare a number with zero.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_map_type::{BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_XSKMAP};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::btf_maps::{Array, PerCpuHashMap};
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_redirect, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, raw_tracepoint, xdp};
use aya_ebpf::programs::{RawTracePointContext, XdpContext};
use synward_core::transmit_failure::{FailureKey, Probe, cause, way};
use synward_core::wire::ethernet;
use synward_xdp::frame_view::view;

/// Lost frames. Failures beyond its capacity, which is interfaces times causes, are not counted.
#[btf_map]
static FAILURES: PerCpuHashMap<FailureKey, u64, 256> = PerCpuHashMap::new();

/// What `probe` does now.
#[btf_map]
static PROBE: Array<Probe, 1> = Array::new();

/// Offsets of fields in this kernel's structures. The loader finds them in the kernel's BTF.
#[unsafe(no_mangle)]
static DEVICE_INDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static DEVICE_NAMESPACE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NAMESPACE_NUMBER: Global<u32> = Global::new(0);

/// `LOOPBACK_IFINDEX` of include/net/flow.h. Frames of BPF_PROG_TEST_RUN arrive at the loopback interface
/// (`bpf_prog_test_run_xdp`, net/bpf/test_run.c). It has no native XDP, so no others do.
const LOOPBACK: u32 = 1;

/// `xdp_devmap_xmit(from_dev, to_dev, sent, drops, err)`: the interface transmitted a batch of redirected frames.
#[raw_tracepoint]
pub fn devmap_xmit(ctx: RawTracePointContext) -> i32 {
    let drops: i32 = ctx.arg(3);
    if drops <= 0 {
        return 0;
    }
    let way = redirect_of(ctx.arg(0));
    if let Some(place) = Place::of(ctx.arg(1)) {
        count(place.key(way, ctx.arg(4)), drops);
    }
    0
}

/// `xdp_bulk_tx(dev, sent, drops, err)`: the interface transmitted a batch of XDP_TX frames. Few drivers report this.
#[raw_tracepoint]
pub fn bulk_tx(ctx: RawTracePointContext) -> i32 {
    let drops: i32 = ctx.arg(2);
    if drops > 0
        && let Some(place) = Place::of(ctx.arg(0))
    {
        count(place.key(way::TRANSMIT, ctx.arg(3)), drops);
    }
    0
}

/// `xdp_redirect_err(dev, xdp, tgt, err, map_type, map_id, index)`: a frame could not be queued for its target. Without a map,
/// `index` is that of the target interface.
#[raw_tracepoint]
pub fn redirect_err(ctx: RawTracePointContext) -> i32 {
    let from = ctx.arg(0);
    let (map_type, index): (u32, u32) = (ctx.arg(4), ctx.arg(6));
    let Some(mut place) = Place::of(from) else {
        return 0;
    };
    if map_type == BPF_MAP_TYPE_UNSPEC {
        place.interface = index;
    }
    let way = if map_type == BPF_MAP_TYPE_XSKMAP {
        way::SOCKET
    } else {
        redirect_of(from)
    };
    count(place.key(way, ctx.arg(3)), 1);
    0
}

/// `xdp_exception(dev, xdp, act)`: the driver dropped a frame after the verdict of a program.
#[raw_tracepoint]
pub fn exception(ctx: RawTracePointContext) -> i32 {
    if let Some(place) = Place::of(ctx.arg(0)) {
        let key = FailureKey {
            errno: cause::EXCEPTION,
            ..place.key(way::TRANSMIT, 0)
        };
        count(key, 1);
    }
    0
}

#[inline(always)]
fn count(key: FailureKey, frames: i32) {
    let frames = frames as u64;
    if let Some(counter) = FAILURES.get_ptr_mut(key) {
        // SAFETY: the kernel returned the value of this CPU, and never removes it.
        unsafe { *counter += frames };
    } else {
        let _ = FAILURES.insert(key, frames, 0);
    }
}

/// The way of a redirected frame by the device at which it arrived.
#[inline(always)]
fn redirect_of(from: *const c_void) -> u32 {
    match Place::of(from) {
        Some(place) if place.interface == LOOPBACK => way::SELF_TEST,
        _ => way::REDIRECT,
    }
}

/// The network namespace and the index of a `struct net_device`.
struct Place {
    namespace: u32,
    interface: u32,
}

impl Place {
    #[inline(always)]
    fn of(device: *const c_void) -> Option<Self> {
        if device.is_null() {
            return None;
        }
        // SAFETY: the helper checks the addresses that it reads, and fails for bad ones.
        unsafe {
            let interface = bpf_probe_read_kernel(at::<u32>(device, &DEVICE_INDEX)).ok()?;
            let net = bpf_probe_read_kernel(at::<*const c_void>(device, &DEVICE_NAMESPACE)).ok()?;
            let namespace = bpf_probe_read_kernel(at::<u32>(net, &NAMESPACE_NUMBER)).ok()?;
            Some(Self {
                namespace,
                interface,
            })
        }
    }

    #[inline(always)]
    fn key(&self, way: u32, error: i32) -> FailureKey {
        FailureKey {
            namespace: self.namespace,
            interface: self.interface,
            errno: error.unsigned_abs(),
            way,
        }
    }
}

#[inline(always)]
fn at<T>(base: *const c_void, offset: &Global<u32>) -> *const T {
    base.wrapping_byte_add(offset.load() as usize).cast()
}

/// Redirects a frame of the self-test. It moves the frame's start towards the start of its buffer first, because drivers use
/// the headroom between them: a frame from a zero-copy queue has none (`xdp_convert_zc_to_xdp_frame`, net/core/xdp.c).
#[xdp]
pub fn probe(ctx: XdpContext) -> u32 {
    let Some(probe) = PROBE.get_ptr_mut(0) else {
        return XDP_DROP;
    };
    // SAFETY: the kernel returned the map's only value. The self-test runs one frame at a time.
    let probe = unsafe { &mut *probe };
    let Some(header) = view::<{ ethernet::LENGTH }>(&ctx, 0).copied() else {
        return XDP_DROP;
    };
    // SAFETY: the context is the kernel's own; no reference into the frame is used afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(probe.grow as i32)) } != 0 {
        return XDP_DROP;
    }
    let Some(start) = view(&ctx, 0) else {
        return XDP_DROP;
    };
    *start = header;
    probe.redirected += 1;
    // SAFETY: takes numbers only.
    unsafe { bpf_redirect(probe.interface, 0) as u32 }
}

/// Needed to link; nothing in this program panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Reading kernel memory asks for GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

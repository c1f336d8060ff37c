//! To user space: the request in front of the frame, the frame into the queue's AF_XDP socket.

use crate::packet::Frame as _;
use crate::{PacketContext, Verdict, maps};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::helpers::bpf_xdp_adjust_meta;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{HEARTBEAT_TIMEOUT, MAX_QUEUES};
use synward_core::worker_request::{META_BYTES, META_WORDS, Meta, Request};

/// Whether the worker of a queue was seen alive lately. A socket in the map alone proves nothing.
#[inline(always)]
pub fn is_alive(queue: u32, now: u64) -> bool {
    match maps::HEARTBEATS.get(queue) {
        // A beat may be younger than this run's clock.
        Some(beat) => now.saturating_sub(*beat) < HEARTBEAT_TIMEOUT,
        None => false,
    }
}

/// A client's segment for an opening.
#[inline(never)]
pub fn deliver_from_client(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
    entry: u32,
) -> Verdict {
    send_request(ctx, pkt, counters, Request::ClientSegment { entry })
}

/// The server's segment for an opening.
#[inline(never)]
pub fn deliver_from_server(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
    entry: u32,
) -> Verdict {
    send_request(ctx, pkt, counters, Request::ServerSegment { entry })
}

/// Hands the frame and `request` to the worker of this queue.
#[inline(always)]
pub fn send_request(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
    request: Request,
) -> Verdict {
    if !is_alive(ctx.rx_queue_index(), pkt.now) {
        counters.bump(Counter::DropNoWorker);
        return XDP_DROP;
    }
    let meta = Meta {
        request,
        l3: pkt.packet.l3 as u8,
        l4: pkt.packet.l4 as u8,
        service: pkt.packet.endpoint.service as u8,
    };
    let words = meta.encode(pkt.packet.v4);
    redirect_frame(ctx, pkt.interface.slot, words, counters)
}

/// Gives the frame, with a request in front of it, to the socket of its queue at the interface in `slot`.
#[inline(always)]
pub fn redirect_frame(
    ctx: &XdpContext,
    slot: u32,
    words: [u32; META_WORDS],
    counters: &mut ServiceCounters,
) -> Verdict {
    let queue = ctx.rx_queue_index();
    if queue >= MAX_QUEUES {
        counters.bump(Counter::DropNoWorker);
        return XDP_DROP;
    }
    // SAFETY: the context is the kernel's own; no view into the frame is used afterwards.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(META_BYTES as i32)) } != 0 {
        counters.bump(Counter::DropNoMetadata);
        return XDP_DROP;
    }
    // SAFETY: a readable field of the kernel's own context; volatile as in `packet::Frame`.
    let start = unsafe { core::ptr::read_volatile(&raw const (*ctx.ctx).data_meta) } as usize;
    if start + META_BYTES > ctx.bounds().0 {
        counters.bump(Counter::DropNoMetadata);
        return XDP_DROP;
    }
    // SAFETY: the range lies between the metadata's start and the frame's, as just checked; the kernel
    // aligns it to 4 bytes.
    unsafe { *(start as *mut [u32; META_WORDS]) = words };
    match maps::SOCKETS.redirect(slot * MAX_QUEUES + queue, XDP_DROP as u64) {
        Ok(verdict) => verdict,
        Err(verdict) => {
            counters.bump(Counter::DropNoWorker);
            verdict
        }
    }
}

//! To a worker in user space: a request in front of the frame, and the frame into the queue's AF_XDP socket.

use crate::frame_view::{Frame as _, has_frags, view};
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::verdict::{NO_WORKER, OVER_SHARE, Verdict};
use crate::{maps, reply};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta};
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{ABSENT_AFTER, HEARTBEAT_TIMEOUT, Interface, MAX_QUEUES};
use synward_core::multilinear;
use synward_core::wire::{Address, tcp};
use synward_core::worker_request::{
    FRONT_BYTES, LONGEST_PACKET, META_BYTES, META_WORDS, Meta, Request, write_front,
};

/// Whether a worker answers the SYNs of this queue, as long as it is alive.
#[inline(always)]
pub fn answers_syns(ctx: &XdpContext, interface: &Interface) -> bool {
    interface.afxdp.contains(ctx.rx_queue_index())
}

/// Whether the worker of a queue is alive. A socket in the map does not say so: a heartbeat does.
#[inline(always)]
pub fn is_alive(queue: u32, now: u64) -> bool {
    match maps::HEARTBEATS.get(queue) {
        // The heartbeat may be later than the clock of this run.
        Some(beat) => now.saturating_sub(*beat) < HEARTBEAT_TIMEOUT,
        None => false,
    }
}

/// Whether no worker has served a queue for so long that none is expected any more.
#[inline(always)]
pub fn is_absent(queue: u32, now: u64) -> bool {
    match maps::HEARTBEATS.get(queue) {
        Some(beat) => now.saturating_sub(*beat) >= ABSENT_AFTER,
        None => true,
    }
}

/// Hands a client's segment for an opening to the worker.
#[inline(never)]
pub fn deliver_from_client(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    entry: u32,
) -> Verdict {
    send_request(ctx, pkt, counters, Request::ClientSegment { entry })
}

/// Hands the server's segment for an opening to the worker.
#[inline(never)]
pub fn deliver_from_server(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    entry: u32,
) -> Verdict {
    send_request(ctx, pkt, counters, Request::ServerSegment { entry })
}

/// Hands the frame and `request` to the worker of this queue.
#[inline(always)]
pub fn send_request(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    request: Request,
) -> Verdict {
    let verdict = try_request(ctx, pkt, counters, request);
    drop_without_worker(verdict, counters)
}

/// Drops a frame that got the verdict [`NO_WORKER`] or [`OVER_SHARE`]; leaves other verdicts as they are.
#[inline(always)]
pub fn drop_without_worker(verdict: Verdict, counters: &mut ServiceCounters) -> Verdict {
    counters.bump(match verdict {
        NO_WORKER => Counter::DropNoWorker,
        OVER_SHARE => Counter::DropWorkerShare,
        verdict => return verdict,
    });
    XDP_DROP
}

/// The same, but the caller decides what becomes of the packet if there is [`NO_WORKER`], or the client has used up its share
/// ([`OVER_SHARE`]). The encoded request stays in `found`.
#[inline(always)]
pub fn try_request(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    request: Request,
) -> Verdict {
    let meta = Meta {
        request,
        l3: pkt.cpu.packet.l3 as u8,
        l4: pkt.cpu.packet.l4 as u8,
        service: pkt.cpu.memory.endpoint.service as u16,
    };
    pkt.cpu.found.request = meta.encode(pkt.cpu.packet.v4);
    if !is_alive(ctx.rx_queue_index(), pkt.now) {
        return NO_WORKER;
    }
    if has_share(&request) && !is_within_share(pkt) {
        return OVER_SHARE;
    }
    // An error is no segment: only the first bytes of what it quotes count, and the kernel keeps it short.
    let is_segment = !matches!(request, Request::Undelivered { .. });
    if is_segment && !fits_worker(ctx, &pkt.cpu.packet) && !cut_off_data(ctx, &pkt.cpu.packet) {
        counters.bump(Counter::DropResize);
        return XDP_DROP;
    }
    redirect_frame(ctx, pkt.interface.slot, &pkt.cpu.found.request, counters)
}

/// Whether a request is for a segment of a validated client: one could fill the ring with them, which all share.
#[inline(always)]
const fn has_share(request: &Request) -> bool {
    matches!(
        request,
        Request::Open { .. } | Request::BehindAck | Request::ClientSegment { .. }
    )
}

#[inline(never)]
fn is_within_share(pkt: &mut PacketContext) -> bool {
    let Some(globals) = maps::GLOBALS.get(0) else {
        return true;
    };
    let connection = pkt.cpu.found.key.table_hash(&globals.table_key);
    let client = client_hash(&globals.table_key, &pkt.cpu.packet.source);
    let memory = &mut pkt.cpu.memory;
    memory.may_go_to_worker(connection as u32, client)
}

/// The hash of what one client has at most: an IPv4 address, or a site of /48 with IPv6 (RFC 6177 §2).
#[inline(always)]
fn client_hash(key: &multilinear::Key, client: &Address) -> u32 {
    let [a, b, c, d] = client.0;
    let words = if client.is_v4() {
        [c, d]
    } else {
        [a, b & u32::from_ne_bytes([255, 255, 0, 0])]
    };
    let mut message = [0; multilinear::WORDS];
    message[..2].copy_from_slice(&words);
    multilinear::multilinear_hash(key, message) as u32
}

/// Whether a worker takes a packet as it is. Linux before 6.6 redirects no frame in several buffers to a socket.
#[inline(always)]
pub fn fits_worker(ctx: &XdpContext, packet: &Packet) -> bool {
    packet.length <= LONGEST_PACKET && (!has_frags() || packet.is_linear(ctx))
}

/// Leaves only the headers of a segment that a worker does not take as it is. The worker completes them to a segment without
/// data, and the sender retransmits the data.
#[inline(never)]
fn cut_off_data(ctx: &XdpContext, packet: &Packet) -> bool {
    reply::resize(ctx, (packet.l4 & 511) + tcp::LENGTH + (packet.options & 63))
}

/// Redirects the frame, with a request in front of it, to the socket of its queue on the interface in `slot`; [`NO_WORKER`]
/// if there is no socket.
#[inline(always)]
pub fn redirect_frame(
    ctx: &XdpContext,
    slot: u32,
    words: &[u32; META_WORDS],
    counters: &mut ServiceCounters,
) -> Verdict {
    let queue = ctx.rx_queue_index();
    if queue >= MAX_QUEUES {
        return NO_WORKER;
    }
    // SAFETY: the context is the kernel's own; no view into the frame is used afterwards.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(META_BYTES as i32)) } != 0 {
        return match put_front(ctx, words) {
            Some(()) => redirect_to_socket(slot, queue),
            None => {
                counters.bump(Counter::DropNoMetadata);
                XDP_DROP
            }
        };
    }
    // SAFETY: a readable field of the kernel's own context; volatile as in `frame_view::Frame`.
    let start = unsafe { core::ptr::read_volatile(&raw const (*ctx.ctx).data_meta) } as usize;
    if start + META_BYTES > ctx.bounds().0 {
        counters.bump(Counter::DropNoMetadata);
        return XDP_DROP;
    }
    // SAFETY: the range lies between the metadata's start and the frame's, as just checked; the kernel
    // aligns it to 4 bytes.
    unsafe { *(start as *mut [u32; META_WORDS]) = *words };
    redirect_to_socket(slot, queue)
}

/// Puts a request into the frame itself, for drivers without metadata. `None`: the driver leaves no headroom either.
#[inline(always)]
fn put_front(ctx: &XdpContext, words: &[u32; META_WORDS]) -> Option<()> {
    // SAFETY: the context is the kernel's own; no view into the frame is used afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(FRONT_BYTES as i32)) } != 0 {
        return None;
    }
    write_front(view::<FRONT_BYTES>(ctx, 0)?, words);
    Some(())
}

#[inline(always)]
fn redirect_to_socket(slot: u32, queue: u32) -> Verdict {
    let redirected = maps::SOCKETS.redirect(slot * MAX_QUEUES + queue, XDP_DROP as u64);
    redirected.unwrap_or(NO_WORKER)
}

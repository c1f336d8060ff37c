//! A service of this machine: the kernel's socket table says which segments belong to a connection.
//!
//! To answer SYNs without a look-up would hang real clients: those that come back from the same port while the server is in
//! TIME_WAIT, those that have crashed and left the server a connection, those of a full accept queue or a closed port. But
//! looking up a connection reads a cache line that no cache holds, and in a flood that is most of what an answer costs. In a
//! flood only the listener is looked up, once a jiffy, and a stale connection is reset when the client of the new one has
//! shown a valid cookie ([`stale_connection`](crate::stale_connection)).

use crate::cpu_memory::CpuMemory;
use crate::kernel_cookie_listener::{is_valid_kernel_cookie, make_kernel_cookie};
use crate::kernel_socket::{Socket, look_up_listener, look_up_socket};
use crate::maps;
use crate::packet_context::PacketContext;
use crate::prepared::Prepared;
use crate::verdict::{NEEDS_COOKIE, Verdict};
use crate::{address_counts, behind_ack, plain_acks, reply_budget, syn};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_xdp_adjust_meta;
use aya_ebpf::programs::{TcContext, XdpContext};
use synward_core::address_counts::Counted;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::cookies;
use synward_core::wire::tcp::flags;

/// Passes segments that a socket owns, and SYNs that the kernel itself answers best; drops SYNs that it would drop.
#[inline(never)]
pub fn decide_by_socket(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let is_syn = pkt.cpu.packet.is_syn();
    let (found, memory) = (&pkt.cpu.found, &mut pkt.cpu.memory);
    let socket = if is_syn {
        let is_flood = found.is_flood;
        if is_flood && memory.has_listener(found.slot) {
            Socket::Listener
        } else {
            look_up_syn(ctx, &found.key, is_flood, || {
                memory.remember_listener(found.slot)
            })
        }
    } else {
        look_up_socket(ctx.ctx.cast(), &found.key, pkt.cpu.packet.acknowledgement)
    };
    let socket = match socket {
        Socket::Listener if pkt.service.cookies & cookies::KERNEL != 0 => Socket::CookieListener,
        Socket::FullListener if pkt.service.cookies & cookies::KERNEL != 0 => {
            Socket::FullCookieListener
        }
        socket => socket,
    };
    match socket {
        Socket::Listener => NEEDS_COOKIE,
        // The kernel drops a SYN for which it has no room (`tcp_conn_request`, net/ipv4/tcp_input.c).
        Socket::FullListener | Socket::FullCookieListener if is_syn => {
            counters.bump(Counter::DropQueueFull);
            XDP_DROP
        }
        Socket::FullListener => NEEDS_COOKIE,
        Socket::CookieListener if is_syn && make_kernel_cookie(ctx, pkt) => NEEDS_COOKIE,
        Socket::CookieListener | Socket::FullCookieListener if !is_syn => {
            check_kernel_cookie(ctx, pkt, counters)
        }
        // The kernel refuses a SYN to a closed port. Any other segment needs a cookie.
        Socket::NotFound if !is_syn => NEEDS_COOKIE,
        Socket::OwnConnection if !is_syn => {
            mark_known_connection(ctx);
            counters.bump(Counter::Passed);
            XDP_PASS
        }
        Socket::Connection if !is_syn => {
            counters.bump(Counter::Passed);
            XDP_PASS
        }
        // The kernel answers with a RST or a challenge; or it makes no cookie for us, or none yet: its listener protects itself.
        _ => pass_syn(pkt, counters, socket),
    }
}

/// Leaves a SYN to the kernel, if one more reply to its prefix is allowed.
#[inline(always)]
fn pass_syn(pkt: &mut PacketContext, counters: &mut ServiceCounters, socket: Socket) -> Verdict {
    if !reply_budget::allows_reply(pkt) {
        counters.bump(Counter::DropReplyBudget);
        return XDP_DROP;
    }
    if socket == Socket::CookieListener {
        syn::note_passed(pkt);
    }
    counters.bump(Counter::Passed);
    XDP_PASS
}

/// Checks whether a segment carries one of the kernel's own cookies, if the limit on wrong ones allows it; if it carries none, it
/// may have one of ours, whose check counts it if it is wrong, too.
#[inline(never)]
fn check_kernel_cookie(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    if pkt.cpu.packet.flags & (flags::SYN | flags::ACK | flags::RST) != flags::ACK {
        return NEEDS_COOKIE;
    }
    // What comes right behind a valid ACK says nothing against its sender.
    if behind_ack::is_behind(pkt) {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    pkt.cpu.found.plain_ack.is_counted = false;
    if !plain_acks::admits_kernel_cookie(pkt) {
        address_counts::count(pkt, Counted::BadAck);
        counters.bump(Counter::DropPlainLimit);
        return XDP_DROP;
    }
    if !is_valid_kernel_cookie(ctx, pkt) {
        pkt.cpu.found.plain_ack.is_admitted = true;
        return NEEDS_COOKIE;
    }
    counters.bump(Counter::CookieValid);
    address_counts::count(pkt, Counted::Proven);
    reply_budget::note_proven(pkt);
    behind_ack::remember(pkt);
    XDP_PASS
}

/// Whether all that the kernel has for a SYN over IPv4 is a listener that takes our cookies and has room.
#[inline(always)]
pub fn has_listener_with_room(ctx: &XdpContext, flow: &FlowKey, prepared: &mut Prepared) -> bool {
    let Some(scratch) = maps::steer_scratch() else {
        return false;
    };
    let memory: &mut CpuMemory = &mut scratch.memory;
    let is_flood = memory.count_syn();
    if is_flood && prepared.listens != 0 {
        return true;
    }
    look_up_syn(ctx, flow, is_flood, || prepared.listens = 1) == Socket::Listener
}

/// The socket of a SYN. In a flood it is the listener if that has room, which `remember` notes for the rest of the jiffy.
#[inline(always)]
fn look_up_syn(
    ctx: &XdpContext,
    flow: &FlowKey,
    is_flood: bool,
    remember: impl FnOnce(),
) -> Socket {
    if is_flood && look_up_listener(ctx.ctx.cast(), flow) == Socket::Listener {
        remember();
        return Socket::Listener;
    }
    // Also if the listener that was found has no room: another one of its group may have.
    look_up_socket(ctx.ctx.cast(), flow, 0)
}

/// In front of a segment whose connection XDP has found, for the program at TC: "syn:".
const KNOWN_CONNECTION: u32 = 0x3a6e_7973;

/// Saves the program at TC a second look-up. If the driver does not carry metadata to the skb, the program looks up again.
#[inline(always)]
fn mark_known_connection(ctx: &XdpContext) {
    // SAFETY: the context is the kernel's own; no view into the frame is used afterwards.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<u32>() as i32)) } != 0 {
        return;
    }
    // SAFETY: as above; both fields are readable.
    let (start, end) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.ctx).data_meta) as usize,
            core::ptr::read_volatile(&raw const (*ctx.ctx).data) as usize,
        )
    };
    if start + size_of::<u32>() <= end {
        // SAFETY: the word lies between metadata and frame (checked just above, and by the verifier again), and
        // metadata is aligned to 4 bytes.
        unsafe { *(start as *mut u32) = KNOWN_CONNECTION };
    }
}

/// Whether XDP has found the connection of a segment.
#[inline(always)]
pub fn is_known_connection(ctx: &TcContext) -> bool {
    // SAFETY: the context is the kernel's own; both fields are readable.
    let (start, end) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.skb.skb).data_meta) as usize,
            core::ptr::read_volatile(&raw const (*ctx.skb.skb).data) as usize,
        )
    };
    // SAFETY: read only inside of the metadata, as above.
    start + size_of::<u32>() <= end && unsafe { *(start as *const u32) } == KNOWN_CONNECTION
}

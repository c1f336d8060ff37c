//! A service of this machine: its kernel knows better than any table of ours whose a segment is.
//!
//! To answer blindly would hang real clients: those that come back from the same port while the server is in
//! TIME_WAIT, those that have crashed and left it a connection, those of a full accept queue or a closed port. To look for
//! a connection costs a line of memory that no cache holds, though, and in a flood that is most of what an answer costs. So
//! there the listener alone is asked, once a tick, and a connection in the way of a new one is seen to when its client has
//! proven itself (`stale`).

use crate::kernel_socket::{self, Socket};
use crate::packet::Packet;
use crate::prepared::Prepared;
use crate::{PacketContext, Verdict, kernel_cookie_listener, maps, time};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_xdp_adjust_meta;
use aya_ebpf::programs::{TcContext, XdpContext};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::cookies;
use synward_core::wire::tcp::flags;

/// No verdict: a listener has to be convinced by a cookie first.
pub const NEEDS_COOKIE: Verdict = 102;

/// Passes what a socket owns, and what the kernel itself answers best; refuses what it would refuse.
#[inline(never)]
pub fn decide_by_socket(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let is_syn =
        pkt.packet.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN;
    let found = if is_syn {
        look_up_syn(ctx, pkt.packet)
    } else {
        kernel_socket::look_up_socket(ctx.ctx.cast(), pkt.packet)
    };
    let socket = match found {
        Socket::Listener if pkt.service.cookies & cookies::KERNEL != 0 => Socket::CookieListener,
        socket => socket,
    };
    match socket {
        Socket::Listener => NEEDS_COOKIE,
        // The kernel drops a SYN for which it has no room (`tcp_conn_request`, net/ipv4/tcp_input.c).
        Socket::FullListener if is_syn => {
            counters.bump(Counter::DropQueueFull);
            XDP_DROP
        }
        Socket::FullListener => NEEDS_COOKIE,
        Socket::CookieListener
            if is_syn && kernel_cookie_listener::make_kernel_cookie(ctx, pkt) =>
        {
            NEEDS_COOKIE
        }
        Socket::CookieListener
            if !is_syn && kernel_cookie_listener::is_valid_kernel_cookie(ctx, pkt.packet) =>
        {
            counters.bump(Counter::CookieValid);
            XDP_PASS
        }
        // To a SYN the kernel says that the port is closed. Anything else has only a cookie to show.
        Socket::NotFound | Socket::CookieListener if !is_syn => NEEDS_COOKIE,
        Socket::OwnConnection if !is_syn => {
            mark_known_connection(ctx);
            counters.bump(Counter::Passed);
            XDP_PASS
        }
        // The kernel makes no cookie, or none yet: its listener looks after itself.
        Socket::OwnConnection | Socket::Connection | Socket::NotFound | Socket::CookieListener => {
            counters.bump(Counter::Passed);
            XDP_PASS
        }
    }
}

/// SYNs that each CPU looks for among the kernel's connections in every tick (1 to 10 ms). More are a flood.
const SYNS_LOOKED_UP: u32 = 64;

/// The socket of a SYN, in a flood perhaps that of its listener.
#[inline(always)]
fn look_up_syn(ctx: &XdpContext, packet: &mut Packet) -> Socket {
    let is_flood = count_syn(packet);
    if is_flood && packet.listener_tick == packet.tick && packet.listener_slot == packet.slot {
        return Socket::Listener;
    }
    // If it is none with room, the SYN is looked for by itself all the same: of a group of listeners another may have room.
    if is_flood && kernel_socket::look_up_listener(ctx.ctx.cast(), packet) == Socket::Listener {
        (packet.listener_tick, packet.listener_slot) = (packet.tick, packet.slot);
        return Socket::Listener;
    }
    kernel_socket::look_up_socket(ctx.ctx.cast(), packet)
}

/// Counts a SYN, and says whether it is one of more than are looked for.
#[inline(always)]
fn count_syn(packet: &mut Packet) -> bool {
    time::now(packet);
    packet.syns += 1;
    packet.syns > SYNS_LOOKED_UP
}

/// Whether a listener that takes our cookies, and has room, is all that the kernel has for a SYN over IPv4.
#[inline(always)]
pub fn has_listener_with_room(ctx: &XdpContext, flow: &FlowKey, prepared: &mut Prepared) -> bool {
    let Some(packet) = maps::packet() else {
        return false;
    };
    let is_flood = count_syn(packet);
    if is_flood && prepared.listens != 0 {
        return true;
    }
    packet.v4 = true;
    (packet.source, packet.source_port) = (flow.client, flow.client_port());
    (packet.destination, packet.destination_port) = (flow.server, flow.server_port());
    if is_flood && kernel_socket::look_up_listener(ctx.ctx.cast(), packet) == Socket::Listener {
        prepared.listens = 1;
        return true;
    }
    kernel_socket::look_up_socket(ctx.ctx.cast(), packet) == Socket::Listener
}

/// In front of a segment whose connection is known, for the program at TC: "syn:".
const KNOWN_CONNECTION: u32 = 0x3a6e_7973;

/// Spares the program at TC a second look at a segment. A driver that does not bring metadata along has it look.
#[inline(always)]
fn mark_known_connection(ctx: &XdpContext) {
    // SAFETY: the context is the kernel's own; nothing of the frame is looked at afterwards.
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

/// Whether XDP knew the connection of a segment.
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

//! Behind XDP, at TC: the ACK of a validated client becomes a connection of this machine's kernel, as if the kernel had
//! done the handshake. The application accepts it like any other; nothing is translated afterwards.

use crate::ack;
use crate::cpu_scratch::CpuScratch;
use crate::kernel_socket::{self, Socket};
use crate::packet::{Kind, Packet};
use crate::packet_context::PacketContext;
use crate::requeue::Round;
use crate::verdict::{NO_COOKIE, OVERTAKING, REPLAYED, STALE_CONNECTION, VALID_COOKIE};
use crate::{
    assignments, local_service, maps, replay_check, service_lookup, stale_connection,
    steered_interface,
};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::tcx_action_base::{TCX_DROP, TCX_NEXT};
use aya_ebpf::programs::TcContext;
use core::ffi::c_void;
use synward_core::client_options::{ClientOptions, DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::counters::Counter;
use synward_core::layout::{Profile, cookies, handoff, listed, mode, side};
use synward_core::replay_cache::Event;
use synward_core::wire::tcp::flags;

/// A placeholder for the number of `bpf_sk_assign_tcp_reqsk` in the kernel's BTF, which the loader writes here
/// (appliance/src/kernel/kfunc.rs).
const ASSIGN: usize = synward_core::layout::ASSIGN_KFUNC as usize;

/// `struct bpf_tcp_req_attrs` of include/net/tcp.h.
#[repr(C)]
struct Attributes {
    tsval: u32,
    tsecr: u32,
    mss: u16,
    rcv_wscale: u8,
    snd_wscale: u8,
    ecn: u8,
    wscale: u8,
    sack: u8,
    timestamps: u8,
    /// `usec_ts` and three reserved bytes: one word, so that its first byte is not written together with the byte before,
    /// which the verifier allows at no odd address of the stack.
    usec_ts: u32,
}

/// Decides about one segment on its way to the kernel. Later programs and the kernel see it unchanged.
#[inline(always)]
pub fn assign(ctx: &TcContext) -> i32 {
    if local_service::is_known_connection(ctx) {
        return TCX_NEXT;
    }
    match maps::assign_scratch() {
        Some(cpu) => decide(ctx, cpu).unwrap_or(TCX_NEXT),
        None => TCX_NEXT,
    }
}

#[inline(always)]
fn decide(ctx: &TcContext, cpu: &mut CpuScratch) -> Option<i32> {
    // SAFETY: the context is the kernel's own, and the field is readable.
    let index = unsafe { (*ctx.skb.skb).ifindex };
    let interface = steered_interface::find_steered(index, &mut cpu.found.slot)?;
    if interface.side & side::OUTSIDE == 0 || !read(ctx, &mut cpu.packet) {
        return None;
    }
    let (packet, memory) = (&cpu.packet, &mut cpu.memory);
    if packet.flags & (flags::ACK | flags::RST | flags::SYN) != flags::ACK
        || !service_lookup::find_endpoint_for(memory, packet.destination, packet.destination_port)
    {
        return None;
    }
    let (service, counters) = service_lookup::policy_and_counters_of(&cpu.memory)?;
    if service.handoff != handoff::LOCAL || service.cookies & cookies::KERNEL != 0 {
        return None;
    }
    cpu.found.key = cpu.packet.flow_from_client();
    let now = cpu.memory.now();
    let mut pkt = PacketContext {
        cpu,
        interface,
        service,
        now,
    };
    match verify_and_assign(ctx, &mut pkt) {
        NO_COOKIE => return None,
        STALE_CONNECTION => {
            return Some(stale_connection::reset_stale_connection(
                ctx, &mut pkt, counters,
            ));
        }
        // Of two segments that arrive together, the first may have been assigned just now, and TCP has not seen it yet. After
        // TCP has, the second finds the connection; a replay does not.
        OVERTAKING if let Some(action) = Round::of(ctx).requeue(ctx) => return Some(action),
        OVERTAKING | REPLAYED => {
            counters.bump(Counter::DropReplayedCookie);
            return Some(TCX_DROP);
        }
        0 => counters.bump(Counter::Assigned),
        _ => counters.bump(Counter::AssignRefused),
    }
    None
}

/// Reads the headers; drivers may leave some of them outside the linear part of the socket buffer.
#[inline(always)]
fn read(ctx: &TcContext, packet: &mut Packet) -> bool {
    match packet.read(ctx) {
        Kind::Tcp => true,
        Kind::Other | Kind::Malformed => {
            ctx.pull_data(ctx.len().min(PULLED)).is_ok() && packet.read(ctx) == Kind::Tcp
        }
        _ => false,
    }
}

/// Ethernet, IPv6 with some extension headers, TCP with all options.
const PULLED: u32 = 192;

/// Verifies the cookie and requests the connection from the kernel. Returns 0, a negative error number, or a constant of
/// [`verdict`](crate::verdict). A cookie with timestamps is checked first, because nearly no segment has one and a socket look-up
/// costs more.
#[inline(never)]
fn verify_and_assign(ctx: &TcContext, pkt: &mut PacketContext) -> i32 {
    ack::read_fields(ctx, pkt);
    // In mode `always` XDP has checked the cookie of every source that is not on the allow-list.
    let was_checked =
        pkt.service.mode == mode::ALWAYS && service_lookup::find_listed(pkt) != listed::ALLOWED;
    // Without timestamps only a listener takes a cookie (below). The ACKs of connections are not counted as wrong ones.
    if !was_checked && pkt.cpu.found.ack.tsecr.is_none() && !meets_listener(ctx, pkt) {
        return NO_COOKIE;
    }
    if ack::check_within_limit(pkt, was_checked) != VALID_COOKIE {
        return NO_COOKIE;
    }
    let found = &pkt.cpu.found;
    let mut attributes = attributes(&found.validated_options, &found.offered, pkt.cpu.packet.v4);
    let times = pkt.cpu.packet.timestamps(ctx);
    if times.present {
        attributes.timestamps = 1;
        attributes.tsval = times.tsval;
        attributes.tsecr = times.tsecr;
    }
    // Before the socket look-up: a connection that is found after its handshake was recorded is not stale.
    let is_over = replay_check::is_recorded(pkt, Event::Connected);
    match kernel_socket::look_up_socket(
        ctx.skb.skb.cast(),
        &pkt.cpu.found.key,
        pkt.cpu.packet.acknowledgement,
    ) {
        Socket::NotFound | Socket::OwnConnection => return NO_COOKIE,
        // A cookie without timestamps has too few bits to reset a connection: the kernel challenges the segment (RFC 5961).
        Socket::Connection
            if is_over
                || !times.present
                || replay_check::is_recorded(pkt, Event::MaybeAssigned) =>
        {
            return NO_COOKIE;
        }
        Socket::Connection => return STALE_CONNECTION,
        // The kernel refuses for a listener that became one for Multipath TCP after the SYN was answered; that is counted.
        Socket::Listener
        | Socket::FullListener
        | Socket::CookieListener
        | Socket::FullCookieListener => {}
    }
    if is_over {
        return if assignments::is_recent(pkt) {
            OVERTAKING
        } else {
            REPLAYED
        };
    }
    assign_to_listener(ctx, pkt, &mut attributes)
}

/// Whether the kernel has a listener for a segment, and no connection. One that takes only the kernel's own cookies is none: XDP
/// has checked for them.
#[inline(always)]
fn meets_listener(ctx: &TcContext, pkt: &PacketContext) -> bool {
    let found = kernel_socket::look_up_socket(
        ctx.skb.skb.cast(),
        &pkt.cpu.found.key,
        pkt.cpu.packet.acknowledgement,
    );
    matches!(found, Socket::Listener | Socket::FullListener)
}

/// The options that the kernel takes as negotiated with the client. It takes no MSS below the smallest that every path
/// carries.
#[inline(always)]
fn attributes(client: &ClientOptions, offered: &Profile, v4: bool) -> Attributes {
    let least = if v4 { DEFAULT_MSS_V4 } else { DEFAULT_MSS_V6 };
    Attributes {
        tsval: 0,
        tsecr: 0,
        mss: if client.mss < least {
            least
        } else {
            client.mss
        },
        rcv_wscale: if client.window_scale.is_some() {
            offered.window_scale
        } else {
            0
        },
        snd_wscale: match client.window_scale {
            Some(scale) => scale,
            None => 0,
        },
        ecn: client.ecn as u8,
        wscale: client.window_scale.is_some() as u8,
        sack: client.sack as u8,
        timestamps: 0,
        usec_ts: 0,
    }
}

/// Assigns the segment to its listener, and records that first: the client's data may be processed on another CPU at the
/// same time, and the kernel takes only one of the two segments.
///
/// If segments that arrived together may fill the accept queue, the kernel may drop this one, and the client's next attempt
/// must not count as a replay. A replay may then open a connection once more; that does less harm.
#[inline(always)]
fn assign_to_listener(ctx: &TcContext, pkt: &PacketContext, attributes: &mut Attributes) -> i32 {
    // SAFETY: the number of a kernel function takes the place of a function's address (kernel/bpf/verifier.c,
    // BPF_PSEUDO_KFUNC_CALL); the loader refuses to load this program without having written it there.
    let kernel: unsafe extern "C" fn(*mut __sk_buff, *mut c_void, *mut Attributes, i32) -> i32 =
        unsafe { core::mem::transmute(ASSIGN) };
    let taken = kernel_socket::with_listener(ctx.skb.skb.cast(), &pkt.cpu.found.key, |listener| {
        let is_sure = kernel_socket::has_room_for_all(listener);
        let event = if is_sure {
            Event::Connected
        } else {
            Event::MaybeAssigned
        };
        // First the time: a CPU that finds the handshake recorded finds that too.
        assignments::note(pkt);
        let entry = replay_check::record_event(pkt, event);
        if entry.is_none() && is_sure {
            return OVERTAKING;
        }
        // SAFETY: the context is the kernel's own, the listener is held, the attributes are live and of that size.
        let taken = unsafe {
            kernel(
                ctx.skb.skb,
                listener,
                attributes,
                size_of::<Attributes>() as i32,
            )
        };
        if let Some(entry) = entry
            && taken != 0
        {
            *entry = 0;
        }
        taken
    });
    taken.unwrap_or(NO_COOKIE)
}

//! Behind XDP, at TC: the ACK of a proven client becomes a connection of this machine's kernel, as if the kernel had
//! shaken hands itself. The application accepts it like any other; nothing is translated afterwards.

use crate::ack::{self, CookieCheck};
use crate::kernel_socket::{self, Socket};
use crate::packet::{Kind, Packet};
use crate::requeue::Round;
use crate::{
    PacketContext, local_service, maps, replay_check, service_lookup, stale_connection,
    steered_interface, time,
};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::tcx_action_base::{TCX_DROP, TCX_NEXT};
use aya_ebpf::programs::TcContext;
use core::ffi::c_void;
use synward_core::client_options::{ClientOptions, DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Profile, cookies, handoff, side};
use synward_core::replay_cache::Event;
use synward_core::wire::tcp::flags;

/// Stands for the number of `bpf_sk_assign_tcp_reqsk` in the kernel's BTF until the loader puts that in its place
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
    usec_ts: u8,
    reserved: [u8; 3],
}

/// Looks at one segment that goes to the kernel. Others see it afterwards as they would without us.
#[inline(always)]
pub fn assign(ctx: &TcContext) -> i32 {
    if local_service::is_known_connection(ctx) {
        return TCX_NEXT;
    }
    if let Some(packet) = maps::SCRATCH.get_ptr_mut(maps::scratch::ASSIGN) {
        // SAFETY: per-CPU and this program's own; it runs to its end on this CPU before another run of it starts
        // here.
        return consider(ctx, unsafe { &mut *packet }).unwrap_or(TCX_NEXT);
    }
    TCX_NEXT
}

#[inline(always)]
fn consider(ctx: &TcContext, packet: &mut Packet) -> Option<i32> {
    // SAFETY: the context is the kernel's own, and the field is readable.
    let interface = steered_interface::find_steered(unsafe { (*ctx.skb.skb).ifindex }, packet)?;
    if interface.side & side::OUTSIDE == 0 || !read(ctx, packet) {
        return None;
    }
    let (destination, port) = (packet.destination, packet.destination_port);
    if packet.flags & (flags::ACK | flags::RST | flags::SYN) != flags::ACK
        || !service_lookup::find_endpoint_for(packet, destination, port)
    {
        return None;
    }
    let (service, counters) = service_lookup::policy_and_counters(&packet.endpoint)?;
    if service.handoff != handoff::LOCAL || service.cookies & cookies::KERNEL != 0 {
        return None;
    }
    packet.key = FlowKey::new(
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    );
    let now = time::now(packet);
    let mut pkt = PacketContext {
        packet,
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
        // The first of two segments that arrived together may have just had its connection, and TCP comes after this.
        // Behind that the second meets the connection; a replay does not.
        REPLAYED => {
            return Some(Round::of(ctx).requeue(ctx).unwrap_or_else(|| {
                counters.bump(Counter::DropReplayedCookie);
                TCX_DROP
            }));
        }
        0 => counters.bump(Counter::Assigned),
        _ => counters.bump(Counter::AssignRefused),
    }
    None
}

/// Reads the headers; drivers may leave some of them outside of the socket buffer's first piece.
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

/// The segment carries no valid cookie, or nobody takes it.
const NO_COOKIE: i32 = 1;
/// The connection has been, and is over.
const REPLAYED: i32 = 2;
/// There is a connection on these addresses and ports.
const STALE_CONNECTION: i32 = 3;

/// Verifies the cookie and asks the kernel for the connection: 0, a negative error number, or one of the above. The
/// cookie comes first, because nearly no segment has one and a look at the kernel's sockets costs more.
#[inline(never)]
fn verify_and_assign(ctx: &TcContext, pkt: &mut PacketContext) -> i32 {
    let fields = ack::ack_fields(ctx, pkt.packet);
    let CookieCheck::Valid { options, offered } = ack::check_cookie(pkt, &fields) else {
        return NO_COOKIE;
    };
    let mut attributes = attributes(&options, &offered, pkt.packet.v4);
    let times = pkt.packet.timestamps(ctx);
    if times.present {
        attributes.timestamps = 1;
        attributes.tsval = times.tsval;
        attributes.tsecr = times.tsecr;
    }
    // Before the look at the sockets: a connection that is seen after this has been written down is not in the way.
    let is_over = replay_check::is_recorded(pkt.packet, Event::Assigned, pkt.now);
    match kernel_socket::look_up_socket(ctx.skb.skb.cast(), pkt.packet) {
        Socket::NotFound | Socket::OwnConnection => return NO_COOKIE,
        Socket::Connection
            if is_over || replay_check::is_recorded(pkt.packet, Event::MaybeAssigned, pkt.now) =>
        {
            return NO_COOKIE;
        }
        Socket::Connection => return STALE_CONNECTION,
        // One for Multipath TCP has become that since the SYN was answered: the kernel refuses, which is counted.
        Socket::Listener | Socket::CookieListener | Socket::FullListener => {}
    }
    if is_over {
        return REPLAYED;
    }
    assign_to_listener(ctx, pkt, &mut attributes)
}

/// What the kernel is to believe that it has agreed on with the client. It takes no MSS below the smallest that a
/// path is bound to carry.
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
        reserved: [0; 3],
    }
}

/// Gives the segment to its listener, and writes that down first: the client's data may be here on another CPU at the same
/// time, and of two segments the kernel takes one only.
///
/// Where the kernel may drop the segment because others that arrived with it fill the accept queue, the client's next try
/// must not count as a replay. A replay may then open a connection once more, which is the lesser evil.
#[inline(always)]
fn assign_to_listener(ctx: &TcContext, pkt: &PacketContext, attributes: &mut Attributes) -> i32 {
    let (packet, now) = (&*pkt.packet, pkt.now);
    // SAFETY: a kernel function's number stands where a function's address would (kernel/bpf/verifier.c,
    // BPF_PSEUDO_KFUNC_CALL); the loader refuses to load this program without having put it there.
    let kernel: unsafe extern "C" fn(*mut __sk_buff, *mut c_void, *mut Attributes, i32) -> i32 =
        unsafe { core::mem::transmute(ASSIGN) };
    let taken = kernel_socket::with_listener(ctx.skb.skb.cast(), packet, |listener| {
        let is_sure = kernel_socket::has_room_for_all(listener);
        let event = if is_sure {
            Event::Assigned
        } else {
            Event::MaybeAssigned
        };
        let entry = replay_check::record_event(packet, event, now);
        if entry.is_none() && is_sure {
            return REPLAYED;
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

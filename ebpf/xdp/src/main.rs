//! The programs of the object: `steer` at XDP, `assign` and `test_inject` at TC.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Flow, Interface, handoff, mode, side, state};
use synward_core::translate::Direction;
use synward_core::wire::tcp::flags;
use synward_xdp::packet::{Kind, Packet};
use synward_xdp::{
    PacketContext, Verdict, ack, fast_path, flow_lookup, forward, icmp_error, local_service, maps,
    reply, service_lookup, splice, steered_interface, syn, time, unknown, worker,
};

/// Decides what happens to one frame.
#[xdp]
pub fn steer(ctx: XdpContext) -> Verdict {
    if fast_path::is_candidate(&ctx) {
        let verdict = fast_path::answer_candidate(&ctx);
        if verdict != fast_path::GENERAL_PATH {
            return verdict;
        }
    }
    let Some(packet) = maps::packet() else {
        return XDP_PASS;
    };
    let Some(interface) = steered_interface::find_steered(ctx.ingress_ifindex() as u32, packet)
    else {
        return XDP_PASS;
    };
    match packet.read(&ctx) {
        Kind::Tcp => tcp(&ctx, packet, interface),
        Kind::Icmp => icmp_error::translate_quotation(&ctx, packet),
        kind @ (Kind::Fragment | Kind::Malformed) if interface.side & side::OUTSIDE != 0 => {
            service_lookup::decide_unreadable(&packet.destination, kind)
        }
        _ => XDP_PASS,
    }
}

#[inline(always)]
fn tcp(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    if interface.side & side::OUTSIDE != 0
        && service_lookup::find_endpoint_for(packet, packet.destination, packet.destination_port)
    {
        return from_client(ctx, packet, interface);
    }
    if interface.side & side::INSIDE != 0
        && service_lookup::find_endpoint_for(packet, packet.source, packet.source_port)
    {
        return from_server(ctx, packet, interface);
    }
    XDP_PASS
}

#[inline(always)]
fn from_client(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service_lookup::policy_and_counters(&packet.endpoint) else {
        return XDP_PASS;
    };
    packet.key = FlowKey::new(
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    );
    packet.kernel_cookie = false;
    let now = time::now(packet);
    let mut pkt = PacketContext {
        packet,
        interface,
        service,
        now,
    };
    let is_syn =
        pkt.packet.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN;
    if is_syn {
        counters.bump(Counter::Syn);
    }

    pkt.packet.may_pass = false;
    if service.handoff == handoff::SPLICE
        && let Some((index, flow)) =
            flow_lookup::find_flow(&pkt.packet.key, &mut pkt.packet.may_pass)
    {
        // SAFETY: the table hands out entries of the flow array, which outlives the program. Other
        // CPUs and the appliance write them too, each field at once; see `layout::Flow`.
        let flow: &mut Flow = unsafe { &mut *flow };
        let goes_on = match flow.state {
            // Its SYN-ACK was lost, or the client starts over: the cookie answers again.
            state::OPENING if is_syn => false,
            state::OPENING => return worker::deliver_from_client(ctx, &pkt, counters, index),
            state::ESTABLISHED => true,
            state::CLOSING => !is_syn && !ack::starts_new_connection(ctx, &mut pkt, flow),
            _ => false,
        };
        if goes_on {
            counters.bump(Counter::ToServer);
            return splice::forward(ctx, &mut pkt, flow, Direction::ToServer);
        }
    }

    if service.mode != mode::ALWAYS {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if service.listed != 0 {
        match service_lookup::look_up_lists(pkt.packet.endpoint.service, &pkt.packet.source) {
            service_lookup::Listed::Denied => {
                counters.bump(Counter::DropDenied);
                return XDP_DROP;
            }
            service_lookup::Listed::Allowed => {
                counters.bump(Counter::Passed);
                return XDP_PASS;
            }
            service_lookup::Listed::No => {}
        }
    }
    match service.handoff {
        handoff::LOCAL => match local_service::decide_by_socket(ctx, &mut pkt, counters) {
            local_service::NEEDS_COOKIE => {}
            verdict => return verdict,
        },
        // The server's own machine judges everything else; no state is kept here.
        handoff::FORWARD if !is_syn => {
            counters.bump(Counter::Forwarded);
            return forward::forward_unchanged(ctx, pkt.packet);
        }
        handoff::SPLICE if pkt.packet.may_pass && unknown::passes_through(&pkt) => {
            counters.bump(Counter::Passed);
            return XDP_PASS;
        }
        _ => {}
    }
    if is_syn {
        if syn::is_for_worker(ctx, &pkt) {
            return syn::send_to_worker(ctx, &pkt, counters);
        }
        return match syn::make_syn_ack(ctx, &mut pkt, counters) {
            syn::SEND_REPLY => reply::send_reply(ctx, pkt.packet, counters, Counter::AnsweredXdp),
            verdict => verdict,
        };
    }
    let reason = if pkt.packet.flags & (flags::SYN | flags::ACK | flags::RST) == flags::ACK {
        match ack::verify_cookie(ctx, &mut pkt, counters) {
            ack::EXPIRED => Counter::DropExpiredCookie,
            ack::INVALID => Counter::DropInvalidCookie,
            ack::VALID => return ack::request_open(ctx, &pkt, counters),
            ack::REPLAYED => Counter::DropReplayedCookie,
            verdict => return verdict,
        }
    } else {
        Counter::DropUnknown
    };
    unknown::apply_unknown_policy(ctx, &mut pkt, counters, reason)
}

#[inline(always)]
fn from_server(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service_lookup::policy_and_counters(&packet.endpoint) else {
        return XDP_PASS;
    };
    match service.handoff {
        handoff::LOCAL => return XDP_PASS,
        handoff::FORWARD if service.mode == mode::ALWAYS => {
            counters.bump(Counter::Forwarded);
            return forward::forward_unchanged(ctx, packet);
        }
        handoff::FORWARD => return XDP_PASS,
        _ => {}
    }
    packet.key = FlowKey::new(
        packet.destination,
        packet.destination_port,
        packet.source,
        packet.source_port,
    );
    let now = time::now(packet);
    let mut pkt = PacketContext {
        packet,
        interface,
        service,
        now,
    };
    if let Some((index, flow)) = flow_lookup::find_flow(&pkt.packet.key, &mut pkt.packet.may_pass) {
        // SAFETY: as in `from_client`.
        let flow: &mut Flow = unsafe { &mut *flow };
        match flow.state {
            state::OPENING => return worker::deliver_from_server(ctx, &pkt, counters, index),
            state::ESTABLISHED | state::CLOSING => {
                counters.bump(Counter::ToClient);
                return splice::forward(ctx, &mut pkt, flow, Direction::ToClient);
            }
            _ => {}
        }
    }
    unknown::learn_connection(&pkt, counters);
    XDP_PASS
}

/// Hands the ACK of a proven client to the kernel; see [`synward_xdp::assign`].
#[classifier]
pub fn assign(ctx: TcContext) -> i32 {
    synward_xdp::assign::assign(&ctx)
}

/// Lets a frame arrive that nobody sent; see [`synward_xdp::test_inject`].
#[classifier]
pub fn test_inject(ctx: TcContext) -> i32 {
    synward_xdp::test_inject::test_inject(&ctx)
}

/// Needed to link; nothing in this program panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The helpers' licence check reads this; redirects to AF_XDP and FIB look-ups ask for GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

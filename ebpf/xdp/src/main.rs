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
use synward_core::address_counts::Counted;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Flow, Interface, Service, handoff, listed, mode, side, state};
use synward_core::translate::Direction;
use synward_core::wire::tcp::flags;
use synward_xdp::cpu_scratch::CpuScratch;
use synward_xdp::packet::Kind;
use synward_xdp::packet_context::PacketContext;
use synward_xdp::verdict::{
    BEHIND_ACK, EXPIRED_COOKIE, FORWARDED, FROM_SERVER, GENERAL_PATH, INVALID_COOKIE, NEEDS_COOKIE,
    NO_SERVICE, REFUSED_COOKIE, REPLAYED_COOKIE, SEND_REPLY, UNCHECKED_COOKIE, VALID_COOKIE,
    Verdict,
};
use synward_xdp::{
    absence, ack, address_counts, behind_ack, between_servers, capture, deep_tags, edge, fast_path,
    flow_lookup, forward, fragment, icmp_error, impossible_source, kernel_handshake, local_service,
    maps, monitor, next, reply, reply_budget, server_side, service_lookup, sources, splice,
    steered_interface, syn, time_wait, unknown, vlan, worker,
};

/// Decides what happens to one frame.
#[xdp(frags)]
#[inline(always)]
pub fn steer(ctx: XdpContext) -> Verdict {
    if fast_path::is_candidate(&ctx) {
        let verdict = fast_path::answer_candidate(&ctx);
        if verdict != GENERAL_PATH {
            return verdict;
        }
    }
    capture::begin(&ctx);
    let verdict = take_general_path(&ctx);
    capture::end(verdict);
    verdict
}

/// Decides about a frame that the fast path leaves.
#[inline(always)]
fn take_general_path(ctx: &XdpContext) -> Verdict {
    let Some(cpu) = maps::steer_scratch() else {
        return XDP_PASS;
    };
    let index = ctx.ingress_ifindex() as u32;
    let Some(interface) = steered_interface::find_steered(index, &mut cpu.found.slot) else {
        return XDP_PASS;
    };
    let kind = cpu.packet.read(ctx);
    match decide(ctx, cpu, interface, index, kind) {
        NO_SERVICE => next::leave(ctx, cpu.found.slot),
        verdict => verdict,
    }
}

#[inline(always)]
fn decide(
    ctx: &XdpContext,
    cpu: &mut CpuScratch,
    interface: &Interface,
    index: u32,
    kind: Kind,
) -> Verdict {
    if vlan::is_foreign(&cpu.packet, index) {
        return NO_SERVICE;
    }
    match kind {
        Kind::Tcp => decide_tcp(ctx, cpu, interface),
        Kind::FirstFragment => fragment::decide_first(ctx, cpu, interface),
        Kind::Icmp => icmp_error::decide_error(ctx, cpu, interface),
        kind @ (Kind::Fragment | Kind::Malformed) if interface.side & side::OUTSIDE != 0 => {
            service_lookup::decide_unreadable(&cpu.packet.destination, kind)
        }
        Kind::MoreTags if interface.side & side::OUTSIDE != 0 => {
            deep_tags::decide_behind_tags(ctx, &mut cpu.packet)
        }
        _ => NO_SERVICE,
    }
}

#[inline(always)]
fn decide_tcp(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    let (address, port) = (cpu.packet.destination, cpu.packet.destination_port);
    if interface.side & side::OUTSIDE != 0
        && service_lookup::find_endpoint_for(&mut cpu.memory, address, port)
    {
        let verdict = decide_from_client(ctx, cpu, interface);
        if verdict != FROM_SERVER {
            return verdict;
        }
    }
    let (address, port) = (cpu.packet.source, cpu.packet.source_port);
    if interface.side & side::INSIDE != 0
        && service_lookup::find_endpoint_for(&mut cpu.memory, address, port)
    {
        return decide_from_server(ctx, cpu, interface);
    }
    NO_SERVICE
}

#[inline(always)]
fn decide_from_client(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service_lookup::policy_and_counters_of(&cpu.memory) else {
        return XDP_PASS;
    };
    cpu.found.key = cpu.packet.flow_from_client();
    cpu.found.kernel_cookie = false;
    let now = cpu.memory.now();
    let mut pkt = PacketContext {
        cpu,
        interface,
        service,
        now,
    };
    let is_syn = pkt.cpu.packet.is_syn();
    if is_syn {
        counters.bump(Counter::Syn);
        address_counts::count(&pkt, Counted::Syn);
        pkt.cpu.found.is_flood = pkt.cpu.memory.count_syn();
        if service.under_attack != 0 {
            sources::sample_some(&mut pkt);
        }
    }

    pkt.cpu.found.may_pass = false;
    pkt.cpu.found.has_old_entry = false;
    if service.handoff == handoff::SPLICE
        && let Some((index, flow)) =
            flow_lookup::find_flow(&pkt.cpu.found.key, &mut pkt.cpu.found.may_pass)
    {
        // SAFETY: the table hands out entries of the flow array, which outlives the program. Other
        // CPUs and the appliance write them too, each field at once; see `layout::Flow`.
        let flow: &mut Flow = unsafe { &mut *flow };
        // A SYN on the ports of a flow is rare in a flood as well.
        pkt.cpu.found.is_flood = false;
        let belongs = match flow.state {
            // The SYN-ACK was lost, or the client starts over: answer with a cookie again.
            state::OPENING if is_syn => false,
            state::OPENING => return worker::deliver_from_client(ctx, &mut pkt, counters, index),
            state::ESTABLISHED => true,
            state::CLOSING if is_syn => time_wait::judges_syn(ctx, &mut pkt, flow),
            state::CLOSING => {
                let packet = &pkt.cpu.packet;
                let in_window = flow.is_in_window(packet.sequence, packet.acknowledgement);
                !ack::starts_new_connection(ctx, &mut pkt, in_window)
                    && (in_window || !behind_ack::is_behind(&pkt))
            }
            _ => false,
        };
        if belongs {
            counters.bump(Counter::ToServer);
            return splice::forward(ctx, &mut pkt, flow, Direction::ToServer);
        }
        pkt.cpu.found.has_old_entry = true;
    }
    if !is_syn && between_servers::is_from_server(&pkt) {
        return FROM_SERVER;
    }
    decide_without_flow(ctx, &mut pkt, service, counters, is_syn)
}

/// Whether a client's segment without a flow is checked: any while the service challenges; later, while its cookies are good,
/// an ACK that carries one, unless it is of a connection that passes through. The kernels of the other handoffs verify cookies
/// themselves, whatever the mode.
/// A new connection on the ports of an entry is always challenged: unchanged, its segments would be translated as those of
/// the old one.
#[inline(always)]
fn is_checked(ctx: &XdpContext, pkt: &mut PacketContext, service: &Service, is_syn: bool) -> bool {
    service.mode == mode::ALWAYS
        || pkt.cpu.found.has_old_entry
        || (pkt.now < service.cookies_until
            && !is_syn
            && service.handoff == handoff::SPLICE
            && !(pkt.cpu.found.may_pass && unknown::passes_through(pkt))
            && (ack::starts_new_connection(ctx, pkt, false) || behind_ack::is_behind(pkt)))
}

/// Decides about a client's segment that belongs to no flow of the table.
#[inline(always)]
fn decide_without_flow(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    service: &Service,
    counters: &mut ServiceCounters,
    is_syn: bool,
) -> Verdict {
    // No RST: the client's retransmitted SYN finds another machine once it is routed there.
    if is_syn && service.draining != 0 {
        counters.bump(Counter::DropDraining);
        return XDP_DROP;
    }
    if service_lookup::find_listed(pkt) == listed::DENIED && service.mode != mode::MONITOR {
        counters.bump(Counter::DropDenied);
        return XDP_DROP;
    }
    if !is_checked(ctx, pkt, service, is_syn) || absence::passes(ctx, pkt) {
        monitor::count_segment(ctx, pkt, counters, is_syn);
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if impossible_source::is_impossible(pkt.cpu) {
        counters.bump(Counter::DropImpossibleSource);
        return XDP_DROP;
    }
    // Addresses can be spoofed: beyond the budget of its prefix, a SYN is challenged as others are.
    if is_syn && pkt.cpu.found.listed == listed::ALLOWED && reply_budget::allows_reply(pkt) {
        syn::note_passed(pkt);
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if is_syn {
        match kernel_handshake::decide_kernel_only(ctx, pkt, counters) {
            NEEDS_COOKIE => {}
            FORWARDED => return forward::forward_unchanged(ctx, pkt.cpu),
            verdict => return verdict,
        }
    }
    match service.handoff {
        handoff::LOCAL => match local_service::decide_by_socket(ctx, pkt, counters) {
            NEEDS_COOKIE => {}
            verdict => return verdict,
        },
        // The server's own machine checks everything but SYNs; this one keeps no state.
        handoff::FORWARD if !is_syn || edge::was_answered(ctx, pkt) => {
            if !is_syn {
                edge::note_end(pkt);
            }
            counters.bump(Counter::Forwarded);
            return forward::forward_unchanged(ctx, pkt.cpu);
        }
        handoff::SPLICE if pkt.cpu.found.may_pass && unknown::passes_through(pkt) => {
            counters.bump(Counter::Passed);
            return XDP_PASS;
        }
        _ => {}
    }
    if is_syn {
        if absence::drops_syns(ctx, pkt) {
            counters.bump(Counter::DropNoWorker);
            return XDP_DROP;
        }
        if syn::is_refused(ctx, pkt) {
            counters.bump(Counter::DropPlainRefused);
            return XDP_DROP;
        }
        if !reply_budget::allows_reply(pkt) {
            counters.bump(Counter::DropReplyBudget);
            return XDP_DROP;
        }
        if !syn::choose_epoch(pkt) {
            return XDP_DROP;
        }
        if syn::is_for_worker(ctx, pkt) {
            return syn::send_to_worker(ctx, pkt, counters);
        }
        syn::negotiate(ctx, pkt);
        return match syn::make_syn_ack(pkt, counters) {
            SEND_REPLY => {
                syn::note_plain(pkt);
                reply::send_reply(
                    ctx,
                    &pkt.cpu.packet,
                    &pkt.cpu.found.reply,
                    counters,
                    Counter::AnsweredXdp,
                )
            }
            verdict => verdict,
        };
    }
    // The server answers what it does not know, so this is bounded too. A client that was challenged beyond the budget has a
    // cookie.
    if pkt.cpu.found.listed == listed::ALLOWED
        && !ack::starts_new_connection(ctx, pkt, false)
        && !behind_ack::is_behind(pkt)
    {
        if reply_budget::allows_reply(pkt) {
            counters.bump(Counter::Passed);
            return XDP_PASS;
        }
        counters.bump(Counter::DropReplyBudget);
        return XDP_DROP;
    }
    let is_ack = pkt.cpu.packet.flags & (flags::SYN | flags::ACK | flags::RST) == flags::ACK;
    let reason = if is_ack {
        match ack::verify_cookie(ctx, pkt, counters) {
            EXPIRED_COOKIE => Counter::DropExpiredCookie,
            INVALID_COOKIE => Counter::DropInvalidCookie,
            VALID_COOKIE => return ack::request_open(ctx, pkt, counters),
            BEHIND_ACK => return behind_ack::deliver(ctx, pkt, counters),
            REPLAYED_COOKIE => Counter::DropReplayedCookie,
            UNCHECKED_COOKIE => Counter::DropPlainLimit,
            REFUSED_COOKIE => Counter::DropPlainRefused,
            verdict => return verdict,
        }
    } else if ack::aborts_opening(ctx, pkt) {
        return ack::request_abort(ctx, pkt, counters);
    } else if pkt.cpu.packet.flags & flags::SYN == 0 && behind_ack::is_behind(pkt) {
        return behind_ack::deliver(ctx, pkt, counters);
    } else {
        Counter::DropUnknown
    };
    unknown::apply_unknown_policy(ctx, pkt, counters, reason)
}

#[inline(always)]
fn decide_from_server(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service_lookup::policy_and_counters_of(&cpu.memory) else {
        return XDP_PASS;
    };
    match service.handoff {
        handoff::LOCAL => return XDP_PASS,
        handoff::FORWARD if service.mode == mode::ALWAYS => {
            counters.bump(Counter::Forwarded);
            return forward::forward_unchanged(ctx, cpu);
        }
        handoff::FORWARD => return XDP_PASS,
        _ => {}
    }
    cpu.found.key = cpu.packet.flow_from_server();
    let now = cpu.memory.now();
    let mut pkt = PacketContext {
        cpu,
        interface,
        service,
        now,
    };
    if let Some((index, flow)) =
        flow_lookup::find_flow(&pkt.cpu.found.key, &mut pkt.cpu.found.may_pass)
    {
        // SAFETY: as in `decide_from_client`.
        let flow: &mut Flow = unsafe { &mut *flow };
        match flow.state {
            state::OPENING if !server_side::may_answer(ctx, &mut pkt) => {
                counters.bump(Counter::DropImpossibleSource);
                return XDP_DROP;
            }
            state::OPENING => return worker::deliver_from_server(ctx, &mut pkt, counters, index),
            state::ESTABLISHED | state::CLOSING => {
                if time_wait::opens_unasked(flow, pkt.cpu.packet.flags) {
                    counters.bump(Counter::DropUnknown);
                    return XDP_DROP;
                }
                counters.bump(Counter::ToClient);
                return splice::forward(ctx, &mut pkt, flow, Direction::ToClient);
            }
            _ => {}
        }
    }
    unknown::learn_connection(ctx, &mut pkt, counters);
    XDP_PASS
}

/// Hands the ACK of a validated client to the kernel; see [`synward_xdp::assign`].
#[classifier]
pub fn assign(ctx: TcContext) -> i32 {
    synward_xdp::assign::assign(&ctx)
}

/// Makes a frame of the appliance's own arrive; see [`synward_xdp::test_inject`].
#[classifier]
pub fn test_inject(ctx: TcContext) -> i32 {
    synward_xdp::test_inject::test_inject(&ctx)
}

synward_xdp::export_verified_once!();

/// Needed to link; nothing in this program panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The helpers' licence check reads this; redirects to AF_XDP and FIB look-ups ask for GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

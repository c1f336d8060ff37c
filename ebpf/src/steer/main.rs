//! The programs that steer the traffic of protected services: at XDP, and behind it at TC for the kernel's own sockets.
//!
//! | file | stage |
//! |---|---|
//! | [`plain`], [`ready`] | the SYN that nearly all are, answered at one go by what is ready for its tick |
//! | [`interface`] | where it arrived, and what is there |
//! | [`packet`] | Ethernet to TCP: where the headers are and what they say |
//! | [`service`] | whose packet is it? |
//! | [`table`] | the flow that it belongs to |
//! | [`splice`] | a segment of a spliced flow: translate, forward |
//! | [`syn`] | a SYN: answer it here or hand it to a worker |
//! | [`ack`] | an ACK without a flow: is its cookie ours? |
//! | [`local`], [`socket`] | what this machine's kernel has to do with it |
//! | [`assign`] | at TC: a proven client's ACK becomes the kernel's connection |
//! | [`headers`] | what the kernel's own cookies are made of |
//! | [`kernel_cookie`] | a listener that takes only the kernel's own cookie |
//! | [`inject`] | at start: a frame to try the firewall with |
//! | [`replay`] | which handshakes have had their connection |
//! | [`again`] | at TC: a segment that comes too early |
//! | [`stale`] | at TC: a connection that is in the way of a proven client's new one |
//! | [`onward`] | to the next hop |
//! | [`stray`] | what belongs to nothing, and what was there before us |
//! | [`icmp`] | errors that quote a translated segment |
//! | [`route`], [`reply`], [`worker`] | the ways out: next hop, back to the sender, to user space |
//! | [`time`] | the coarse clock |
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

mod ack;
mod again;
mod assign;
mod headers;
mod icmp;
mod inject;
mod interface;
mod kernel_cookie;
mod local;
mod maps;
mod onward;
mod packet;
mod plain;
mod ready;
mod replay;
mod reply;
mod route;
mod service;
mod socket;
mod splice;
mod stale;
mod stray;
mod syn;
mod table;
mod time;
mod worker;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use packet::{Kind, Packet};
use synward_ebpf::counters::Counter;
use synward_ebpf::flow::FlowKey;
use synward_ebpf::layout::{Flow, Interface, Service, handoff, mode, side, state};
use synward_ebpf::translate::Direction;
use synward_ebpf::wire::tcp::flags;

/// What a stage decides.
pub type Verdict = u32;

/// Decides what happens to one frame.
#[xdp]
pub fn steer(ctx: XdpContext) -> Verdict {
    if plain::is(&ctx) {
        let verdict = plain::answer(&ctx);
        if verdict != plain::UNUSUAL {
            return verdict;
        }
    }
    let Some(packet) = maps::packet() else {
        return XDP_PASS;
    };
    let Some(interface) = interface::of(ctx.ingress_ifindex() as u32, packet) else {
        return XDP_PASS;
    };
    match packet.read(&ctx) {
        Kind::Tcp => tcp(&ctx, packet, interface),
        Kind::Icmp => icmp::quoting(&ctx, packet),
        kind @ (Kind::Fragment | Kind::Malformed) if interface.side & side::OUTSIDE != 0 => {
            service::unreadable(&packet.destination, kind)
        }
        _ => XDP_PASS,
    }
}

#[inline(always)]
fn tcp(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    if interface.side & side::OUTSIDE != 0
        && service::find_for(packet, packet.destination, packet.destination_port)
    {
        return from_client(ctx, packet, interface);
    }
    if interface.side & side::INSIDE != 0
        && service::find_for(packet, packet.source, packet.source_port)
    {
        return from_server(ctx, packet, interface);
    }
    XDP_PASS
}

/// Everything that the stages after the look-up share about one packet.
pub struct Case<'a> {
    pub packet: &'a mut Packet,
    pub interface: &'a Interface,
    pub service: &'a Service,
    /// Coarse clock, ns.
    pub now: u64,
}

#[inline(always)]
fn from_client(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service::of(&packet.endpoint) else {
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
    let mut case = Case {
        packet,
        interface,
        service,
        now,
    };
    let is_syn =
        case.packet.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN;
    if is_syn {
        counters.bump(Counter::Syn);
    }

    case.packet.may_pass = false;
    if service.handoff == handoff::SPLICE
        && let Some((index, flow)) = table::find(&case.packet.key, &mut case.packet.may_pass)
    {
        // SAFETY: the table hands out entries of the flow array, which outlives the program. Other
        // CPUs and the appliance write them too, each field at once; see `layout::Flow`.
        let flow: &mut Flow = unsafe { &mut *flow };
        let goes_on = match flow.state {
            // Its SYN-ACK was lost, or the client starts over: the cookie answers again.
            state::OPENING if is_syn => false,
            state::OPENING => return worker::held(ctx, &case, counters, index),
            state::ESTABLISHED => true,
            state::CLOSING => !is_syn && !ack::opens_anew(ctx, &mut case, flow),
            _ => false,
        };
        if goes_on {
            counters.bump(Counter::ToServer);
            return splice::forward(ctx, &mut case, flow, Direction::ToServer);
        }
    }

    if service.mode != mode::ALWAYS {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if service.listed != 0 {
        match service::listed(case.packet.endpoint.service, &case.packet.source) {
            service::Listed::Denied => {
                counters.bump(Counter::DropDenied);
                return XDP_DROP;
            }
            service::Listed::Allowed => {
                counters.bump(Counter::Passed);
                return XDP_PASS;
            }
            service::Listed::No => {}
        }
    }
    match service.handoff {
        handoff::LOCAL => match local::owner(ctx, &mut case, counters) {
            local::NOBODY => {}
            verdict => return verdict,
        },
        // The server's own machine judges everything else; no state is kept here.
        handoff::FORWARD if !is_syn => {
            counters.bump(Counter::Forwarded);
            return onward::send(ctx, case.packet);
        }
        handoff::SPLICE if case.packet.may_pass && stray::passes(&case) => {
            counters.bump(Counter::Passed);
            return XDP_PASS;
        }
        _ => {}
    }
    if is_syn {
        if syn::is_for_worker(ctx, &case) {
            return syn::hand_over(ctx, &case, counters);
        }
        return match syn::challenge(ctx, &mut case, counters) {
            syn::ANSWER => reply::send(ctx, case.packet, counters, Counter::AnsweredXdp),
            verdict => verdict,
        };
    }
    let reason = if case.packet.flags & (flags::SYN | flags::ACK | flags::RST) == flags::ACK {
        match ack::redeem(ctx, &mut case, counters) {
            ack::EXPIRED => Counter::DropExpiredCookie,
            ack::INVALID => Counter::DropInvalidCookie,
            ack::PROVEN => return ack::open(ctx, &case, counters),
            ack::REPLAYED => Counter::DropReplayedCookie,
            verdict => return verdict,
        }
    } else {
        Counter::DropUnknown
    };
    stray::unknown(ctx, &mut case, counters, reason)
}

#[inline(always)]
fn from_server(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    let Some((service, counters)) = service::of(&packet.endpoint) else {
        return XDP_PASS;
    };
    match service.handoff {
        handoff::LOCAL => return XDP_PASS,
        handoff::FORWARD if service.mode == mode::ALWAYS => {
            counters.bump(Counter::Forwarded);
            return onward::send(ctx, packet);
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
    let mut case = Case {
        packet,
        interface,
        service,
        now,
    };
    if let Some((index, flow)) = table::find(&case.packet.key, &mut case.packet.may_pass) {
        // SAFETY: as in `from_client`.
        let flow: &mut Flow = unsafe { &mut *flow };
        match flow.state {
            state::OPENING => return worker::server_says(ctx, &case, counters, index),
            state::ESTABLISHED | state::CLOSING => {
                counters.bump(Counter::ToClient);
                return splice::forward(ctx, &mut case, flow, Direction::ToClient);
            }
            _ => {}
        }
    }
    stray::learn(&case, counters);
    XDP_PASS
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

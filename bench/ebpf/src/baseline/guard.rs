//! The kernel's SYN cookies, made and checked at XDP: what the kernel's selftest xdp_synproxy
//! (tools/testing/selftests/bpf/progs/xdp_synproxy_kern.c) shows, on the server itself.
//!
//! The selftest looks every segment up in connection tracking; this program looks it up in the socket table, because the
//! server's kernel completes the connection by itself (`net.ipv4.tcp_syncookies=2`), without a SYNPROXY rule. The program
//! that looks up nothing for a SYN shows the cost of the cookie alone: clients that come back to a TIME_WAIT socket would
//! hang.

use crate::connection_lookup;
use crate::raw_cookie;
use crate::reminder;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::wire::tcp::flags;
use synward_xdp::cpu_scratch::CpuScratch;
use synward_xdp::packet::Kind;
use synward_xdp::verdict::Verdict;
use synward_xdp::{maps, reply, service_lookup};

/// Answers SYNs if the kernel has no connection for them; passes segments of its connections, and valid cookies.
#[xdp]
pub fn guard(ctx: XdpContext) -> Verdict {
    guard_segment(&ctx, true)
}

/// The same, but answers every SYN without a socket look-up.
#[xdp]
pub fn guard_blind(ctx: XdpContext) -> Verdict {
    guard_segment(&ctx, false)
}

#[inline(always)]
fn guard_segment(ctx: &XdpContext, looks_up: bool) -> Verdict {
    let Some(cpu) = maps::steer_scratch() else {
        return XDP_PASS;
    };
    if cpu.packet.read(ctx) != Kind::Tcp {
        return XDP_PASS;
    }
    let (packet, memory) = (&cpu.packet, &mut cpu.memory);
    if !service_lookup::find_endpoint_for(memory, packet.destination, packet.destination_port) {
        return XDP_PASS;
    }
    let Some((_, counters)) = service_lookup::policy_and_counters_of(memory) else {
        return XDP_PASS;
    };
    let kind = packet.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN);
    if kind == flags::SYN {
        counters.bump(Counter::Syn);
        if reminder::is_due(packet, memory)
            || looks_up && connection_lookup::is_connected(ctx, packet)
        {
            return XDP_PASS;
        }
        return answer(ctx, cpu, counters);
    }
    if connection_lookup::is_connected(ctx, packet) {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if kind & flags::ACK != 0 && kind & flags::RST == 0 && raw_cookie::is_valid(packet) {
        counters.bump(Counter::CookieValid);
        return XDP_PASS;
    }
    counters.bump(Counter::DropInvalidCookie);
    XDP_DROP
}

#[inline(always)]
fn answer(ctx: &XdpContext, cpu: &mut CpuScratch, counters: &mut ServiceCounters) -> Verdict {
    cpu.packet.read_options(ctx);
    if !raw_cookie::make_syn_ack(&cpu.packet, &cpu.memory.endpoint.now, &mut cpu.found.reply) {
        return XDP_DROP;
    }
    reply::send_reply(
        ctx,
        &cpu.packet,
        &cpu.found.reply,
        counters,
        Counter::AnsweredXdp,
    )
}

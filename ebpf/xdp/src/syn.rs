//! A SYN: answered here with a cookie, or by a worker where AF_XDP is the better way.

use crate::worker;
use crate::{PacketContext, Verdict, maps};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Interface, key_slot};
use synward_core::syn_ack::{Syn, write_syn_ack};
use synward_core::worker_request::Request;

/// Whether a worker answers the SYNs of this queue rather than this program.
#[inline(always)]
pub fn is_for_worker(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    !pkt.packet.kernel_cookie
        && is_workers_queue(ctx, pkt.interface)
        && worker::is_alive(ctx.rx_queue_index(), pkt.now)
}

/// Whether the SYNs of this queue are a worker's to answer, as long as it is alive.
#[inline(always)]
pub fn is_workers_queue(ctx: &XdpContext, interface: &Interface) -> bool {
    interface.afxdp >> (ctx.rx_queue_index() & 63) & 1 != 0
}

/// Has a worker answer a SYN.
#[inline(never)]
pub fn send_to_worker(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let Some(clock) = maps::CLOCK.get(0) else {
        return XDP_DROP;
    };
    let profile = *pkt.packet.endpoint.profile(clock.epoch_at(pkt.now));
    counters.bump(Counter::GivenToWorker);
    worker::send_request(ctx, pkt, counters, Request::Answer { profile })
}

/// No verdict: the packet's reply is to be sent. By the caller, because all frames of a call chain share one small stack.
pub const SEND_REPLY: Verdict = 104;

/// Makes the answer to a SYN.
#[inline(never)]
pub fn make_syn_ack(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let Some(clock) = maps::CLOCK.get(0) else {
        return XDP_DROP;
    };
    let epoch = clock.epoch_at(pkt.now);
    let Some(slot) = maps::KEYS.get(key_slot(pkt.packet.endpoint.service, epoch)) else {
        return XDP_DROP;
    };
    if slot.epoch != epoch {
        counters.bump(Counter::DropNoKey);
        return XDP_DROP;
    }
    let packet = &mut *pkt.packet;
    packet.read_options(ctx);
    let times = packet.walked_timestamps();
    let tsval = if times.present {
        Some(times.tsval)
    } else {
        None
    };
    let profile = packet.endpoint.profile(epoch);
    let syn = Syn::new(
        &packet.key,
        packet.sequence,
        packet.flags,
        &packet.walked.found,
        tsval,
    );
    write_syn_ack(&mut packet.reply, &slot.keys[0], epoch, &syn, profile);
    if packet.kernel_cookie {
        packet.reply.tcp.sequence = packet.kernel_isn;
        packet.reply.options[2] = packet.kernel_tsval;
    }
    SEND_REPLY
}

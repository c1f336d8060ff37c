//! A SYN: the program answers it with a cookie, or a worker does if AF_XDP is the better path.

use crate::packet_context::PacketContext;
use crate::verdict::{SEND_REPLY, Verdict};
use crate::{maps, worker};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::key_slot;
use synward_core::syn_ack::{Syn, write_syn_ack};
use synward_core::worker_request::Request;

/// Whether a worker answers the SYNs of this queue rather than this program.
#[inline(always)]
pub fn is_for_worker(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    !pkt.cpu.found.kernel_cookie
        && worker::answers_syns(ctx, pkt.interface)
        && worker::is_alive(ctx.rx_queue_index(), pkt.now)
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
    let profile = *pkt.cpu.memory.endpoint.profile(clock.epoch_at(pkt.now));
    counters.bump(Counter::GivenToWorker);
    worker::send_request(ctx, pkt, counters, Request::Answer { profile })
}

/// Makes the SYN-ACK for a SYN; the caller sends it.
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
    let endpoint = &pkt.cpu.memory.endpoint;
    let Some(slot) = maps::KEYS.get(key_slot(endpoint.service, epoch)) else {
        return XDP_DROP;
    };
    if slot.epoch != epoch {
        counters.bump(Counter::DropNoKey);
        return XDP_DROP;
    }
    let (packet, found) = (&mut pkt.cpu.packet, &mut pkt.cpu.found);
    packet.read_options(ctx);
    let times = packet.walked_timestamps();
    let tsval = if times.present {
        Some(times.tsval)
    } else {
        None
    };
    let profile = endpoint.profile(epoch);
    let syn = Syn::new(
        &found.key,
        packet.sequence,
        packet.flags,
        &packet.walked.found,
        tsval,
    );
    write_syn_ack(&mut found.reply, &slot.keys[0], epoch, &syn, profile);
    if found.kernel_cookie {
        found.reply.tcp.sequence = found.kernel_isn;
        found.reply.options[2] = found.kernel_tsval;
    }
    SEND_REPLY
}

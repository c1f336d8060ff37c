//! A SYN: the program answers it with a cookie, or a worker does if AF_XDP is the better path.

use crate::packet_context::PacketContext;
use crate::verdict::{SEND_REPLY, Verdict};
use crate::{maps, replay_check, worker};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{handoff, key_slot};
use synward_core::syn_ack::{Syn, write_syn_ack};
use synward_core::worker_request::Request;

/// Chooses the epoch of the cookie that answers a SYN: the current one, unless a handshake with the same ISN has had its
/// connection by a cookie of that epoch. The ACK of the new handshake would be a replay. A flood is not looked up. `false`:
/// there is no clock yet.
#[inline(always)]
pub fn choose_epoch(pkt: &mut PacketContext) -> bool {
    let Some(clock) = maps::CLOCK.get(0) else {
        return false;
    };
    let current = clock.epoch_at(pkt.now);
    let found = &mut pkt.cpu.found;
    found.answer_epoch = if found.is_flood || pkt.service.handoff == handoff::FORWARD {
        current
    } else {
        replay_check::unused_epoch(&found.key, pkt.cpu.packet.sequence, current)
    };
    found.is_other_epoch = found.answer_epoch != current;
    true
}

/// Whether a worker answers the SYNs of this queue rather than this program. Workers know only the current epoch.
#[inline(always)]
pub fn is_for_worker(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    !pkt.cpu.found.kernel_cookie
        && !pkt.cpu.found.is_other_epoch
        && worker::answers_syns(ctx, pkt.interface)
        && worker::is_alive(ctx.rx_queue_index(), pkt.now)
}

/// Has a worker answer a SYN.
#[inline(never)]
pub fn send_to_worker(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let profile = *pkt.cpu.memory.endpoint.profile(pkt.cpu.found.answer_epoch);
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
    let epoch = pkt.cpu.found.answer_epoch;
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

//! A SYN: the program answers it with a cookie, or a worker does if AF_XDP is the better path.

use crate::packet_context::PacketContext;
use crate::verdict::{SEND_REPLY, Verdict};
use crate::{maps, plain_acks, replay_check, worker};
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{handoff, key_slot, plain_cookies};
use synward_core::syn_ack::{Negotiated, Syn};
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

/// Whether the service refuses the client because the handshake would have no timestamps.
#[inline(always)]
pub fn is_refused(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    pkt.service.plain_cookies == plain_cookies::REFUSE
        && !pkt.cpu.found.kernel_cookie
        && lacks_timestamps(ctx, pkt)
}

#[inline(never)]
fn lacks_timestamps(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    if !pkt.cpu.found.options_read {
        pkt.cpu.packet.read_options(ctx);
        pkt.cpu.found.options_read = true;
    }
    !pkt.cpu.packet.walked_timestamps().present
}

/// Whether a worker answers the SYNs of this queue rather than this program. Workers know only the current epoch.
#[inline(always)]
pub fn is_for_worker(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    !pkt.cpu.found.kernel_cookie
        && !pkt.cpu.found.is_other_epoch
        && worker::answers_syns(ctx, pkt.interface)
        && worker::fits_worker(ctx, &pkt.cpu.packet)
        && worker::is_alive(ctx.rx_queue_index(), pkt.now)
}

/// Has a worker answer a SYN.
#[inline(never)]
pub fn send_to_worker(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    note_if_wanted(pkt);
    let profile = *pkt.cpu.memory.endpoint.profile(pkt.cpu.found.answer_epoch);
    counters.bump(Counter::GivenToWorker);
    worker::send_request(ctx, pkt, counters, Request::Answer { profile })
}

/// Reads the options of a SYN, and leaves those that its SYN-ACK offers in `found`. A stage of its own: the verifier then
/// follows one way from here, and not one for each code of the cookie's options.
#[inline(never)]
pub fn negotiate(ctx: &XdpContext, pkt: &mut PacketContext) {
    let (packet, found) = (&mut pkt.cpu.packet, &mut pkt.cpu.found);
    if !found.options_read {
        packet.read_options(ctx);
    }
    let times = packet.walked_timestamps();
    let tsval = if times.present {
        Some(times.tsval)
    } else {
        None
    };
    let syn = Syn::new(
        &found.key,
        packet.sequence,
        packet.flags,
        &packet.walked.found,
        tsval,
    );
    let profile = pkt.cpu.memory.endpoint.profile(found.answer_epoch);
    found.negotiated = Negotiated::new(&syn.options, syn.tsval, profile, packet.v4);
}

/// Makes the SYN-ACK for a SYN, with the options of [`negotiate`]; the caller sends it.
#[inline(never)]
pub fn make_syn_ack(pkt: &mut PacketContext, counters: &mut ServiceCounters) -> Verdict {
    let (found, endpoint) = (&mut pkt.cpu.found, &pkt.cpu.memory.endpoint);
    let epoch = found.answer_epoch;
    let Some(slot) = maps::KEYS.get(key_slot(endpoint.service, epoch)) else {
        return XDP_DROP;
    };
    if slot.epoch != epoch {
        counters.bump(Counter::DropNoKey);
        return XDP_DROP;
    }
    let isn = pkt.cpu.packet.sequence;
    let cookie = found
        .negotiated
        .cookie(slot.issuing_key(pkt.service), epoch, &found.key, isn);
    let profile = endpoint.profile(epoch);
    found
        .negotiated
        .write(&mut found.reply, &found.key, isn, cookie, profile);
    if found.kernel_cookie {
        found.reply.tcp.sequence = found.kernel_isn;
        found.reply.options[2] = found.kernel_tsval;
    }
    SEND_REPLY
}

/// Notes a SYN that is answered by a cookie in the ISN alone, while those of its service are noted.
#[inline(always)]
pub fn note_plain(pkt: &PacketContext) {
    if pkt.cpu.found.negotiated.tsval.is_none() || pkt.cpu.found.kernel_cookie {
        note_if_wanted(pkt);
    }
}

/// Notes a SYN that the kernel answers although it may do so by a cookie of its own, which XDP checks.
#[inline(never)]
pub fn note_passed(pkt: &PacketContext) {
    if pkt.service.handoff == handoff::LOCAL {
        note_if_wanted(pkt);
    }
}

#[inline(always)]
fn note_if_wanted(pkt: &PacketContext) {
    if plain_acks::are_syns_noted(pkt.cpu.memory.endpoint.service, pkt.service, pkt.now) {
        plain_acks::note_syn(pkt);
    }
}

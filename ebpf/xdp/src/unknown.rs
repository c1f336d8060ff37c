//! Segments that match no flow: those of connections older than the appliance, which pass, and all others.

use crate::packet_context::PacketContext;
use crate::verdict::Verdict;
use crate::{address_counts, flow_lookup, judged, maps, reply, reply_budget, server_side};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_core::address_counts::Counted;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::flow_time::FlowTime;
use synward_core::generated_segment::reset_for;
use synward_core::layout::{Passed, flow_flags, handoff, unknown_policy as policy};
use synward_core::occupancy::BucketBits;
use synward_core::wire::tcp::{Repr, flags};

/// Whether a client's segment passes to the kernel because its connection was learned from the server and is not spliced.
/// Segments of a connection that has ended are checked like all others first: a new one may have its ports.
#[inline(never)]
pub fn passes_through(pkt: &PacketContext) -> bool {
    alive(pkt).is_some_and(|passed| {
        let goes_on = passed.flags == 0;
        if goes_on {
            touch(passed, pkt, flow_flags::CLIENT_FIN);
        }
        goes_on
    })
}

/// Whether there is an entry of a connection that passes through, or has.
#[inline(always)]
pub fn is_passed_connection(key: &FlowKey) -> bool {
    maps::PASSED.get_ptr_mut(key).is_some()
}

/// The entry of a passed connection that was not idle for too long.
#[inline(always)]
fn alive(pkt: &PacketContext) -> Option<&'static mut Passed> {
    let passed = maps::PASSED.get_ptr_mut(&pkt.cpu.found.key)?;
    // SAFETY: another CPU may evict and reuse the element meanwhile; then a wrong time or flag is written to another passed
    // connection, which only keeps that alive.
    let passed = unsafe { &mut *passed };
    let idle = FlowTime::from_ns(pkt.now).elapsed_since(passed.last_seen);
    let limit = maps::GLOBALS
        .get(0)
        .map_or(0, |globals| globals.passed_idle);
    (idle <= limit).then_some(passed)
}

/// Learns a connection from a segment that the server sent. A SYN-ACK or a RST teaches nothing: a spoofed segment that
/// passed could have provoked it.
#[inline(never)]
pub fn learn_connection(ctx: &XdpContext, pkt: &mut PacketContext, counters: &mut ServiceCounters) {
    let flags = pkt.cpu.packet.flags;
    if flags & flags::RST != 0 || flags & (flags::SYN | flags::ACK) == flags::SYN | flags::ACK {
        return;
    }
    if let Some(passed) = maps::PASSED.get_ptr_mut(&pkt.cpu.found.key) {
        // SAFETY: as in `passes_through`.
        let passed = unsafe { &mut *passed };
        let is_new = flags & flags::SYN != 0 && passed.flags != 0;
        if is_new && !server_side::is_from_server(ctx, pkt) {
            return;
        }
        touch(passed, pkt, flow_flags::SERVER_FIN);
        if pkt.cpu.found.may_pass {
            return;
        }
    } else {
        if !server_side::is_from_server(ctx, pkt) {
            return;
        }
        let entry = Passed {
            last_seen: FlowTime::from_ns(pkt.now),
            flags: 0,
        };
        if maps::PASSED.insert(&pkt.cpu.found.key, &entry, 0).is_err() {
            return;
        }
        counters.bump(Counter::Learned);
        address_counts::count(pkt, Counted::Proven);
    }
    set_passed_bit(&pkt.cpu.found.key);
}

/// Sets the bit of passed connections for a flow's bucket. It is never cleared: a stale bit only costs a look-up.
#[inline(always)]
fn set_passed_bit(key: &FlowKey) {
    let Some(place) = flow_lookup::place_of(key) else {
        return;
    };
    let bits = BucketBits::of(place.bucket);
    if let Some(line) = maps::OCCUPANCY.get_ptr_mut(bits.line) {
        let (byte, bit) = bits.passed;
        // SAFETY: the element lives as long as the program, and only its runs write these bytes; `Line::passed` says
        // what two of them may lose.
        unsafe { (*line).passed[byte & 31] |= bit };
    }
}

#[inline(always)]
fn touch(passed: &mut Passed, pkt: &PacketContext, fin: u8) {
    passed.last_seen = FlowTime::from_ns(pkt.now);
    if pkt.cpu.packet.flags & flags::RST != 0 {
        passed.flags |= flow_flags::RESET as u32;
    } else if pkt.cpu.packet.flags & flags::FIN != 0 {
        passed.flags |= fin as u32;
    } else if pkt.cpu.packet.flags & flags::SYN != 0 {
        passed.flags = 0;
    }
}

/// Whether a segment without flow and valid cookie belongs to a connection older than the appliance: one that is ending, or
/// any while connections are adopted, and a few for hours after that. SYNs are answered even then and do not get here.
#[inline(always)]
fn was_before(pkt: &PacketContext, is_unchecked: bool) -> bool {
    // The kernel has the older connections of a local service, and gets their segments. Of the others the program at TC
    // would check the cookie, without a limit.
    if is_unchecked && pkt.service.handoff == handoff::LOCAL {
        return false;
    }
    if pkt.cpu.found.may_pass
        && let Some(passed) = alive(pkt)
    {
        touch(passed, pkt, flow_flags::CLIENT_FIN);
        return true;
    }
    pkt.now < pkt.service.adopt_until || judged::is_for_server(pkt)
}

/// Applies the service's policy to a segment that matches no flow; `reason` counts the drop.
#[inline(never)]
pub fn apply_unknown_policy(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    reason: Counter,
) -> Verdict {
    let is_unchecked = matches!(reason, Counter::DropPlainLimit | Counter::DropPlainRefused);
    if was_before(pkt, is_unchecked) {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    if is_unchecked {
        address_counts::count(pkt, Counted::BadAck);
    }
    let is_reset_wanted = pkt.cpu.packet.flags & flags::RST == 0;
    let is_reply_allowed = pkt.service.unknown_policy != policy::RESET
        || !is_reset_wanted
        || reply_budget::allows_reply(pkt);
    let (packet, found) = (&pkt.cpu.packet, &mut pkt.cpu.found);
    // The segment may be a real client's: it is sent again, and a RST would end the connection. What is not checked here must
    // not be checked by the kernel either.
    let policy = if is_unchecked {
        policy::DROP
    } else {
        pkt.service.unknown_policy
    };
    match policy {
        policy::PASS => {
            counters.bump(Counter::Passed);
            XDP_PASS
        }
        policy::RESET if is_reset_wanted && !is_reply_allowed => {
            counters.bump(Counter::DropReplyBudget);
            XDP_DROP
        }
        policy::RESET if is_reset_wanted => {
            let repr = Repr {
                source: packet.source_port,
                destination: packet.destination_port,
                sequence: packet.sequence,
                acknowledgement: packet.acknowledgement,
                flags: packet.flags,
                window: 0,
                options: 0,
            };
            let marks =
                (packet.flags & flags::FIN != 0) as u32 + (packet.flags & flags::SYN != 0) as u32;
            let length = packet.payload() as u32 + marks;
            found.reply = reset_for(packet.source, packet.destination, &repr, length);
            reply::send_reply(ctx, packet, &found.reply, counters, Counter::Reset)
        }
        _ => {
            counters.bump(reason);
            XDP_DROP
        }
    }
}

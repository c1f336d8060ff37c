//! What mode `always` would have done with a segment that mode `monitor` lets pass. It is counted, and nothing else.
//!
//! A segment that might end a handshake with the server is not judged: in mode `always` the client would have had a cookie.

use crate::packet::Kind;
use crate::packet_context::PacketContext;
use crate::{impossible_source, reply_budget, syn, unknown};
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Service, handoff, listed, mode, unknown_policy};
use synward_core::wire::tcp::flags;

/// Counts what would have become of a client's segment that belongs to no flow.
#[inline(always)]
pub fn count_segment(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
    is_syn: bool,
) {
    if pkt.service.mode == mode::MONITOR
        && let Some(counter) = fate_of(ctx, pkt, is_syn)
    {
        counters.bump(counter);
    }
}

/// The same for a packet without readable ports.
#[inline(always)]
pub fn count_unreadable(service: &Service, counters: &mut ServiceCounters, kind: Kind) {
    if service.mode == mode::MONITOR {
        counters.bump(match kind {
            Kind::Fragment if service.pass_fragments != 0 => return,
            Kind::Fragment => Counter::WouldDropFragment,
            Kind::MoreTags => Counter::WouldDropTooManyTags,
            _ => Counter::WouldDropMalformed,
        });
    }
}

#[inline(always)]
fn fate_of(ctx: &XdpContext, pkt: &mut PacketContext, is_syn: bool) -> Option<Counter> {
    if pkt.cpu.found.listed == listed::DENIED {
        return Some(Counter::WouldDropDenied);
    }
    if impossible_source::is_impossible(pkt.cpu) {
        return Some(Counter::WouldDropImpossibleSource);
    }
    if !is_syn {
        return is_unknown(pkt).then_some(Counter::WouldDropUnknown);
    }
    let is_within_budget = reply_budget::allows_reply(pkt);
    if pkt.cpu.found.listed == listed::ALLOWED && is_within_budget {
        return None;
    }
    // What was read is of a packet before.
    pkt.cpu.found.options_read = false;
    if syn::is_refused(ctx, pkt) {
        return Some(Counter::WouldDropPlainRefused);
    }
    Some(if is_within_budget {
        Counter::WouldAnswer
    } else {
        Counter::WouldDropReplyBudget
    })
}

/// Whether the segment cannot end a handshake and belongs to no connection that was learned.
#[inline(always)]
fn is_unknown(pkt: &PacketContext) -> bool {
    pkt.service.handoff == handoff::SPLICE
        && pkt.service.unknown_policy == unknown_policy::DROP
        && pkt.cpu.packet.flags & (flags::SYN | flags::ACK | flags::RST) != flags::ACK
        && pkt.cpu.found.listed != listed::ALLOWED
        && !(pkt.cpu.found.may_pass && unknown::is_passed_connection(&pkt.cpu.found.key))
        && pkt.now >= pkt.service.adopt_until
}

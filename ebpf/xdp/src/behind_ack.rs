//! Segments right behind the ACK that completed their handshake: the rest of a client's first data, or its RST. They carry no
//! cookie, because their numbers are not those of the ACK. Nothing else knows their flow yet: the worker has not read the ACK, or
//! the ACK waits in the same batch for the kernel's TCP. So each CPU remembers for a moment whose cookies were valid.
//!
//! They stay behind their ACK on its way: in the worker's ring, and in the kernel's receive queue.

use crate::flow_lookup;
use crate::packet_context::PacketContext;
use crate::verdict::Verdict;
use crate::worker;
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::handoff;
use synward_core::worker_request::Request;

/// Remembers the handshake of a segment with a valid cookie.
#[inline(never)]
pub fn remember(pkt: &mut PacketContext) {
    let (port, fingerprint) = (pkt.cpu.found.key.client_port(), fingerprint(pkt));
    let memory = &mut pkt.cpu.memory;
    memory.remember_proven(port, fingerprint, pkt.now);
}

/// Its flow and what it acknowledges: a client acknowledges nothing but our ISN before it hears of the server.
#[inline(always)]
fn fingerprint(pkt: &PacketContext) -> u32 {
    let hash = flow_lookup::hash_of(&pkt.cpu.found.key);
    (hash >> 32) as u32 ^ pkt.cpu.packet.acknowledgement
}

/// Whether a segment came a moment after the ACK of its flow. In a flood of wrong ACKs this is one read of a cached word.
#[inline(always)]
pub fn is_behind(pkt: &PacketContext) -> bool {
    let port = pkt.cpu.found.key.client_port();
    let memory = &pkt.cpu.memory;
    memory.was_proven(port, pkt.now, || fingerprint(pkt))
}

/// Has such a segment follow its ACK: to the worker, or to the kernel.
#[inline(never)]
pub fn deliver(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    if pkt.service.handoff == handoff::LOCAL {
        counters.bump(Counter::Passed);
        return XDP_PASS;
    }
    worker::send_request(ctx, pkt, counters, Request::BehindAck)
}

//! ICMP errors about a segment. The quoted numbers of a translated segment are translated back; an error about the SYN of an
//! opening goes to its worker.
//!
//! Only the server's segments have translated sequence numbers, and TCP checks an error by the quoted sequence number alone
//! (RFC 5927 §4.1), so only errors towards the server need translation. The SYN of an opening has the client's address, but
//! the client has not sent it.

use crate::cpu_scratch::CpuScratch;
use crate::frame_view::view;
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::verdict::{NO_SERVICE, Verdict};
use crate::{flow_lookup, service_lookup, worker};
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::Counter;
use synward_core::layout::{Interface, side, state};
use synward_core::wire::checksum::Sum;
use synward_core::wire::icmp::{self, is_error_v4, is_error_v6};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::protocol;
use synward_core::worker_request::Request;

/// Decides about an ICMP packet. The kernel delivers errors about a spliced flow; what concerns neither a flow nor an opening
/// belongs to no service. The stages are called one after another, so that their stack frames do not add up.
#[inline(always)]
pub fn decide_error(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    let segment = read_quotation(ctx, cpu);
    if segment == NO_QUOTATION {
        return NO_SERVICE;
    }
    if translate(ctx, cpu, segment) {
        return XDP_PASS;
    }
    if interface.side & side::INSIDE == 0 {
        return NO_SERVICE;
    }
    report_undelivered(ctx, cpu, interface)
}

/// What [`read_quotation`] returns for anything but an error about a TCP segment.
const NO_QUOTATION: usize = 0;

#[inline(never)]
fn read_quotation(ctx: &XdpContext, cpu: &mut CpuScratch) -> usize {
    quotation(ctx, cpu).unwrap_or(NO_QUOTATION)
}

/// Reads the quoted segment, whose addresses and ports take the place of the error's own. Returns the offset of its TCP
/// header; `None` for anything else.
#[inline(always)]
fn quotation(ctx: &XdpContext, cpu: &mut CpuScratch) -> Option<usize> {
    let packet = &mut cpu.packet;
    let kind = view::<{ icmp::LENGTH }>(ctx, packet.l4)?[0];
    let quoted = packet.l4 + icmp::LENGTH;
    let l4 = if packet.v4 {
        if !is_error_v4(kind) {
            return None;
        }
        let ip = Ipv4(&*view::<{ ipv4::LENGTH }>(ctx, quoted)?);
        if ip.protocol() != protocol::TCP || ip.is_fragment() || !ip.is_sound() {
            return None;
        }
        (packet.source, packet.destination) = (ip.source(), ip.destination());
        quoted + ip.header_length()
    } else {
        if !is_error_v6(kind) {
            return None;
        }
        let ip = Ipv6(&*view::<{ ipv6::LENGTH }>(ctx, quoted)?);
        if ip.next_header() != protocol::TCP {
            return None;
        }
        (packet.source, packet.destination) = (ip.source(), ip.destination());
        quoted + ipv6::LENGTH
    };
    let segment = view::<{ icmp::QUOTED_TCP }>(ctx, l4)?;
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    (packet.source_port, packet.destination_port) = (port(0), port(2));
    Some(l4)
}

/// Translates the sequence number of the quoted segment if it is the server's, of a spliced flow. Returns whether it is.
#[inline(never)]
fn translate(ctx: &XdpContext, cpu: &mut CpuScratch, segment: usize) -> bool {
    translate_sequence(ctx, cpu, segment).is_some()
}

#[inline(always)]
fn translate_sequence(ctx: &XdpContext, cpu: &mut CpuScratch, segment: usize) -> Option<()> {
    let (packet, memory) = (&cpu.packet, &mut cpu.memory);
    if !service_lookup::find_endpoint_for(memory, packet.source, packet.source_port) {
        return None;
    }
    cpu.found.key = packet.flow_from_server();
    let (_, flow) = flow_lookup::find_flow(&cpu.found.key, &mut cpu.found.may_pass)?;
    // SAFETY: an element of an array lives as long as the program.
    let flow = unsafe { &*flow };
    if flow.state != state::ESTABLISHED && flow.state != state::CLOSING {
        return None;
    }
    let segment = view::<{ icmp::QUOTED_TCP }>(ctx, segment)?;
    let old = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
    let new = old.wrapping_sub(flow.sequence_delta);
    segment[4..8].copy_from_slice(&new.to_be_bytes());
    let header = view::<{ icmp::LENGTH }>(ctx, packet.l4)?;
    let checksum = Sum(0).replace_u32(old, new).update([header[2], header[3]]);
    header[2..4].copy_from_slice(&checksum);
    if let Some(counters) = service_lookup::counters_of(cpu.memory.endpoint.service) {
        counters.bump(Counter::IcmpTranslated);
    }
    Some(())
}

/// Whether the error says that the quoted segment did not reach its destination.
#[inline(always)]
fn is_undelivered(ctx: &XdpContext, packet: &Packet) -> bool {
    match view::<{ icmp::LENGTH }>(ctx, packet.l4) {
        Some([kind, code, ..]) if packet.v4 => icmp::failure_v4(*kind, *code).is_some(),
        Some([kind, code, ..]) => icmp::failure_v6(*kind, *code).is_some(),
        None => false,
    }
}

/// Hands the error to the worker of an opening if it is about the opening's SYN; the worker checks the sequence number.
#[inline(never)]
fn report_undelivered(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    let (packet, memory) = (&cpu.packet, &mut cpu.memory);
    if !is_undelivered(ctx, packet)
        || !service_lookup::find_endpoint_for(memory, packet.destination, packet.destination_port)
    {
        return NO_SERVICE;
    }
    cpu.found.key = packet.flow_from_client();
    let Some((index, flow)) = flow_lookup::find_flow(&cpu.found.key, &mut cpu.found.may_pass)
    else {
        return NO_SERVICE;
    };
    // SAFETY: as in `translate`.
    if unsafe { (*flow).state } != state::OPENING {
        return NO_SERVICE;
    }
    let Some((service, counters)) = service_lookup::policy_and_counters_of(&cpu.memory) else {
        return NO_SERVICE;
    };
    let now = cpu.memory.now();
    let mut pkt = PacketContext {
        cpu,
        interface,
        service,
        now,
    };
    let request = Request::Undelivered { entry: index };
    worker::send_request(ctx, &mut pkt, counters, request)
}

//! ICMP errors about a translated segment: their quoted numbers are translated back.
//!
//! Only the server's segments have translated sequence numbers, and TCP checks an error by the quoted sequence number alone
//! (RFC 5927 §4.1), so only errors towards the server need translation.

use crate::cpu_scratch::CpuScratch;
use crate::frame_view::view;
use crate::verdict::{NO_SERVICE, Verdict};
use crate::{flow_lookup, service_lookup};
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::Counter;
use synward_core::layout::state;
use synward_core::wire::checksum::Sum;
use synward_core::wire::icmp::{self, is_error_v4, is_error_v6};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::protocol;

/// Translates the quoted segment if it is one of a spliced flow; the kernel delivers the error. Other ICMP belongs to no service.
#[inline(never)]
pub fn translate_quotation(ctx: &XdpContext, cpu: &mut CpuScratch) -> Verdict {
    match translate(ctx, cpu) {
        Some(()) => XDP_PASS,
        None => NO_SERVICE,
    }
}

/// The quoted addresses and ports take the place of the error's own.
#[inline(always)]
fn translate(ctx: &XdpContext, cpu: &mut CpuScratch) -> Option<()> {
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
    let memory = &mut cpu.memory;
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
    let old = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
    let new = old.wrapping_sub(flow.sequence_delta);
    segment[4..8].copy_from_slice(&new.to_be_bytes());
    let header = view::<{ icmp::LENGTH }>(ctx, packet.l4)?;
    let checksum = Sum(0).replace_u32(old, new).update([header[2], header[3]]);
    header[2..4].copy_from_slice(&checksum);
    if let Some(counters) = service_lookup::counters_of(memory.endpoint.service) {
        counters.bump(Counter::IcmpTranslated);
    }
    Some(())
}

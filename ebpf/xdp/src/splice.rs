//! A segment of a spliced flow: checks hop count and MTU, finds the next hop, translates and forwards.

use crate::forward;
use crate::frame_view::view;
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::route::{self, Route};
use crate::verdict::Verdict;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_core::flow_state::Observed;
use synward_core::flow_time::FlowTime;
use synward_core::layout::Flow;
use synward_core::translate::{self, Direction, Translation};
use synward_core::wire::ethernet;
use synward_core::wire::tcp;

/// Translates a segment and forwards it.
///
/// A segment that the kernel has to answer with an ICMP error passes to it untranslated, so that the error quotes numbers
/// that the sender knows. A segment that the kernel has to forward passes to it translated.
#[inline(never)]
pub fn forward(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    flow: &mut Flow,
    direction: Direction,
) -> Verdict {
    note(flow, &pkt.cpu.packet, direction, pkt.now);
    if pkt.cpu.packet.ttl <= 1 {
        return XDP_PASS;
    }
    let route = route::look_up_route(ctx, pkt.cpu);
    let packet = &mut pkt.cpu.packet;
    match route {
        Route::NextHop(hop) if packet.l3 == ethernet::LENGTH => {
            match translate(ctx, packet, flow, direction) {
                Some(()) => forward::send_to_hop(ctx, packet, &hop),
                None => XDP_DROP,
            }
        }
        Route::Refused => XDP_PASS,
        Route::TooBig if packet.dont_fragment => XDP_PASS,
        // Unknown neighbours, tagged frames, devices without XDP: the kernel forwards it.
        _ => match translate(ctx, packet, flow, direction) {
            Some(()) => XDP_PASS,
            None => XDP_DROP,
        },
    }
}

/// Updates time, numbers and state of the flow, if the segment may change them.
#[inline(always)]
pub fn note(flow: &mut Flow, packet: &Packet, direction: Direction, now: u64) {
    let now = FlowTime::from_ns(now);
    let numbers = (packet.sequence, packet.acknowledgement);
    if flow.may_change(direction, numbers, packet.flags, now) {
        observe(flow, packet, direction, now);
    }
}

#[inline(never)]
fn observe(flow: &mut Flow, packet: &Packet, direction: Direction, now: FlowTime) {
    let segment = Observed {
        direction,
        sequence: packet.sequence,
        acknowledgement: packet.acknowledgement,
        flags: packet.flags,
        has_data: packet.payload() > 0,
    };
    flow.observe(&segment, now);
}

/// Translates the headers of a segment in place; `None` if the frame is too short for them.
#[inline(never)]
pub fn translate(
    ctx: &XdpContext,
    packet: &mut Packet,
    flow: &Flow,
    direction: Direction,
) -> Option<()> {
    let translation = Translation::of(flow, direction);
    let mut changes = translation.header(view::<{ tcp::LENGTH }>(ctx, packet.l4)?);
    let quick = if packet.options == 12 {
        let options = view::<12>(ctx, packet.l4 + tcp::LENGTH)?;
        translation.padded_timestamps(options, changes)
    } else {
        None
    };
    if let Some(sum) = quick {
        changes = sum;
    } else if packet.options > 0 {
        packet.walk_options(ctx);
        changes = translation.options(&mut packet.walked, changes);
        packet.store_options(ctx);
    }
    translate::finish_checksum(view::<{ tcp::LENGTH }>(ctx, packet.l4)?, changes);
    Some(())
}

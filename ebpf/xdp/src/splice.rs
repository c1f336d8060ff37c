//! A segment of a spliced flow: checks hop count and MTU, finds the next hop, translates and forwards.

use crate::forward;
use crate::frame_view::view;
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::route::{self, Route};
use crate::verdict::Verdict;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, flow_flags, state};
use synward_core::translate::{self, Direction, Translation};
use synward_core::wire::ethernet;
use synward_core::wire::tcp::{self, flags};

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
    let packet = &mut pkt.cpu.packet;
    mark(flow, packet, direction, pkt.now);
    if packet.ttl <= 1 {
        return XDP_PASS;
    }
    match route::look_up_route(ctx, packet) {
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

/// Updates the time of the flow's last segment, and its state if it closes.
#[inline(always)]
fn mark(flow: &mut Flow, packet: &Packet, direction: Direction, now: u64) {
    let now = FlowTime::from_ns(now);
    if flow.last_seen != now {
        flow.last_seen = now;
    }
    if packet.flags & (flags::FIN | flags::RST) != 0 {
        let mut marks = flow.flags;
        if packet.flags & flags::RST != 0 {
            marks |= flow_flags::RESET;
        }
        if packet.flags & flags::FIN != 0 {
            marks |= match direction {
                Direction::ToServer => flow_flags::CLIENT_FIN,
                Direction::ToClient => flow_flags::SERVER_FIN,
            };
        }
        flow.flags = marks;
        flow.state = state::CLOSING;
    } else if flow.state == state::CLOSING && packet.payload() > 0 {
        // Data after a FIN of the other side (half-closed), or after a RST that the receiver did not accept.
        let both = flow_flags::CLIENT_FIN | flow_flags::SERVER_FIN;
        if flow.flags & both != both {
            flow.state = state::ESTABLISHED;
        }
    }
}

#[inline(never)]
fn translate(
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

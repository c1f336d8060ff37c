//! Sends the third segment of the handshake to whatever answers the flood, so that every SYN becomes an unused connection.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use synward_core::generated_segment::padded_timestamps;
use synward_core::wire::tcp::{Repr, flags};

use crate::flood_replies;
use synward_xdp::packet::Kind;
use synward_xdp::{maps, reply};

const WINDOW: u16 = 502;

/// Acknowledges the SYN-ACKs for the flood's sources; drops and counts everything else for them.
#[xdp]
pub fn handshake(ctx: XdpContext) -> u32 {
    match flood_replies::count(&ctx) {
        Some(flood_replies::SYN_ACK) => acknowledge(&ctx).unwrap_or(xdp_action::XDP_DROP),
        Some(_) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn acknowledge(ctx: &XdpContext) -> Option<u32> {
    let cpu = maps::steer_scratch()?;
    let (packet, answer) = (&mut cpu.packet, &mut cpu.found.reply);
    if packet.read(ctx) != Kind::Tcp {
        return None;
    }
    let times = packet.timestamps(ctx);
    let (options, words) = if times.present {
        // Without a clock of its own it sends the TSval that the other end has seen last.
        padded_timestamps(times.tsecr, times.tsval)
    } else {
        ([0; 5], 0)
    };
    answer.source = packet.destination;
    answer.destination = packet.source;
    answer.tcp = Repr {
        source: packet.destination_port,
        destination: packet.source_port,
        sequence: packet.acknowledgement,
        acknowledgement: packet.sequence.wrapping_add(1),
        flags: flags::ACK,
        window: WINDOW,
        options: words * 4,
    };
    answer.options = options;
    reply::write_reply(ctx, packet, answer)?;
    flood_replies::note(flood_replies::ACKNOWLEDGED);
    Some(xdp_action::XDP_TX)
}

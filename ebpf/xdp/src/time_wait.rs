//! A client without timestamps that comes back on the addresses and ports of a connection that its server has ended first.
//!
//! The server is in TIME_WAIT. It would challenge a SYN of ours, and we must not reset what it has: a cookie without timestamps
//! can be guessed. So the client's own SYN goes to the server, by the old flow. The client answers the challenge with a RST, which
//! ends the TIME_WAIT, and its next SYN is answered with a cookie.

use crate::packet_context::PacketContext;
use aya_ebpf::programs::XdpContext;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, flow_flags};
use synward_core::wire::tcp::flags;

/// Whether the server judges a SYN on the ports of a closing flow.
#[inline(never)]
pub fn judges_syn(ctx: &XdpContext, pkt: &mut PacketContext, flow: &Flow) -> bool {
    let isn = pkt.cpu.packet.sequence;
    let is_challenged = flow.challenges_syn(isn, FlowTime::from_ns(pkt.now));
    is_challenged && pkt.service.draining == 0 && has_plain_cookie(ctx, pkt)
}

/// Whether the SYN would get a cookie without timestamps.
#[inline(always)]
fn has_plain_cookie(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    !pkt.cpu.memory.endpoint.now.timestamps() || !pkt.cpu.packet.timestamps(ctx).present
}

/// Whether a segment of the server on a closing flow opens a connection, because it has no TIME_WAIT any more. The client has
/// not shown a cookie, so the segment must not pass; the client's next SYN gets one.
#[inline(always)]
pub fn opens_unasked(flow: &mut Flow, packet_flags: u8) -> bool {
    if packet_flags & (flags::SYN | flags::ACK) != flags::SYN | flags::ACK
        || !flow.is_in_time_wait()
    {
        return false;
    }
    flow.flags |= flow_flags::RESET;
    true
}

//! Whether a segment with a server's address comes from where the server is, on an interface for both sides.
//!
//! A client may put a server's address into a segment. If it taught the program a connection, the client's other segments
//! would pass unchallenged. The sender's MAC address tells: it is that of the server's neighbour entry, or it is not. Behind
//! a router the server's frames may have the MAC of another router of a group, so only the router to the client is refused.
//! Nor may a client answer in a server's name: two SYN-ACKs without timestamps would be taken for what the server supports.

use crate::cpu_scratch::CpuScratch;
use crate::frame_view::view;
use crate::packet_context::PacketContext;
use crate::route::{self, By};
use aya_ebpf::programs::XdpContext;
use synward_core::layout::side;
use synward_core::wire::ethernet::{self, Ethernet, Mac};

/// Whether a segment may teach the program a connection. Everything is believed that arrives on an interface for servers alone.
#[inline(always)]
pub fn is_from_server(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    pkt.interface.side & side::OUTSIDE == 0 || comes_from_server(ctx, pkt.cpu)
}

/// Whether a segment may be the server's answer to an opening: not if the router or host to the client has sent it, unless that
/// is the way to the server as well. The server itself may send with any MAC, as a bond with several does.
#[inline(always)]
pub fn may_answer(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    pkt.interface.side & side::OUTSIDE == 0 || !comes_from_client(ctx, pkt.cpu)
}

#[inline(never)]
fn comes_from_client(ctx: &XdpContext, cpu: &mut CpuScratch) -> bool {
    let Some(sender) = sender(ctx) else {
        return false;
    };
    route::look_up_receiver(ctx, cpu).is_neighbour(sender)
        && !route::look_up_sender(ctx, cpu).is_neighbour(sender)
}

#[inline(never)]
fn comes_from_server(ctx: &XdpContext, cpu: &mut CpuScratch) -> bool {
    let Some(sender) = sender(ctx) else {
        return false;
    };
    let server = route::look_up_sender(ctx, cpu);
    match server.by {
        By::Neighbour if server.mac == sender => true,
        By::Neighbour if server.is_router => {
            !route::look_up_receiver(ctx, cpu).is_neighbour(sender)
        }
        // The server is on this link and has another MAC, or one that will be known for its next segment.
        By::Neighbour | By::UnknownNeighbour => false,
        By::Elsewhere => true,
    }
}

/// The MAC address that sent the frame.
#[inline(always)]
fn sender(ctx: &XdpContext) -> Option<Mac> {
    let eth = view::<{ ethernet::LENGTH }>(ctx, 0)?;
    Some(Ethernet(&*eth).source())
}

//! Segments between two protected hosts on an interface that faces both sides.
//!
//! One of them is the client of the other. The first look-up takes every receiver for the server, which is wrong for half of
//! the segments: the flow tells who is who.

use crate::packet_context::PacketContext;
use crate::{flow_lookup, service_lookup, unknown};
use synward_core::layout::side;

/// Whether a segment that is of no flow to its receiver is of one whose server is its sender.
#[inline(always)]
pub fn is_from_server(pkt: &PacketContext) -> bool {
    pkt.interface.side & side::INSIDE != 0 && has_flow_from_sender(pkt)
}

#[inline(never)]
fn has_flow_from_sender(pkt: &PacketContext) -> bool {
    let packet = &pkt.cpu.packet;
    let mut endpoint = service_lookup::NO_ENDPOINT;
    if !service_lookup::find_endpoint(&packet.source, packet.source_port as u32, &mut endpoint) {
        return false;
    }
    let key = packet.flow_from_server();
    let mut may_pass = false;
    flow_lookup::find_flow(&key, &mut may_pass).is_some()
        || (may_pass && unknown::is_passed_connection(&key))
}

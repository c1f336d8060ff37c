//! Segments handed to a worker for an opening whose flow is already established.

use synward_core::layout::Flow;
use synward_core::translate::{self, Direction, Translation};
use synward_core::wire::tcp;
use synward_core::wire::tcp_options::Options;

use super::link::Out;
use super::mailbox::PACKET;

/// Translates a segment that was on its way to an opening when its flow was established, and sends it
/// through the kernel.
pub(super) fn translate_and_send(
    packet: &[u8],
    l4: u8,
    flow: &Flow,
    direction: Direction,
    out: &mut impl Out,
) {
    let l4 = usize::from(l4);
    let mut copy = [0u8; PACKET];
    let Some(copy) = copy.get_mut(..packet.len()) else {
        return;
    };
    copy.copy_from_slice(packet);
    let translation = Translation::of(flow, direction);
    let Some(header) = copy
        .get_mut(l4..)
        .and_then(|rest| rest.first_chunk_mut::<{ tcp::LENGTH }>())
    else {
        return;
    };
    let changes = translation.header(header);
    let length = tcp::Tcp(&*header).header_length();
    let Some(area) = copy.get_mut(l4 + tcp::LENGTH..l4 + length) else {
        return;
    };
    let mut options = Options::of(area);
    let changes = translation.options(&mut options, changes);
    area.copy_from_slice(&options.bytes[..area.len()]);
    if let Some(header) = copy[l4..].first_chunk_mut::<{ tcp::LENGTH }>() {
        translate::finish_checksum(header, changes);
    }
    out.send_by_kernel(copy);
}

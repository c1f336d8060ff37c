//! Segments of connections that were quiet while the appliance adopted those that it found.
//!
//! Such a connection is known to its server alone. A few segments of unknown connections therefore still pass for hours. If
//! the server has the connection it answers, and the answer teaches the program the connection; if not, its RST ends the
//! client's side. A spoofed segment gains nothing: no answer of the server to it teaches a connection that does not exist, and
//! the budget of its prefix is small.

use crate::maps;
use crate::packet_context::PacketContext;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{JUDGED_PER_PREFIX, JUDGED_PREFIXES};
use synward_core::multilinear;
use synward_core::wire::Address;
use synward_core::wire::tcp::flags;

/// Whether an ACK without a flow passes, so that the server decides. Counts it.
#[inline(always)]
pub fn is_for_server(pkt: &PacketContext) -> bool {
    let is_ack = pkt.cpu.packet.flags & (flags::SYN | flags::ACK | flags::RST) == flags::ACK;
    is_ack && pkt.now < pkt.service.judge_until && has_budget(pkt)
}

/// Takes one from the budget of the client's prefix. CPUs that do so at once may lose a count: a few segments more pass.
#[inline(never)]
fn has_budget(pkt: &PacketContext) -> bool {
    let Some(globals) = maps::GLOBALS.get(0) else {
        return false;
    };
    let hash = prefix_hash(&globals.table_key, &pkt.cpu.packet.source);
    let Some(counted) = maps::JUDGED.get_ptr_mut(hash & (JUDGED_PREFIXES - 1)) else {
        return false;
    };
    let unit = (FlowTime::from_ns(pkt.now).to_word() as u64) << 32;
    // SAFETY: an element of an array lives as long as the program.
    let before = unsafe { core::ptr::read_volatile(counted) };
    let used = if before >> 32 == unit >> 32 {
        before as u32
    } else {
        0
    };
    if used >= JUDGED_PER_PREFIX {
        return false;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(counted, unit | (used as u64 + 1)) };
    true
}

/// The hash of a client's prefix: /24, or /48 for IPv6.
#[inline(always)]
pub fn prefix_hash(key: &multilinear::Key, client: &Address) -> u32 {
    let [a, b, c, d] = client.0;
    let words = if client.is_v4() {
        [c, d & u32::from_ne_bytes([255, 255, 255, 0])]
    } else {
        [a, b & u32::from_ne_bytes([255, 255, 0, 0])]
    };
    let mut message = [0; multilinear::WORDS];
    message[..2].copy_from_slice(&words);
    multilinear::multilinear_hash(key, message) as u32
}

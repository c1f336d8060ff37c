//! What an edge (`forward`) remembers for a minute, to leave a SYN that begins again to the server.
//!
//! The server's kernel knows whether it has an old connection on the same addresses and ports, and its replay cache knows
//! which handshakes have had their connection. An edge knows neither, and its cookie for the same SYN is the same for an
//! epoch. It therefore forwards a SYN if it has answered the same in the last 64 s: with the same ISN, or with any ISN if the
//! client has no timestamps, because a cookie without timestamps resets no stale connection
//! ([`stale_connection`](crate::stale_connection)). The server answers it with its own cookie, or its kernel does.
//!
//! This is only a memory of what is rare: it is neither read nor written in a flood, and nothing has to replicate it.

use crate::packet_context::PacketContext;
use crate::{maps, verified_once};
use aya_ebpf::programs::XdpContext;
use synward_core::wire::tcp::flags;

/// Whether this edge has answered such a SYN before. Notes that it answers it now if not.
#[inline(always)]
pub fn was_answered(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    let (packet, found) = (&mut pkt.cpu.packet, &pkt.cpu.found);
    let Some(clock) = maps::CLOCK.get(0) else {
        return false;
    };
    if found.is_flood {
        return false;
    }
    let isn = if packet.timestamps(ctx).present {
        packet.sequence
    } else {
        ANY_ISN
    };
    verified_once::note_edge_answer(&found.key, isn, clock.epoch_at(pkt.now))
}

/// Notes that a client without timestamps ends its connection: the server may be in TIME_WAIT for a minute.
#[inline(always)]
pub fn note_end(pkt: &mut PacketContext) {
    let packet = &pkt.cpu.packet;
    if packet.flags & (flags::FIN | flags::RST) == 0 || packet.options >= TIMESTAMPS {
        return;
    }
    let Some(clock) = maps::CLOCK.get(0) else {
        return;
    };
    if !pkt.cpu.memory.count_syn() {
        verified_once::note_edge_answer(&pkt.cpu.found.key, ANY_ISN, clock.epoch_at(pkt.now));
    }
}

/// Stands for every ISN.
const ANY_ISN: u32 = 0;
/// Bytes of options with timestamps, padded to words.
const TIMESTAMPS: usize = 12;

//! Which handshakes of local services have had their connection; `synward_core::replay_cache` defines how that is stored.

use crate::maps;
use crate::packet_context::PacketContext;
use synward_core::cookie::AckFields;
use synward_core::replay_cache::{self, Event, Handshake, SETS};

/// Whether the event is recorded for the handshake of a segment with a valid cookie.
#[inline(never)]
pub fn is_recorded(pkt: &PacketContext, event: Event) -> bool {
    let (Some(clock), Some(handshake)) = (maps::CLOCK.get(0), handshake(pkt, event)) else {
        return false;
    };
    match maps::REPLAY_CACHE.get(handshake.set & (SETS as u32 - 1)) {
        Some(set) => handshake.is_in(set, clock.epoch_at(pkt.now)),
        None => false,
    }
}

/// Records the event for as long as the cookie is valid, and returns the entry; `None` if it is recorded already.
#[inline(never)]
pub fn record_event(pkt: &PacketContext, event: Event) -> Option<&'static mut u32> {
    let clock = maps::CLOCK.get(0)?;
    let handshake = handshake(pkt, event)?;
    let current = clock.epoch_at(pkt.now);
    let fields = AckFields {
        client_isn: pkt.cpu.packet.sequence.wrapping_sub(1),
        isn: pkt.cpu.packet.acknowledgement.wrapping_sub(1),
        tsecr: None,
    };
    let set = maps::REPLAY_CACHE.get_ptr_mut(handshake.set & (SETS as u32 - 1))?;
    // SAFETY: an element of an array lives as long as the program. Other CPUs write it as well, each entry at once.
    let set = unsafe { &mut *set };
    if handshake.is_in(set, current) {
        return None;
    }
    let entry = &mut set
        [replay_cache::replaceable_slot(set, current) & (replay_cache::ENTRIES_PER_SET - 1)];
    *entry = handshake.entry(fields.cookie_epoch(current).0);
    Some(entry)
}

/// Erases the record of the event.
#[inline(never)]
pub fn erase_event(pkt: &PacketContext, event: Event) -> Option<()> {
    let handshake = handshake(pkt, event)?;
    let set = maps::REPLAY_CACHE.get_ptr_mut(handshake.set & (SETS as u32 - 1))?;
    // SAFETY: as above.
    let set = unsafe { &mut *set };
    let place = handshake.slot_in(set)?;
    set[place & (replay_cache::ENTRIES_PER_SET - 1)] = 0;
    Some(())
}

#[inline(always)]
fn handshake(pkt: &PacketContext, event: Event) -> Option<Handshake> {
    let globals = maps::GLOBALS.get(0)?;
    let client_isn = pkt.cpu.packet.sequence.wrapping_sub(1);
    Some(Handshake::new(
        &globals.replay_key,
        &pkt.cpu.found.key,
        client_isn,
        event,
    ))
}

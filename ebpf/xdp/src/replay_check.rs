//! Which handshakes have had their connection; `synward_core::replay_cache` defines how that is stored.

use crate::maps;
use crate::packet_context::PacketContext;
use synward_core::cookie::AckFields;
use synward_core::flow::FlowKey;
use synward_core::replay_cache::{self, Event, Handshake, SETS, Set};

/// Whether the event is recorded for the handshake of a segment with a valid cookie.
#[inline(never)]
pub fn is_recorded(pkt: &PacketContext, event: Event) -> bool {
    let Some((handshake, epoch, _)) = of_segment(pkt, event) else {
        return false;
    };
    match maps::REPLAY_CACHE.get(handshake.set & (SETS as u32 - 1)) {
        Some(set) => contains(set, handshake.entry(epoch)),
        None => false,
    }
}

/// Records the event for as long as the cookie is valid, and returns the entry; `None` if it is recorded already.
#[inline(never)]
pub fn record_event(pkt: &PacketContext, event: Event) -> Option<&'static mut u32> {
    let (handshake, epoch, current) = of_segment(pkt, event)?;
    record(&handshake, epoch, current)
}

#[inline(always)]
fn record(handshake: &Handshake, epoch: u64, current: u64) -> Option<&'static mut u32> {
    let set = maps::REPLAY_CACHE.get_ptr_mut(handshake.set & (SETS as u32 - 1))?;
    // SAFETY: an element of an array lives as long as the program. Other CPUs write it as well, each entry at once.
    let set = unsafe { &mut *set };
    if contains(set, handshake.entry(epoch)) {
        return None;
    }
    let entry = &mut set
        [replay_cache::replaceable_slot(set, current) & (replay_cache::ENTRIES_PER_SET - 1)];
    *entry = handshake.entry(epoch);
    Some(entry)
}

/// Erases the record of the event.
#[inline(never)]
pub fn erase_event(pkt: &PacketContext, event: Event) -> Option<()> {
    let (handshake, epoch, _) = of_segment(pkt, event)?;
    let set = maps::REPLAY_CACHE.get_ptr_mut(handshake.set & (SETS as u32 - 1))?;
    // SAFETY: as above.
    let set = unsafe { &mut *set };
    let place = handshake.slot_in(set, epoch)?;
    set[place & (replay_cache::ENTRIES_PER_SET - 1)] = 0;
    Some(())
}

/// The epoch for the cookie of a SYN with this ISN: the current one, unless its handshake has had its connection.
#[inline(never)]
pub fn unused_epoch(flow: &FlowKey, client_isn: u32, current: u64) -> u64 {
    let Some(handshake) = handshake(flow, client_isn, Event::Connected) else {
        return current;
    };
    match maps::REPLAY_CACHE.get(handshake.set & (SETS as u32 - 1)) {
        Some(set) => handshake.unused_epoch(current, |entry| contains(set, entry)),
        None => current,
    }
}

/// Records that this edge has answered a SYN, and says whether it had answered such a one before, in this epoch or in one of
/// the two before it (64 s at least: longer than TIME_WAIT lasts).
#[inline(always)]
pub fn note_edge_answer(flow: &FlowKey, client_isn: u32, current: u64) -> bool {
    let Some(handshake) = handshake(flow, client_isn, Event::AnsweredByEdge) else {
        return false;
    };
    let Some(set) = maps::REPLAY_CACHE.get(handshake.set & (SETS as u32 - 1)) else {
        return false;
    };
    contains(set, handshake.entry(current.wrapping_sub(1)))
        || contains(set, handshake.entry(current.wrapping_sub(2)))
        || record(&handshake, current, current).is_none()
}

/// Whether a set holds an entry. The loads are volatile, so that the loop is left at the entry: the compiler would combine all
/// comparisons into one number, and the verifier would follow each of its 2¹⁶ ways of coming about.
#[inline(always)]
fn contains(set: &Set, wanted: u32) -> bool {
    for entry in set {
        // SAFETY: a live element of the set.
        if unsafe { core::ptr::read_volatile(entry) } == wanted {
            return true;
        }
    }
    false
}

/// The handshake of a segment with a valid cookie, the epoch of its cookie, and the current epoch.
#[inline(always)]
pub fn of_segment(pkt: &PacketContext, event: Event) -> Option<(Handshake, u64, u64)> {
    let current = maps::CLOCK.get(0)?.epoch_at(pkt.now);
    let fields = AckFields {
        client_isn: pkt.cpu.packet.sequence.wrapping_sub(1),
        isn: pkt.cpu.packet.acknowledgement.wrapping_sub(1),
        tsecr: None,
    };
    let handshake = handshake(&pkt.cpu.found.key, fields.client_isn, event)?;
    Some((handshake, fields.cookie_epoch(current).0, current))
}

#[inline(always)]
fn handshake(flow: &FlowKey, client_isn: u32, event: Event) -> Option<Handshake> {
    let globals = maps::GLOBALS.get(0)?;
    Some(Handshake::new(&globals.replay_key, flow, client_isn, event))
}

//! When handshakes of local services were assigned to their listeners.
//!
//! A segment with data or a FIN may overtake the ACK right before it: its handshake is recorded already, but TCP has not seen
//! the ACK yet. It then has to wait ([`requeue`](crate::requeue)), though only as long as such an ACK takes. A note of each
//! assignment's time tells it from a replay, which arrives later. A note is one word of a table that forgets the older of two:
//! then the segment is dropped, and its client sends it again.

use crate::maps;
use crate::packet_context::PacketContext;
use crate::replay_check;
use synward_core::replay_cache::Event;

/// A unit of time is 2²⁰ ns, about 1 ms.
const UNIT: u32 = 20;
/// Units for which an assignment is recent. The coarse clock advances in steps of up to 10 ms.
const RECENT: u32 = 24;

/// Notes that the handshake of a segment is assigned now.
#[inline(never)]
pub fn note(pkt: &PacketContext) {
    if let Some((at, word)) = note_of(pkt)
        && let Some(note) = maps::ASSIGNMENTS.get_ptr_mut(at)
    {
        // SAFETY: an element of an array lives as long as the program. Other CPUs write it as well, each word at once.
        unsafe { core::ptr::write_volatile(note, word) };
    }
}

/// Whether the handshake of a segment with a valid cookie was assigned a moment ago.
#[inline(never)]
pub fn is_recent(pkt: &PacketContext) -> bool {
    let Some((at, word)) = note_of(pkt) else {
        return false;
    };
    let Some(note) = maps::ASSIGNMENTS.get_ptr_mut(at) else {
        return false;
    };
    // SAFETY: as above.
    let note = unsafe { core::ptr::read_volatile(note) };
    note >> 32 == word >> 32 && (word as u32).wrapping_sub(note as u32) < RECENT
}

/// The place of a note, and the note: the handshake's entry in the replay cache, and the time.
#[inline(always)]
fn note_of(pkt: &PacketContext) -> Option<(u32, u64)> {
    let (handshake, epoch, _) = replay_check::of_segment(pkt, Event::Connected)?;
    let word = (handshake.entry(epoch) as u64) << 32 | (pkt.now >> UNIT) as u32 as u64;
    Some((handshake.set & (maps::ASSIGNMENT_NOTES as u32 - 1), word))
}

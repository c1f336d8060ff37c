//! The first epoch of a process that has taken over no replay cache: the one before was stopped and left nothing, or the machine has
//! started. Its marks are gone, and cookies that were issued before are still valid. So until the end of that epoch the SYNs that are
//! answered here are recorded, and of the cookies of that epoch or older ones only theirs are accepted (`splice`).
//!
//! A flood is not recorded. If there was one, all valid cookies are accepted, because its clients must be served.

use crate::packet_context::PacketContext;
use crate::{maps, replay_check, verified_once};
use synward_core::replay_cache::Event;

/// Records that a SYN is answered now, in the first epoch.
#[inline(never)]
pub fn record_answer(pkt: &mut PacketContext, first: u64) {
    let found = &pkt.cpu.found;
    if found.is_flood {
        note_flood(first);
    } else {
        let isn = pkt.cpu.packet.sequence;
        verified_once::note_answer(&found.key, isn, found.answer_epoch);
    }
}

/// Notes that answers of the first epoch are not recorded.
#[inline(always)]
pub fn note_flood(first: u64) {
    if let Some(unrecorded) = maps::UNRECORDED.get_ptr_mut(0) {
        // SAFETY: an element of an array lives as long as the program. Who writes it writes the same.
        unsafe { core::ptr::write_volatile(unrecorded, first) };
    }
}

/// Whether a segment's valid cookie was issued before this process began, or may have been.
#[inline(never)]
pub fn is_from_before(pkt: &PacketContext) -> bool {
    let (Some(clock), Some(unrecorded)) = (maps::CLOCK.get(0), maps::UNRECORDED.get(0)) else {
        return false;
    };
    let (first, current) = (clock.first_epoch, clock.epoch_at(pkt.now));
    // Later no such cookie is valid. The wall clock may have been set back, too.
    if first == 0 || current.wrapping_sub(first) > 1 {
        return false;
    }
    pkt.cpu.found.ack.cookie_epoch(current).0 <= first
        && *unrecorded != first
        && !replay_check::is_recorded(pkt, Event::Answered)
}

//! Validated clients on a queue without a worker, and those beyond their share of one. What their ACKs said waits in a map that
//! outlives the process, and a worker opens their connections later. A client that speaks first would send its ACK again, with
//! its data; one whose server speaks first never would.
//!
//! Only an ACK with a valid cookie gets in, once for each flow, and only some of one client prefix.
//!
//! A process may be killed while an ACK is in a worker's ring, or while its server has not answered. So the latest ones that were
//! handed to workers are kept as well (`synward_core::handed_over`).

use crate::judged;
use crate::maps;
use crate::packet_context::PacketContext;
use synward_core::handed_over::{ENTRIES, HandedOver};
use synward_core::prefix_counts::{added, count};
use synward_core::waiting_client::{WaitingClient, WaitingFor};

/// Notes in `found` what the ACK of a validated client said, whose request is encoded there.
#[inline(always)]
pub fn note(pkt: &mut PacketContext) {
    let (packet, found) = (&pkt.cpu.packet, &mut pkt.cpu.found);
    found.waiting = WaitingClient {
        since: pkt.now,
        request: found.request,
        sequence: packet.sequence,
        acknowledgement: packet.acknowledgement,
        tsval: found.client_tsval,
        tsecr: found.ack.tsecr.unwrap_or(0),
        window: found.client_window,
        ttl: packet.ttl,
        timestamps: found.ack.tsecr.is_some() as u8,
        reserved: 0,
    };
}

/// Keeps what was noted until a worker takes it. `false`: there is no room for it.
#[inline(never)]
pub fn keep(pkt: &PacketContext, waits_for: WaitingFor) -> bool {
    let found = &pkt.cpu.found;
    let is_known = maps::WAITING.get_ptr(&found.key).is_some();
    if !is_known && !has_share(pkt, waits_for) {
        return false;
    }
    maps::WAITING.insert(&found.key, &found.waiting, 0).is_ok()
}

/// Forgets a client that has reset its connection.
#[inline(always)]
pub fn forget(pkt: &PacketContext) {
    let _ = maps::WAITING.remove(&pkt.cpu.found.key);
}

/// Keeps what was noted in case that the process is killed before the server has answered. It is over when the next ones have
/// overwritten it.
#[inline(never)]
pub fn keep_handed_over(pkt: &mut PacketContext) {
    let place = pkt.cpu.memory.count_handed_over() & (ENTRIES - 1);
    if let Some(entry) = maps::HANDED_OVER.get_ptr_mut(place) {
        let found = &pkt.cpu.found;
        // SAFETY: an element of this CPU, which lives as long as the program.
        unsafe {
            *entry = HandedOver {
                key: found.key,
                reserved: 0,
                client: found.waiting,
            };
        }
    }
}

/// Takes one from the share of the client's prefix. CPUs that do so at once may lose a count: a few clients more wait.
#[inline(always)]
fn has_share(pkt: &PacketContext, waits_for: WaitingFor) -> bool {
    let Some(globals) = maps::GLOBALS.get(0) else {
        return false;
    };
    let hash = judged::prefix_hash(&globals.table_key, &pkt.cpu.packet.source);
    let Some(cell) = maps::WAITING_COUNTS.get_ptr_mut(waits_for.counter(hash)) else {
        return false;
    };
    let period = waits_for.period(pkt.now);
    // SAFETY: an element of an array lives as long as the program.
    let before = unsafe { core::ptr::read_volatile(cell) };
    if count(before, period) >= waits_for.most() {
        return false;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(cell, added(before, period, 1)) };
    true
}

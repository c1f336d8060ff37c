//! Bounds the replies to one client prefix (`synward_core::reply_budget`), once a CPU sends many.

use crate::cpu_memory::CpuMemory;
use crate::maps;
use crate::packet_context::PacketContext;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use synward_core::flow_time::FlowTime;
use synward_core::prefix_counts::{Cell, ROWS, added, is_admitted, smaller_count};
use synward_core::reply_budget::{CELLS, PROVEN_FACTOR, Place, Receiver};

/// How long every reply is counted after a prefix was near its budget, ns.
const NEAR_FOR: u64 = 2 * FlowTime::UNIT_NS;

/// Whether the reply to the current packet may be sent.
#[inline(never)]
pub fn allows_reply(pkt: &mut PacketContext) -> bool {
    let weight = pkt.cpu.memory.count_reply();
    weight == 0 || allows_counted(receiver(pkt), weight, &mut pkt.cpu.memory)
}

/// [`allows_counted`] for the fast path, which has not looked up what this CPU remembers.
#[inline(never)]
pub fn allows_prepared(to: Receiver, weight: u32) -> bool {
    match maps::steer_scratch() {
        Some(scratch) => allows_counted(to, weight, &mut scratch.memory),
        None => true,
    }
}

/// Counts a reply for `weight` replies, and says whether it may be sent.
#[inline(always)]
pub fn allows_counted(to: Receiver, weight: u32, memory: &mut CpuMemory) -> bool {
    let (Some(globals), Some(policy)) = (maps::GLOBALS.get(0), maps::SERVICES.get(to.service()))
    else {
        return true;
    };
    if policy.replies == 0 {
        return true;
    }
    let now = memory.now();
    let place = to.place(&globals.replay_key, now);
    let (Some(one), Some(other)) = (cell(place.cells[0]), cell(place.cells[1])) else {
        return true;
    };
    let others = memory.background.add(weight, now);
    let sent = smaller_count([*one, *other], place.period).saturating_sub(others);
    *one = added(*one, place.period, weight);
    *other = added(*other, place.period, weight);
    // Near, before it is over: a valid cookie is noted in time.
    if sent >= policy.replies / 2 {
        memory.set_near_budget(now + NEAR_FOR);
    }
    if sent < policy.replies {
        return true;
    }
    let budget = if is_proven(&place, now) {
        policy.replies.saturating_mul(PROVEN_FACTOR)
    } else {
        policy.replies
    };
    // SAFETY: a helper that takes nothing and returns a number.
    is_admitted(sent, budget, unsafe { bpf_get_prandom_u32() } as u32)
}

/// The client prefix and the service of the current packet.
#[inline(always)]
pub fn receiver(pkt: &PacketContext) -> Receiver {
    Receiver::new(&pkt.cpu.packet.source, pkt.cpu.memory.endpoint.service)
}

/// Notes that a client of the packet's prefix has shown a valid cookie, if some prefix is near its budget.
#[inline(always)]
pub fn note_proven(pkt: &PacketContext) {
    if pkt.cpu.memory.is_near_budget() {
        set_proven(receiver(pkt), pkt.now);
    }
}

#[inline(never)]
fn set_proven(to: Receiver, now: u64) {
    if let Some(globals) = maps::GLOBALS.get(0) {
        let place = to.place(&globals.replay_key, now);
        if let Some(note) =
            maps::PROVEN_PREFIXES.get_ptr_mut(place.fingerprint & (maps::PROVEN_NOTES as u32 - 1))
        {
            // SAFETY: an element of an array lives as long as the program. Other CPUs write it as well, each word at once.
            unsafe { *note = proven_note(&place, now) };
        }
    }
}

#[inline(always)]
fn is_proven(place: &Place, now: u64) -> bool {
    let word = proven_note(place, now);
    maps::PROVEN_PREFIXES
        .get(place.fingerprint & (maps::PROVEN_NOTES as u32 - 1))
        .is_some_and(|note| {
            (note ^ word) & !0xff == 0 && (word as u8).wrapping_sub(*note as u8) <= 1
        })
}

/// A note: the upper bits of the fingerprint, and the half minute (2^35 ns).
#[inline(always)]
fn proven_note(place: &Place, now: u64) -> u32 {
    place.fingerprint & !0xff | (now >> 35) as u8 as u32
}

/// A cell of this CPU's table.
#[inline(always)]
fn cell(at: u32) -> Option<&'static mut Cell> {
    let cell = maps::REPLIES.get_ptr_mut(at & (ROWS * CELLS) as u32 - 1)?;
    // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here. The two
    // cells of a place are in different rows.
    Some(unsafe { &mut *cell })
}

//! Bounds the wrong plain cookies that are checked (`synward_core::plain_ack_limit`).
//!
//! While wrong ACKs are so many that some are not checked, or connections are adopted, the service's SYNs are noted: an ACK
//! whose SYN is noted is counted apart from those that come out of nowhere, so that a flood of these does not touch real
//! clients. A note is one word of a table that forgets the older of two; it needs no memory per client, and costs nothing in
//! quiet times. Behind an edge (`forward`) the server sees no SYNs, and has only the counts.

use crate::cpu_scratch::PlainAck;
use crate::maps;
use crate::packet_context::PacketContext;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::flow::FlowKey;
use synward_core::layout::{Service, mode, plain_cookies};
use synward_core::plain_ack_limit::{CELLS, Class, Place, is_checked};
use synward_core::prefix_counts::{Cell, ROWS};

/// How long SYNs are noted after the last ACK that was not checked, ns.
const NOTED_FOR: u64 = 2 * EPOCH_NANOSECONDS;
/// That time is set anew at most this often, ns: it is shared by all CPUs.
const RENEWED_AFTER: u64 = 1_000_000_000;

/// What happens to the cookie of a plain ACK.
#[derive(PartialEq, Eq)]
pub enum Admission {
    /// It is checked.
    Checked,
    /// It is not checked: too many wrong ones came before.
    Unchecked,
    /// The service takes none.
    Refused,
}

/// Decides whether the cookie of a plain ACK is checked. `is_admitted`: the limit allows it already.
#[inline(never)]
pub fn admit(pkt: &mut PacketContext, is_admitted: bool) -> Admission {
    let policy = pkt.service.plain_cookies;
    if policy == plain_cookies::REFUSE {
        Admission::Refused
    } else if policy == plain_cookies::ACCEPT || is_admitted || is_within_limit(pkt) {
        Admission::Checked
    } else {
        Admission::Unchecked
    }
}

/// Whether an ACK is checked for one of the kernel's own cookies. With timestamps it is as easy to guess as without.
#[inline(never)]
pub fn admits_kernel_cookie(pkt: &mut PacketContext) -> bool {
    pkt.service.plain_cookies == plain_cookies::ACCEPT || is_within_limit(pkt)
}

#[inline(always)]
fn is_within_limit(pkt: &mut PacketContext) -> bool {
    let (Some(clock), Some(globals)) = (maps::CLOCK.get(0), maps::GLOBALS.get(0)) else {
        return false;
    };
    let service = pkt.cpu.memory.endpoint.service;
    let epoch = clock.epoch_at(pkt.now);
    let class =
        if are_syns_noted(service, pkt.service, pkt.now) && is_noted(&pkt.cpu.found.key, epoch) {
            Class::Announced
        } else if pkt.cpu.found.is_in_window {
            Class::OfClosing
        } else if pkt.service.mode != mode::ALWAYS || pkt.now < pkt.service.adopt_until {
            Class::Unchallenged
        } else {
            Class::Unannounced
        };
    let key = &pkt.cpu.found.key;
    let place = Place::of(&globals.replay_key, &key.client, service, class, epoch);
    let (Some(one), Some(other)) = (cell(place.cells[0]), cell(place.cells[1])) else {
        return false;
    };
    let wrong = place.wrong([read(one), read(other)]);
    // SAFETY: a helper that takes nothing and returns a number.
    let random = unsafe { bpf_get_prandom_u32() } as u32;
    pkt.cpu.found.plain_ack = PlainAck {
        is_counted: true,
        is_admitted: false,
        place,
        random,
    };
    let is_checked = is_checked(wrong, random);
    if !is_checked {
        count_wrong(pkt);
        // Connections that close are no attack.
        if !pkt.cpu.found.is_in_window {
            note_syns(service, pkt.now);
        }
    }
    is_checked
}

/// Counts an ACK that was wrong or was not checked, if it is plain and counted.
#[inline(never)]
pub fn count_wrong(pkt: &PacketContext) {
    let PlainAck {
        is_counted,
        place,
        random,
        ..
    } = &pkt.cpu.found.plain_ack;
    if !is_counted {
        return;
    }
    for row in 0..ROWS {
        let Some(at) = cell(place.cells[row]) else {
            return;
        };
        // Of two CPUs that do this at the same moment, one is not counted.
        if let Some(counted) = place.count_wrong(read(at), *random) {
            // SAFETY: see `cell`.
            unsafe { core::ptr::write_volatile(at, counted) };
        }
    }
}

/// Whether SYNs of a service, which has this index, are noted at present. While it adopts connections they are: many ACKs of
/// these may come before their server says anything.
#[inline(always)]
pub fn are_syns_noted(index: u32, service: &Service, now: u64) -> bool {
    now < service.adopt_until
        || maps::NOTED_UNTIL
            .get(index)
            .is_some_and(|until| now < *until)
}

/// Notes a SYN that is answered.
#[inline(never)]
pub fn note_syn(pkt: &PacketContext) {
    if let Some(clock) = maps::CLOCK.get(0)
        && let Some((at, word)) = note(&pkt.cpu.found.key, clock.epoch_at(pkt.now))
        && let Some(note) = maps::NOTED_SYNS.get_ptr_mut(at)
    {
        // SAFETY: an element of an array lives as long as the program. Other CPUs write it as well, each word at once.
        unsafe { *note = word };
    }
}

/// Whether a SYN of this flow was noted in this epoch or the previous one.
#[inline(always)]
fn is_noted(key: &FlowKey, epoch: u64) -> bool {
    match note(key, epoch) {
        Some((at, word)) => maps::NOTED_SYNS.get(at).is_some_and(|note| {
            (note ^ word) & !0xff == 0 && (word as u8).wrapping_sub(*note as u8) <= 1
        }),
        None => false,
    }
}

/// The place of a note, and the note: a fingerprint and the low eight bits of the epoch.
#[inline(always)]
fn note(key: &FlowKey, epoch: u64) -> Option<(u32, u32)> {
    let hash = key.table_hash(&maps::GLOBALS.get(0)?.table_key);
    Some((
        (hash >> 32) as u32 & (maps::SYN_NOTES as u32 - 1),
        hash as u32 & !0xff | epoch as u8 as u32,
    ))
}

#[inline(always)]
fn note_syns(service: u32, now: u64) {
    let until = now + NOTED_FOR;
    if let Some(noted) = maps::NOTED_UNTIL.get_ptr_mut(service) {
        // SAFETY: as in `note_syn`.
        let noted = unsafe { &mut *noted };
        if until.wrapping_sub(*noted) > RENEWED_AFTER {
            *noted = until;
        }
    }
}

/// A cell of the table. An element of an array lives as long as the program; other CPUs write it at the same time, whole.
#[inline(always)]
fn cell(at: u32) -> Option<*mut Cell> {
    maps::WRONG_PLAIN_ACKS.get_ptr_mut(at & (ROWS * CELLS) as u32 - 1)
}

#[inline(always)]
fn read(cell: *mut Cell) -> Cell {
    // SAFETY: see `cell`. Volatile, so that it is one access.
    unsafe { core::ptr::read_volatile(cell) }
}

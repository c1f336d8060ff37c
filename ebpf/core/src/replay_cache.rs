//! The replay cache: which handshakes already have their connection. A valid ACK opens one connection, however often it
//! arrives.
//!
//! The table consists of sets. A set is one cache line of sixteen entries; an entry holds a fingerprint of 24 bits and the
//! low 8 bits of its cookie's epoch. Addresses, ports, the client's ISN and the epoch name a handshake, because the cookie
//! follows from them. A client that begins again with the same ISN gets the cookie of another epoch
//! ([`Handshake::unused_epoch`]), and with it a handshake of its own.
//!
//! An entry may be replaced when no cookie of its epoch is accepted any more. Nothing has to clear entries, so the cache
//! works while no process runs. An entry is one aligned word, so it is read and written whole; if two CPUs write the same
//! entry at once, one of the two handshakes is forgotten.
//!
//! Two Bloom filters would do the same in as much memory. This table touches one cache line instead of several, has a
//! hundredth of the false positives, and needs no moment at which a filter is emptied while others write to it. A full set
//! forgets its oldest entry, and the replay then opens a connection that its sender cannot use; a full filter would refuse
//! clients.

use crate::flow::FlowKey;
use crate::siphash::Hasher;

/// Sets of the table, a power of two: 32 MiB. A hundred thousand connections a second, for the 64 s in which a cookie is
/// accepted, are 6.4 million entries, twelve in a set on average. One in ten then finds its set full, and replaces the
/// oldest entry, which would have expired soon. With a quarter of these connections none does.
pub const SETS: usize = 1 << 19;
/// Entries of one set.
pub const ENTRIES_PER_SET: usize = 16;

/// One set: a cache line. Zero stands for no entry.
pub type Set = [u32; ENTRIES_PER_SET];

/// What the cache records about a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// It has its connection: the kernel has taken it, or the server has answered (`splice`).
    Connected = 1,
    /// A stale connection on its ports was reset.
    StaleReset = 2,
    /// It was assigned to a listener whose accept queue may have had no room for its connection.
    MaybeAssigned = 3,
    /// An edge has answered its SYN (`forward`).
    AnsweredByEdge = 4,
}

/// The position and fingerprint of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Index of the set, below [`SETS`].
    pub set: u32,
    /// In the upper 24 bits; not zero.
    fingerprint: u32,
}

impl Handshake {
    /// The position of `event` of the handshake with `client_isn` on `flow`, under a random `key`.
    #[inline(always)]
    pub const fn new(key: &[u64; 2], flow: &FlowKey, client_isn: u32, event: Event) -> Self {
        let hash = flow
            .hash_into(Hasher::<1, 3>::new(key), client_isn.to_le())
            .finish(event as u64, flow.hashed_bytes() + 1);
        let fingerprint = (hash >> 32) as u32 & !0xff;
        Self {
            set: hash as u32 & (SETS as u32 - 1),
            fingerprint: if fingerprint == 0 {
                1 << 8
            } else {
                fingerprint
            },
        }
    }

    /// Whether `set`, which must be its own, holds its entry with a cookie of `epoch`.
    #[inline(always)]
    pub fn is_in(&self, set: &Set, epoch: u64) -> bool {
        set.contains(&self.entry(epoch))
    }

    /// The index of that entry in `set`.
    #[inline(always)]
    pub fn slot_in(&self, set: &Set, epoch: u64) -> Option<usize> {
        let wanted = self.entry(epoch);
        set.iter().position(|entry| *entry == wanted)
    }

    /// The entry to write if its cookie is of `epoch`.
    #[inline(always)]
    pub const fn entry(&self, epoch: u64) -> u32 {
        self.fingerprint | epoch as u8 as u32
    }

    /// The epoch for the cookie of a SYN: the `current` one, unless its entry `is_used`. Then the next or the previous one,
    /// whose cookies are accepted as well. If all three are used, the current one: its ACK will be refused.
    #[inline(always)]
    pub fn unused_epoch(&self, current: u64, is_used: impl Fn(u32) -> bool) -> u64 {
        for epoch in [current, current.wrapping_add(1), current.wrapping_sub(1)] {
            if !is_used(self.entry(epoch)) {
                return epoch;
            }
        }
        current
    }
}

/// The index at which to write a new entry: that of an empty one, else of the oldest.
#[inline(always)]
pub fn replaceable_slot(set: &Set, current: u64) -> usize {
    let (mut oldest, mut at) = (0, 0);
    for (place, entry) in set.iter().enumerate() {
        let age = if *entry == 0 {
            u8::MAX
        } else {
            entry_age(*entry, current)
        };
        if age > oldest {
            (oldest, at) = (age, place);
        }
    }
    at
}

/// Epochs since an entry's cookie was first accepted, which is one epoch before its own (`AckFields::cookie_epoch`).
#[inline(always)]
const fn entry_age(entry: u32, current: u64) -> u8 {
    (current as u8).wrapping_add(1).wrapping_sub(entry as u8)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::wire::Address;
    use std::vec;

    const KEY: [u64; 2] = [0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00];

    fn handshake(number: u32) -> Handshake {
        let flow = FlowKey::new(Address::v4(number), 4711, Address::v4(1), 80);
        Handshake::new(&KEY, &flow, number.wrapping_mul(7), Event::Connected)
    }

    #[test]
    fn an_entry_stands_for_the_cookie_of_one_epoch() {
        let one = handshake(1);
        for epoch in [0, 100, 255, 256, 58_000_001] {
            let mut set = [0; ENTRIES_PER_SET];
            set[replaceable_slot(&set, epoch)] = one.entry(epoch);
            assert!(one.is_in(&set, epoch));
            assert_eq!(one.slot_in(&set, epoch), Some(0));
            for other in [epoch.wrapping_sub(1), epoch + 1, epoch + 2, epoch + 254] {
                assert!(!one.is_in(&set, other), "epoch {epoch} in {other}");
            }
            assert!(!handshake(2).is_in(&set, epoch));
        }
        assert!(!one.is_in(&[0; ENTRIES_PER_SET], 0));
    }

    fn unused(one: &Handshake, set: &Set, current: u64) -> u64 {
        one.unused_epoch(current, |entry| set.contains(&entry))
    }

    #[test]
    fn a_client_with_the_same_isn_gets_a_cookie_of_another_epoch() {
        let one = handshake(1);
        for current in [100u64, 255, 256] {
            let mut set = [0; ENTRIES_PER_SET];
            for expected in [current, current + 1, current - 1] {
                let epoch = unused(&one, &set, current);
                assert_eq!(epoch, expected);
                set[replaceable_slot(&set, current)] = one.entry(epoch);
            }
            assert_eq!(unused(&one, &set, current), current, "none is left");
            assert_eq!(unused(&one, &set, current + 3), current + 3, "expired");
            assert_eq!(unused(&handshake(2), &set, current), current);
        }
    }

    #[test]
    fn another_isn_or_event_is_another_handshake() {
        for server in [Address::v4(1), Address([1, 2, 3, 4])] {
            let flow = FlowKey::new(server, 1, server, 80);
            let one = Handshake::new(&KEY, &flow, 7, Event::Connected);
            assert_ne!(one, Handshake::new(&KEY, &flow, 8, Event::Connected));
            assert_ne!(one, Handshake::new(&KEY, &flow, 7, Event::StaleReset));
        }
    }

    #[test]
    fn expired_entries_are_replaced_before_the_oldest() {
        let mut set = [0; ENTRIES_PER_SET];
        for number in 0..ENTRIES_PER_SET as u32 {
            let at = replaceable_slot(&set, 100);
            assert_eq!(set[at], 0);
            set[at] = handshake(number).entry(if number == 5 { 99 } else { 100 });
        }
        assert_eq!(replaceable_slot(&set, 100), 5);
        set[9] = handshake(9).entry(97);
        assert_eq!(replaceable_slot(&set, 100), 9);
    }

    #[test]
    fn many_handshakes_are_remembered_with_few_false_positives() {
        let mut sets = vec![[0; ENTRIES_PER_SET]; SETS];
        let million = 1_000_000;
        for one in (0..million).map(handshake) {
            let set = &mut sets[one.set as usize];
            set[replaceable_slot(set, 100)] = one.entry(100);
        }
        let known = |range: core::ops::Range<u32>| {
            let one = |number| handshake(number).is_in(&sets[handshake(number).set as usize], 100);
            range.filter(|number| one(*number)).count()
        };
        let remembered = known(0..million);
        assert_eq!(remembered, million as usize);
        // Each look-up compares two entries of 24 bits.
        let mistaken = known(million..2 * million);
        assert!(mistaken < 10, "{mistaken}");
    }
}

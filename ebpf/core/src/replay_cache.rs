//! Which handshakes have had their connection: a valid ACK opens one once, however often it arrives.
//!
//! A table of sets, each a cache line of sixteen entries; an entry is a fingerprint of 24 bits and the low 8 bits of its
//! epoch. An entry counts as long as a cookie of that epoch is accepted, and is room for another afterwards: nobody
//! has to clear anything, and it works while no process runs. An entry is one aligned word, so it is read and written
//! whole; when two CPUs write in the same place at once, one of the two is forgotten.
//!
//! Beside the two Bloom filters that would do the same: as much memory, one cache line instead of some, a hundredth
//! of the false positives, no time at which one is emptied while others write to it; and where there is no room the oldest are
//! forgotten (a replay opens one connection that its sender cannot use) where a filter would refuse clients.

use crate::flow::FlowKey;
use crate::siphash::Hasher;

/// Sets of the table, a power of two: 8 MiB. Sixteen thousand connections a second, for the 64 s in which a cookie is
/// accepted, are a million entries, of which one in a thousand finds its set full.
pub const SETS: usize = 1 << 17;
/// Marks of a set.
pub const ENTRIES_PER_SET: usize = 16;

/// One set: a cache line. Zero is no entry.
pub type Set = [u32; ENTRIES_PER_SET];

/// What is remembered of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// It has its connection.
    Assigned = 1,
    /// An older connection on its ports was reset.
    StaleReset = 2,
    /// It was given to the kernel when that may have had no room for its connection.
    MaybeAssigned = 3,
}

/// Where a handshake is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The set, below [`SETS`].
    pub set: u32,
    /// In the upper 24 bits, not zero.
    fingerprint: u32,
}

impl Handshake {
    /// The place of a client's ISN on its ports, under a random `key`.
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

    /// Whether its set has an entry of it that counts in the `current` epoch.
    #[inline(always)]
    pub fn is_in(&self, set: &Set, current: u64) -> bool {
        set.iter()
            .any(|entry| entry & !0xff == self.fingerprint && entry_age(*entry, current) < EXPIRED)
    }

    /// Where its entry is in its set, whatever its age.
    #[inline(always)]
    pub fn slot_in(&self, set: &Set) -> Option<usize> {
        set.iter()
            .position(|entry| entry & !0xff == self.fingerprint)
    }

    /// The entry to write for a cookie of `epoch`.
    #[inline(always)]
    pub const fn entry(&self, epoch: u64) -> u32 {
        self.fingerprint | epoch as u8 as u32
    }
}

/// Where the next entry of a set goes: in place of none, or of one that does not count any more, or of the oldest.
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

/// From this [`entry_age`] on an entry does not count.
const EXPIRED: u8 = 3;

/// Epochs since an entry's cookie was accepted first, one before its own (`AckFields::cookie_epoch`).
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
        Handshake::new(&KEY, &flow, number.wrapping_mul(7), Event::Assigned)
    }

    #[test]
    fn a_mark_counts_as_long_as_its_cookie() {
        let one = handshake(1);
        for epoch in [0, 100, 255, 256, 58_000_001] {
            let mut set = [0; ENTRIES_PER_SET];
            set[replaceable_slot(&set, epoch)] = one.entry(epoch);
            for current in [epoch.wrapping_sub(1), epoch, epoch + 1] {
                assert!(one.is_in(&set, current), "epoch {epoch} in {current}");
            }
            for current in [epoch + 2, epoch + 3, epoch + 100, epoch + 254] {
                assert!(!one.is_in(&set, current), "epoch {epoch} in {current}");
            }
            assert!(!handshake(2).is_in(&set, epoch));
        }
        assert!(!one.is_in(&[0; ENTRIES_PER_SET], 0));
    }

    #[test]
    fn another_isn_and_another_event_are_others() {
        for server in [Address::v4(1), Address([1, 2, 3, 4])] {
            let flow = FlowKey::new(server, 1, server, 80);
            let one = Handshake::new(&KEY, &flow, 7, Event::Assigned);
            assert_ne!(one, Handshake::new(&KEY, &flow, 8, Event::Assigned));
            assert_ne!(one, Handshake::new(&KEY, &flow, 7, Event::StaleReset));
        }
    }

    #[test]
    fn what_is_over_gives_way_first_and_then_the_oldest() {
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
    fn a_million_are_remembered_and_next_to_nobody_is_mistaken() {
        let mut sets = vec![[0; ENTRIES_PER_SET]; SETS];
        let million = 1_000_000;
        for one in (0..million).map(handshake) {
            let set = &mut sets[one.set as usize];
            set[replaceable_slot(set, 100)] = one.entry(100);
        }
        let known = |range: core::ops::Range<u32>| {
            let one = |number| handshake(number).is_in(&sets[handshake(number).set as usize], 101);
            range.filter(|number| one(*number)).count()
        };
        let remembered = known(0..million);
        assert!(remembered > 998_000, "{remembered}");
        // 8 of 2^24 each.
        let mistaken = known(million..2 * million);
        assert!(mistaken < 10, "{mistaken}");
    }
}

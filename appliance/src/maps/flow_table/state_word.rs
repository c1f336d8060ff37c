//! The state word of an entry: state, window shift or generation, flags, and owner.

use std::sync::atomic::Ordering::{Acquire, SeqCst};

use synward_core::layout::owner::{self, BUSY};
use synward_core::layout::state;

use super::{OpeningEntry, STATE, WORDS};
use crate::maps::atomics::AtomicU32;

/// State word of a way that a thread is about to fill or has emptied. The XDP program ignores its state.
pub(in crate::maps) const CLAIMED: u32 = u32::from_ne_bytes([state::EMPTY, 0, 0, BUSY]);

/// The state word of an opening.
pub(super) fn opening_word(opening: &OpeningEntry) -> u32 {
    let (owner, _) = owner::of(opening.worker);
    u32::from_ne_bytes([state::OPENING, opening.generation, 0, owner])
}

/// The state word of an entry that a thread is changing.
pub(super) const fn busy(state: u8) -> u32 {
    u32::from_ne_bytes([state, 0, 0, BUSY])
}

/// Exchanges the owner in a state word that is still `expected`.
pub(super) fn with_owner(words: &[AtomicU32; WORDS], expected: u32, owner: u8) -> bool {
    let [state, shift, flags, _] = expected.to_ne_bytes();
    let new = u32::from_ne_bytes([state, shift, flags, owner]);
    words[STATE]
        .compare_exchange(expected, new, SeqCst, Acquire)
        .is_ok()
}

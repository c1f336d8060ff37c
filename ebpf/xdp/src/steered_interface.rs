//! How the interface of a frame is steered, if it is.

use crate::maps;
use synward_core::layout::{Interface, MAX_INTERFACES, side};

/// How the interface of that index is steered; its slot is stored in `slot`. The slot is read back from there as a number
/// that the verifier knows nothing about, so that it verifies all that follows once and not once for each slot.
#[inline(always)]
pub fn find_steered(index: u32, slot: &mut u32) -> Option<&'static Interface> {
    let interfaces = maps::INTERFACES.get(0)?;
    *slot = MAX_INTERFACES;
    for (known_slot, known) in interfaces.index.iter().enumerate() {
        if *known == index {
            *slot = known_slot as u32;
            break;
        }
        if *known == 0 {
            break;
        }
    }
    // SAFETY: a live object; volatile, or the compiler would use the number that it still has in a register.
    let slot = unsafe { core::ptr::read_volatile(slot) };
    if slot >= MAX_INTERFACES {
        return None;
    }
    interfaces.interface.get(slot as usize)
}

/// Whether the program is attached to the interface of that index, so that it may redirect frames to it.
#[inline(always)]
pub fn is_steered(index: u32) -> bool {
    let Some(interfaces) = maps::INTERFACES.get(0) else {
        return false;
    };
    interfaces.index.iter().any(|known| *known == index)
}

/// Whether the interface of that index is steered, and transmits frames in several buffers that are redirected to it.
#[inline(always)]
pub fn takes_frags(index: u32) -> bool {
    let Some(interfaces) = maps::INTERFACES.get(0) else {
        return false;
    };
    let known = interfaces.index.iter().zip(&interfaces.interface);
    known
        .filter(|(known, _)| **known == index)
        .any(|(_, interface)| interface.side & side::TAKES_FRAGS != 0)
}

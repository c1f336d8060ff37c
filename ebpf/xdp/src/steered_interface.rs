//! Which interface a frame is on, and whether one is steered at all.

use crate::maps;
use crate::packet::Packet;
use synward_core::layout::{Interface, MAX_INTERFACES};

/// How the interface of that index is steered. Its slot is noted in the packet on the way: from there it comes back to
/// the verifier as some number, which spares it a look at all that follows for each slot.
#[inline(always)]
pub fn find_steered(index: u32, packet: &mut Packet) -> Option<&'static Interface> {
    let interfaces = maps::INTERFACES.get(0)?;
    packet.slot = MAX_INTERFACES;
    for (slot, known) in interfaces.index.iter().enumerate() {
        if *known == index {
            packet.slot = slot as u32;
            break;
        }
        if *known == 0 {
            break;
        }
    }
    // SAFETY: a field of a live object; volatile, or the compiler would take the number from where it has it still.
    let slot = unsafe { core::ptr::read_volatile(&raw const packet.slot) };
    if slot >= MAX_INTERFACES {
        return None;
    }
    interfaces.interface.get(slot as usize)
}

/// Whether frames that leave by the interface of that index arrive where the program is as well.
#[inline(always)]
pub fn is_steered(index: u32) -> bool {
    let Some(interfaces) = maps::INTERFACES.get(0) else {
        return false;
    };
    interfaces.index.iter().any(|known| *known == index)
}

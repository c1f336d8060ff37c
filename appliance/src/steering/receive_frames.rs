//! How large the UMEM frames of an interface must be, so that its driver receives whole packets in them.

use synward_core::wire::ethernet;

use super::driver_table::facts_of;
use super::native_refusal::most_mtu;
use crate::afxdp::Chunk;
use crate::kernel;

/// The size of the frames for sockets on an interface with this MTU.
///
/// Some NICs round the room of a frame down (`DriverFacts::buffer_step`): of
/// 1,792 bytes igb uses 1,024, and receives a longer packet cut in two. Nothing counts that.
pub fn frame_size(interface: &str, mtu: u32) -> Chunk {
    let driver = kernel::driver(interface).unwrap_or_default();
    size_for(facts_of(&driver).map_or(1, |facts| facts.buffer_step), mtu)
}

/// Whether frames, and a program loaded, for MTU `had` serve `has` as well.
pub(super) fn has_same_frames(interface: &str, had: u32, has: u32) -> bool {
    let driver = kernel::driver(interface).unwrap_or_default();
    let step = facts_of(&driver).map_or(1, |facts| facts.buffer_step);
    let most = one_frame_mtu(&driver).min(most_mtu(&driver));
    size_for(step, had) == size_for(step, has) && (has <= most || had > most)
}

/// The largest MTU of which a packet fits one UMEM frame that a driver fills.
pub(crate) fn one_frame_mtu(driver: &str) -> u32 {
    let step = facts_of(driver).map_or(1, |facts| facts.buffer_step);
    room(Chunk::Bytes4096, step) - HEADERS
}

/// Whether a packet of this MTU fits one UMEM frame. A longer one reaches no socket whole: the program cuts it.
pub fn fits_one_frame(interface: &str, mtu: u32) -> bool {
    mtu <= one_frame_mtu(&kernel::driver(interface).unwrap_or_default())
}

/// Bytes of a frame in front of the IP packet.
const HEADERS: u32 = (ethernet::LENGTH + ethernet::MAX_TAGS * ethernet::TAG_LENGTH) as u32;

/// Bytes of a UMEM frame that a NIC fills that counts them in this step.
fn room(chunk: Chunk, step: u32) -> u32 {
    chunk.packet_room() / step * step
}

fn size_for(step: u32, mtu: u32) -> Chunk {
    if room(Chunk::Bytes2048, step) >= mtu + HEADERS {
        Chunk::Bytes2048
    } else {
        Chunk::Bytes4096
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_a_packet_of_the_mtu_whatever_the_nic_rounds_down() {
        for (step, mtu, expected) in [
            (1, 1500, Chunk::Bytes2048),
            (1, 1770, Chunk::Bytes2048),
            (1, 1771, Chunk::Bytes4096),
            (1, 3506, Chunk::Bytes4096),
            (1024, 1002, Chunk::Bytes2048),
            (1024, 1003, Chunk::Bytes4096),
            (1024, 1500, Chunk::Bytes4096),
        ] {
            assert_eq!(size_for(step, mtu), expected, "{step}, MTU {mtu}");
        }
    }

    #[test]
    fn intels_gigabit_nics_round_down() {
        for driver in ["igb", "igc", "ixgbe"] {
            let step = facts_of(driver).map(|facts| facts.buffer_step);
            assert_eq!(step, Some(1024), "{driver}");
        }
    }
}

//! How large the UMEM frames of an interface must be, so that its driver receives whole packets in them.

use synward_core::wire::ethernet;

use super::driver_table::facts_of;
use crate::afxdp::Chunk;
use crate::kernel;

/// The size of the frames for sockets on an interface with this MTU.
///
/// Some NICs round the room of a frame down ([`DriverFacts::buffer_step`](super::driver_table::DriverFacts::buffer_step)): of
/// 1,792 bytes igb uses 1,024, and receives a longer packet cut in two. Nothing counts that.
pub fn frame_size(interface: &str, mtu: u32) -> Chunk {
    let driver = kernel::driver(interface).unwrap_or_default();
    size_for(facts_of(&driver).map_or(1, |facts| facts.buffer_step), mtu)
}

fn size_for(step: u32, mtu: u32) -> Chunk {
    let tags = ethernet::MAX_TAGS * ethernet::TAG_LENGTH;
    let packet = mtu + (ethernet::LENGTH + tags) as u32;
    let room = |chunk: Chunk| chunk.packet_room() / step * step;
    if room(Chunk::Bytes2048) >= packet {
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

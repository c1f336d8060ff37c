//! The frame of the self-test.

use synward_core::wire::ethernet::{self, Mac};

/// `ETH_P_802_EX1`: local experimental EtherType 1 (IEEE 802). Nothing listens to it.
const EXPERIMENTAL: u16 = 0x88b5;

/// Bytes of the shortest Ethernet frame, without its checksum.
pub(super) const LENGTH: usize = 60;

/// A frame from an interface to itself.
pub(super) fn probe_frame(mac: Mac) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    frame[..6].copy_from_slice(&mac);
    frame[6..12].copy_from_slice(&mac);
    frame[12..ethernet::LENGTH].copy_from_slice(&EXPERIMENTAL.to_be_bytes());
    frame
}

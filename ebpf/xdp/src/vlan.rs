//! Frames of VLANs that this machine has no device for.

use crate::maps;
use crate::packet::Packet;
use synward_core::layout::{ANY_VLAN, VlanTags};

/// Whether the kernel of this machine ignores a frame because of its VLAN tags (`__netif_receive_skb_core` marks it as for
/// another host if `vlan_do_receive` finds no device). A tag with VID 0 needs no device.
#[inline(always)]
pub fn is_foreign(packet: &Packet, interface: u32) -> bool {
    packet.vlan != 0 && !has_device(packet.vlan, interface)
}

#[inline(never)]
fn has_device(vlan: u64, interface: u32) -> bool {
    let has = |tags| {
        let key = VlanTags {
            tags,
            interface,
            reserved: 0,
        };
        // SAFETY: the value is not read.
        unsafe { maps::VLANS.get(&key) }.is_some()
    };
    has(vlan) || has(ANY_VLAN)
}

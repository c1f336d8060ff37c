//! What the programs know of the network around this machine: neighbours, VLANs, its own addresses.

use crate::wire::Address;

/// A neighbour that the XDP program could not send to, because the kernel has no hardware address of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Its address.
    pub address: Address,
    /// The kernel's index of the interface that it is on.
    pub interface: u32,
}

/// The most neighbours that wait to be resolved ([`NextHop`]).
pub const MAX_UNRESOLVED: u32 = 256;

/// VLAN tags for which this machine has a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanTags {
    /// The tags, see [`push_vlan_tag`]; [`ANY_VLAN`]: whatever they are.
    pub tags: u64,
    /// The kernel's index of the interface that the frames arrive on.
    pub interface: u32,
    /// Padding, zero.
    pub reserved: u32,
}

/// As [`VlanTags::tags`]: the interface is a port of a bridge, which forwards tagged frames without a device for them.
pub const ANY_VLAN: u64 = 0;

/// Adds a tag behind those before it, the outermost first. A tag with VID 0 says nothing but a priority and is not added.
#[inline(always)]
pub const fn push_vlan_tag(tags: u64, protocol: u16, control: u16) -> u64 {
    match control & 0xfff {
        0 => tags,
        vid => tags << 32 | (protocol as u64) << 16 | vid as u64,
    }
}

/// The most entries of [`VlanTags`].
pub const MAX_VLANS: u32 = 8192;

/// The most addresses and broadcast addresses of this machine that are known as sources of no client.
pub const MAX_OWN_SOURCES: u32 = 4096;

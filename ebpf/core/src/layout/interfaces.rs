//! The steered interfaces: where each leads, and who answers the SYNs of its queues.

use crate::queue_set::QueueSet;

/// The most interfaces that are steered.
pub const MAX_INTERFACES: u32 = 32;

/// A steered interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// See [`side`].
    pub side: u32,
    /// Its row of sockets: queue q has the socket `slot * MAX_QUEUES + q`.
    pub slot: u32,
    /// The queues on which a worker answers the SYNs, not the XDP program.
    pub afxdp: QueueSet,
}

/// All steered interfaces. They are few: a linear search is faster than a hash.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Their kernel indices (ifindex), by slot; 0 from the first free slot on.
    pub index: [u32; MAX_INTERFACES as usize],
    /// How each of them is steered, by slot.
    pub interface: [Interface; MAX_INTERFACES as usize],
}

/// Bits of [`Interface::side`]: where an interface leads, and what it can do.
pub mod side {
    /// Clients are reached through this interface.
    pub const OUTSIDE: u32 = 1;
    /// Servers are reached through this interface.
    pub const INSIDE: u32 = 2;
    /// It transmits frames in several buffers that are redirected to it.
    pub const TAKES_FRAGS: u32 = 4;
}

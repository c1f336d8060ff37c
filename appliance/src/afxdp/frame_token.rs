//! The move-only token for one chunk of a UMEM.

use std::fmt;

use xsk_rs::FrameDesc;

/// One frame of a port's UMEM: a packet, or room for one.
///
/// It is neither `Clone` nor `Copy`, and only a [`Port`](super::Port) creates one: holding it proves that
/// neither the kernel nor other code uses its bytes. Return it with
/// [`Port::transmit`](super::Port::transmit) or [`Port::release`](super::Port::release). A frame
/// that is dropped instead stays unusable until its port closes (visible as a growing
/// [`FrameAccount::held`](super::FrameAccount::held)).
#[must_use = "a frame that is neither transmitted nor released is lost to its port"]
pub struct Frame {
    pub(super) desc: FrameDesc,
    pub(super) length: u16,
    pub(super) port: PortId,
}

impl Frame {
    /// Length of the packet in bytes, from its Ethernet header on. 0 for a frame from
    /// [`Port::allocate`](super::Port::allocate).
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Sets the length of the packet. A length beyond the frame's room is cut to the room when
    /// reading bytes, and rejected by [`Port::transmit`](super::Port::transmit).
    #[inline]
    pub fn set_len(&mut self, length: u16) {
        self.length = length;
    }

    /// The port whose UMEM contains this frame.
    #[inline]
    pub fn port(&self) -> PortId {
        self.port
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frame({} bytes at {:#x} of port {})",
            self.length,
            self.desc.addr(),
            self.port.0
        )
    }
}

/// Identifies a port within the process; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortId(pub(super) u32);

//! How a segment leaves: over which interface, behind which frame header.

use synward_core::generated_segment::Segment;
use synward_core::wire::ethernet;
use synward_core::worker_request::Hop;

/// Bytes of the longest frame header: Ethernet and two tags.
pub const MAX_HEADER: usize = ethernet::LENGTH + ethernet::MAX_TAGS * ethernet::TAG_LENGTH;

/// The way to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index; 0: not known, the kernel has to send.
    pub interface: u32,
    header: [u8; MAX_HEADER],
    length: u8,
}

impl Link {
    /// The kernel finds the way.
    pub const KERNEL: Self = Self {
        interface: 0,
        header: [0; MAX_HEADER],
        length: 0,
    };

    /// Back to the sender of a frame: its header, stations swapped, tags kept. `header` is everything
    /// before the IP header; a longer one than two tags make is left to the kernel.
    pub fn reverse(interface: u32, header: &[u8]) -> Self {
        if header.len() < ethernet::LENGTH || header.len() > MAX_HEADER {
            return Self::KERNEL;
        }
        let mut link = Self {
            interface,
            length: header.len() as u8,
            ..Self::KERNEL
        };
        link.header[..header.len()].copy_from_slice(header);
        link.header[..12].rotate_left(6);
        link
    }

    /// To the next hop that the XDP program looked up.
    pub fn to_hop(hop: &Hop, v4: bool) -> Self {
        if hop.interface == 0 {
            return Self::KERNEL;
        }
        let mut link = Self {
            interface: hop.interface,
            length: ethernet::LENGTH as u8,
            ..Self::KERNEL
        };
        let ethertype = if v4 { ethernet::IPV4 } else { ethernet::IPV6 };
        link.header[..6].copy_from_slice(&hop.to);
        link.header[6..12].copy_from_slice(&hop.from);
        link.header[12..14].copy_from_slice(&ethertype.to_be_bytes());
        link
    }

    /// The frame header.
    pub fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.length)]
    }
}

/// Where the engine's segments go.
pub trait Out {
    /// Sends a segment; what cannot be sent is counted there and lost, as on any link.
    fn send(&mut self, link: &Link, segment: &Segment, payload: &[u8]);

    /// Sends a whole IP packet through the kernel's routing.
    fn send_by_kernel(&mut self, packet: &[u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_keeps_tags() {
        let header = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 0, 5, 8, 0];
        let link = Link::reverse(7, &header);
        assert_eq!(
            link.header(),
            [2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0x81, 0, 0, 5, 8, 0]
        );
        assert_eq!(Link::reverse(7, &header[..13]), Link::KERNEL);
    }
}

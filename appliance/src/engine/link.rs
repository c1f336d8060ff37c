//! The path of an outgoing segment: interface, frame header and TTL.

use synward_core::generated_segment::Segment;
use synward_core::wire::ethernet;
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::Ipv6;
use synward_core::worker_request::Hop;

/// Length of the longest frame header: Ethernet and two VLAN tags.
pub const MAX_HEADER: usize = ethernet::LENGTH + ethernet::MAX_TAGS * ethernet::TAG_LENGTH;

/// The path to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index; 0 if unknown: the kernel sends.
    pub interface: u32,
    header: [u8; MAX_HEADER],
    length: u8,
    /// TTL or hop limit of the packets.
    ttl: u8,
}

impl Link {
    /// The kernel routes the packet.
    pub const KERNEL: Self = Self {
        interface: 0,
        header: [0; MAX_HEADER],
        length: 0,
        ttl: ipv4::TTL,
    };

    /// The path back to the sender of a frame: its header with swapped MAC addresses and the same VLAN tags.
    /// `header` is everything before the IP header. With more than two tags, the kernel sends.
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

    /// The path to the next hop that the XDP program looked up.
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

    /// The same path with another TTL or hop limit.
    pub const fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The path of `back`, with the TTL of this one, if the kernel has routed so far.
    pub fn or_learned(self, back: Option<Self>) -> Self {
        match back {
            Some(back) if self.interface == 0 => back.with_ttl(self.ttl),
            _ => self,
        }
    }

    /// Writes the packet that takes this path to the start of `packet`, and returns its length in bytes; `None` if it does
    /// not fit.
    pub fn emit(&self, segment: &Segment, packet: &mut [u8], payload: &[u8]) -> Option<usize> {
        let length = segment.emit(packet, payload)?;
        if segment.source.is_v4() {
            Ipv4(packet.first_chunk_mut::<20>()?).set_ttl(self.ttl);
        } else {
            Ipv6(packet.first_chunk_mut::<40>()?).set_hop_limit(self.ttl);
        }
        Some(length)
    }

    /// The frame header.
    pub fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.length)]
    }
}

/// The output of the engine.
pub trait Out {
    /// Sends a segment. If that fails, the implementation counts the segment and drops it, as a link may.
    fn send(&mut self, link: &Link, segment: &Segment, payload: &[u8]);

    /// Sends an IP packet through the kernel, which routes it.
    fn send_by_kernel(&mut self, packet: &[u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reverse_path_keeps_vlan_tags() {
        let header = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 0, 5, 8, 0];
        let link = Link::reverse(7, &header);
        assert_eq!(
            link.header(),
            [2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0x81, 0, 0, 5, 8, 0]
        );
        assert_eq!(Link::reverse(7, &header[..13]), Link::KERNEL);
    }
}

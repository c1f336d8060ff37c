//! A segment whose data the XDP program has cut off, because the frame was too long for a socket.

use synward_core::wire::checksum::{Sum, pseudo_header};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::tcp::{self, Tcp, flags};

/// Makes such a segment, which the packet's lengths and checksums do not fit any more, a whole one without data. Its sender
/// retransmits what was cut off. Any other packet stays as it is.
///
/// The checksum over the data cannot be verified any more, and need not: what is kept was verified by the cookie, or only
/// repeats it, and a driver that cuts frames leaves other lengths than exactly the headers.
pub fn complete(packet: &mut [u8], l4: usize) {
    let _ = try_complete(packet, l4);
}

fn try_complete(packet: &mut [u8], l4: usize) -> Option<()> {
    let length = packet.len();
    let header = Tcp(packet.get(l4..)?.first_chunk::<{ tcp::LENGTH }>()?).header_length();
    if length != l4 + header {
        return None;
    }
    let bare = u16::try_from(length).ok()?;
    let segment = u16::try_from(header).ok()?;
    let (source, destination) = if packet.first()? >> 4 == 4 {
        let ip = packet.first_chunk_mut::<{ ipv4::LENGTH }>()?;
        let whole = Ipv4(&*ip).total_length();
        if whole <= bare {
            return None;
        }
        let checksum = Sum(0).replace_u16(whole, bare).update([ip[10], ip[11]]);
        ip[2..4].copy_from_slice(&bare.to_be_bytes());
        ip[10..12].copy_from_slice(&checksum);
        (Ipv4(&*ip).source(), Ipv4(&*ip).destination())
    } else {
        let ip = packet.first_chunk_mut::<{ ipv6::LENGTH }>()?;
        let payload = bare.checked_sub(ipv6::LENGTH as u16)?;
        if Ipv6(&*ip).payload_length() <= payload {
            return None;
        }
        ip[4..6].copy_from_slice(&payload.to_be_bytes());
        (Ipv6(&*ip).source(), Ipv6(&*ip).destination())
    };
    let tcp = &mut packet[l4..];
    // They stand behind the data.
    tcp[13] &= !(flags::FIN | flags::PSH);
    tcp[16..18].fill(0);
    let checksum = pseudo_header(&source, &destination, segment)
        .bytes(tcp)
        .checksum();
    tcp[16..18].copy_from_slice(&checksum);
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::received::Received;
    use etherparse::{PacketBuilder, SlicedPacket};

    fn packets(data: &[u8]) -> [(Vec<u8>, usize); 2] {
        let v4 = PacketBuilder::ipv4([198, 51, 100, 2], [192, 0, 2, 10], 64);
        let v6 = PacketBuilder::ipv6([1; 16], [2; 16], 64);
        [(v4, 20), (v6, 40)].map(|(builder, l4)| {
            let mut packet = Vec::new();
            builder
                .tcp(1000, 80, 7, 500)
                .ack(9)
                .fin()
                .psh()
                .options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
                .unwrap()
                .write(&mut packet, data)
                .unwrap();
            (packet, l4)
        })
    }

    #[test]
    fn what_was_cut_off_is_not_missing_any_more() {
        for (mut packet, l4) in packets(&[5; 8000]) {
            packet.truncate(l4 + 32);
            assert!(Received::read(&packet, 0, l4).is_none());
            complete(&mut packet, l4);
            let segment = Received::read(&packet, 0, l4).unwrap();
            assert!(segment.is_intact());
            assert_eq!((segment.sequence, segment.payload.len()), (7, 0));
            assert_eq!(segment.flags, flags::ACK);
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            if let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum);
            }
        }
    }

    #[test]
    fn other_packets_stay_as_they_are() {
        for data in [&[5; 100][..], &[]] {
            for (packet, l4) in packets(data) {
                for length in [packet.len(), l4 + 31, l4, 3, 0] {
                    let mut cut = packet[..length].to_vec();
                    complete(&mut cut, l4);
                    assert_eq!(cut, packet[..length]);
                }
            }
        }
    }
}

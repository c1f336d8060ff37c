//! Frames, taken apart by etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice};

use crate::frame_builder::hex;

/// A frame with a TCP segment, taken apart. Its checksums are right.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    /// VLAN identifiers.
    pub(crate) vlans: Vec<u16>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) tcp: TcpHeader,
    pub(crate) payload: Vec<u8>,
    /// Bytes behind the IP packet.
    pub(crate) trailing: usize,
}

/// Reads a frame; panics if it holds no TCP segment with right checksums.
pub(crate) fn read(frame: &[u8]) -> Read {
    let sliced = SlicedPacket::from_ethernet(frame)
        .unwrap_or_else(|error| panic!("{error}: {}", hex(frame)));
    let Some(TransportSlice::Tcp(slice)) = &sliced.transport else {
        panic!("no TCP: {}", hex(frame));
    };
    let tcp = slice.to_header();
    let payload = slice.payload().to_vec();
    let vlans: Vec<u16> = sliced.vlan_ids().iter().map(|id| id.value()).collect();
    let link = 14 + 4 * vlans.len();
    let (source, destination, ttl, dont_fragment, checksum, length) = match sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(
                header.header_checksum,
                header.calc_header_checksum(),
                "IPv4 checksum"
            );
            (
                IpAddr::from(header.source),
                IpAddr::from(header.destination),
                header.time_to_live,
                header.dont_fragment,
                tcp.calc_checksum_ipv4(&header, &payload).unwrap(),
                usize::from(header.total_len),
            )
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            (
                IpAddr::from(header.source),
                IpAddr::from(header.destination),
                header.hop_limit,
                true,
                tcp.calc_checksum_ipv6(&header, &payload).unwrap(),
                usize::from(header.payload_length) + 40,
            )
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(tcp.checksum, checksum, "TCP checksum");
    let mac = |at: usize| frame[at..at + 6].try_into().unwrap();
    Read {
        to: mac(0),
        from: mac(6),
        vlans,
        source: SocketAddr::new(source, tcp.source_port),
        destination: SocketAddr::new(destination, tcp.destination_port),
        ttl,
        dont_fragment,
        trailing: frame.len() - link - length,
        tcp,
        payload,
    }
}

/// The options that are more than padding.
pub(crate) fn options(tcp: &TcpHeader) -> Vec<TcpOptionElement> {
    let all: Result<Vec<_>, _> = tcp.options_iterator().collect();
    all.unwrap()
        .into_iter()
        .filter(|option| *option != TcpOptionElement::Noop)
        .collect()
}

/// TSval and TSecr.
pub(crate) fn timestamps(tcp: &TcpHeader) -> Option<(u32, u32)> {
    options(tcp).into_iter().find_map(|option| match option {
        TcpOptionElement::Timestamp(tsval, tsecr) => Some((tsval, tsecr)),
        _ => None,
    })
}

/// TSval and TSecr in an options area.
pub(crate) fn timestamps_of(options: &[u8]) -> Option<(u32, u32)> {
    let mut tcp = TcpHeader::default();
    tcp.set_options_raw(options).unwrap();
    timestamps(&tcp)
}

//! Frames, built by etherparse, which also reads them (`frame_reader`): an oracle that shares no line with the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, TcpHeader};

pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

pub(crate) const CLIENTS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 40_001),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2)),
        40_001,
    ),
];
pub(crate) const SERVERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 80),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 0x10)),
        80,
    ),
];

/// VLAN tags of a frame, as in [`Segment::tags`]: none, one, or two, the outer a service tag (802.1ad).
pub(crate) const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 7)], &[(0x88a8, 100), (0x8100, 7)]];

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const ECE: u8 = 64;
pub(crate) const CWR: u8 = 128;

/// A TCP segment in a frame, to be built.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    /// VLAN tags, the outer one first: (protocol, tag).
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    /// IPv4 options, a multiple of four bytes.
    pub(crate) ip_options: Vec<u8>,
    /// IPv6 extension headers before TCP: (number, whole header with a next-header byte to be set).
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    /// AE of AccECN, in the byte before the flags (RFC 9768 §3.1.1); the former NS.
    pub(crate) accurate_ecn: bool,
    pub(crate) window: u16,
    /// TCP options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Bytes behind the IP packet.
    pub(crate) padding: usize,
}

impl Segment {
    /// A client's segment; family 0 is IPv4, 1 is IPv6.
    pub(crate) fn from_client(family: usize, flags: u8) -> Self {
        Self {
            to: OUT_MAC,
            from: CLIENT_MAC,
            tags: vec![],
            source: CLIENTS[family],
            destination: SERVERS[family],
            ttl: 61,
            dont_fragment: true,
            ip_options: vec![],
            extensions: vec![],
            sequence: 0xffff_fffe,
            acknowledgement: 0,
            flags,
            accurate_ecn: false,
            window: 64_240,
            options: vec![],
            payload: vec![],
            padding: 0,
        }
    }

    /// A client's SYN with these TCP options.
    pub(crate) fn syn(family: usize, options: Vec<u8>) -> Self {
        Self {
            options,
            ..Self::from_client(family, SYN)
        }
    }

    /// A SYN of Linux.
    pub(crate) fn linux_syn(family: usize) -> Self {
        Self::syn(family, stack::linux())
    }

    /// A client's ACK without a cookie.
    pub(crate) fn ack_without_cookie(family: usize) -> Self {
        Self {
            acknowledgement: 9,
            ..Self::from_client(family, ACK)
        }
    }

    /// A server's segment.
    pub(crate) fn from_server(family: usize, flags: u8) -> Self {
        Self {
            to: IN_MAC,
            from: SERVER_MAC,
            source: SERVERS[family],
            destination: CLIENTS[family],
            ..Self::from_client(family, flags)
        }
    }

    /// The TCP header without its checksum.
    fn tcp(&self) -> TcpHeader {
        let mut tcp = TcpHeader::new(
            self.source.port(),
            self.destination.port(),
            self.sequence,
            self.window,
        );
        tcp.acknowledgment_number = self.acknowledgement;
        (tcp.fin, tcp.syn, tcp.rst) = (
            self.flags & FIN != 0,
            self.flags & SYN != 0,
            self.flags & RST != 0,
        );
        (tcp.psh, tcp.ack) = (self.flags & PSH != 0, self.flags & ACK != 0);
        (tcp.ece, tcp.cwr) = (self.flags & ECE != 0, self.flags & CWR != 0);
        tcp.ns = self.accurate_ecn;
        tcp.set_options_raw(&self.options).unwrap();
        assert_eq!(
            tcp.options.len(),
            self.options.len(),
            "TCP options come in words of four bytes"
        );
        tcp
    }

    /// TCP header and payload with the right checksum.
    pub(crate) fn segment(&self) -> Vec<u8> {
        let mut tcp = self.tcp();
        tcp.checksum = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                tcp.calc_checksum_ipv4_raw(source.octets(), destination.octets(), &self.payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                tcp.calc_checksum_ipv6_raw(source.octets(), destination.octets(), &self.payload)
            }
            mixed => panic!("{mixed:?}"),
        }
        .unwrap();
        let mut bytes = tcp.to_bytes().to_vec();
        bytes.extend(&self.payload);
        bytes
    }

    /// The IP packet around any payload: its last header says that the payload is `protocol`.
    pub(crate) fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = Ipv4Header::new(
                    0,
                    self.ttl,
                    IpNumber(protocol),
                    source.octets(),
                    destination.octets(),
                )
                .unwrap();
                ip.dont_fragment = self.dont_fragment;
                ip.options = Ipv4Options::try_from(&self.ip_options[..]).unwrap();
                ip.set_payload_len(payload.len()).unwrap();
                ip.header_checksum = ip.calc_header_checksum();
                let mut bytes = ip.to_bytes().to_vec();
                bytes.extend(payload);
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let numbers: Vec<u8> = self
                    .extensions
                    .iter()
                    .map(|(number, _)| *number)
                    .chain([protocol])
                    .collect();
                let mut rest = vec![];
                for ((_, header), next) in self.extensions.iter().zip(&numbers[1..]) {
                    rest.extend(header);
                    let at = rest.len() - header.len();
                    rest[at] = *next;
                }
                rest.extend(payload);
                let mut ip = Ipv6Header {
                    next_header: IpNumber(numbers[0]),
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                ip.set_payload_length(rest.len()).unwrap();
                let mut bytes = ip.to_bytes().to_vec();
                bytes.extend(rest);
                bytes
            }
            mixed => panic!("{mixed:?}"),
        }
    }

    /// The whole frame around an IP packet.
    pub(crate) fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let mut bytes = [self.to, self.from].concat();
        for (protocol, tag) in &self.tags {
            bytes.extend(protocol.to_be_bytes());
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend(if self.source.is_ipv4() {
            [0x08, 0x00]
        } else {
            [0x86, 0xdd]
        });
        bytes.extend(packet);
        bytes.resize(bytes.len() + self.padding, 0);
        bytes
    }

    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frame(&self.packet(6, &self.segment()))
    }
}

/// `NOP NOP TS`.
pub(crate) fn padded_timestamps(tsval: u32, tsecr: u32) -> Vec<u8> {
    [
        &[1, 1, 8, 10][..],
        &tsval.to_be_bytes(),
        &tsecr.to_be_bytes(),
    ]
    .concat()
}

/// SYNs of the fast path and of the general path.
pub(crate) fn syns_of_both_paths() -> [Segment; 3] {
    let with = |family, options| Segment {
        options,
        ..Segment::from_client(family, SYN)
    };
    [
        with(0, stack::linux()),
        with(0, vec![]),
        with(1, stack::linux()),
    ]
}

/// Options of SYNs as the stacks send them.
pub(crate) mod stack {
    use super::padded_timestamps;

    /// MSS 1460, SACK, TS, NOP, wscale 7.
    pub(crate) fn linux() -> Vec<u8> {
        [
            &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 77, 0, 0, 0, 0][..],
            &[1, 3, 3, 7],
        ]
        .concat()
    }

    /// MSS 1460, NOP, wscale 8, NOP, NOP, SACK; no timestamps.
    pub(crate) fn windows() -> Vec<u8> {
        vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]
    }

    /// MSS 1460, NOP, wscale 6, NOP, NOP, TS, SACK, EOL.
    pub(crate) fn macos() -> Vec<u8> {
        [
            &[2, 4, 5, 180, 1, 3, 3, 6][..],
            &padded_timestamps(77, 0),
            &[4, 2, 0, 0],
        ]
        .concat()
    }
}

/// Bytes, readable.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|line| {
            line.iter()
                .map(|byte| format!("{byte:02x} "))
                .collect::<String>()
                + "\n"
        })
        .collect()
}

pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

//! Frame templates: whole segments, in which the fields that the XDP program fills in are zero.

use std::net::{IpAddr, SocketAddr};

use super::flood_options::Profile;
use crate::device::Mac;

const ETHERNET: usize = 14;
const MSS_BESIDE_IPV4: u16 = 1460;
const MSS_BESIDE_IPV6: u16 = 1440;
/// Ethernet's shortest frame without its check sequence (IEEE 802.3).
const SHORTEST: usize = 60;

/// `WORDS` of bench/ebpf/src/flood/flood_plan.rs, eight bytes each.
pub(super) const LONGEST: usize = 13 * 8;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A frame with zero for source address, source port, numbers, TSval, TSecr and checksums.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    /// Where the TSval starts in the frame.
    pub(super) tsval: Option<usize>,
    /// Sum of the IPv4 header's 16-bit words in memory order, not folded; 0 for IPv6.
    pub(super) ip_sum: u32,
    /// The same sum of pseudo-header and TCP header.
    pub(super) tcp_sum: u32,
}

impl Segment {
    /// A SYN with the profile's options.
    pub(super) fn syn(from: Mac, to: Mac, destination: SocketAddr, profile: Profile) -> Self {
        let mss = match destination.ip() {
            IpAddr::V4(_) => MSS_BESIDE_IPV4,
            IpAddr::V6(_) => MSS_BESIDE_IPV6,
        };
        let (options, tsval) = syn_options(profile, mss);
        Self::new(from, to, destination, SYN, 64240, &options, tsval)
    }

    /// An ACK without data, optionally with timestamps.
    pub(super) fn ack(from: Mac, to: Mac, destination: SocketAddr, timestamps: bool) -> Self {
        let options: &[u8] = if timestamps {
            &[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]
        } else {
            &[]
        };
        Self::new(
            from,
            to,
            destination,
            ACK,
            502,
            options,
            timestamps.then_some(4),
        )
    }

    /// A frame that is sent unchanged; even length, at most [`LONGEST`] bytes.
    pub(super) fn exact(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            tsval: None,
            ip_sum: 0,
            tcp_sum: 0,
        }
    }

    fn new(
        from: Mac,
        to: Mac,
        destination: SocketAddr,
        flags: u8,
        window: u16,
        options: &[u8],
        tsval: Option<usize>,
    ) -> Self {
        let tcp = tcp_header(destination.port(), flags, window, options);
        let (ethertype, ip, address) = match destination.ip() {
            IpAddr::V4(address) => (
                0x0800_u16,
                ipv4_header(address.octets(), tcp.len()),
                address.octets().to_vec(),
            ),
            IpAddr::V6(address) => (
                0x86dd,
                ipv6_header(address.octets(), tcp.len()),
                address.octets().to_vec(),
            ),
        };
        let pseudo = sum(&address) + sum(&[0, 6]) + sum(&(tcp.len() as u16).to_be_bytes());
        let mut bytes = [&to[..], &from, &ethertype.to_be_bytes(), &ip, &tcp].concat();
        bytes.resize(bytes.len().max(SHORTEST), 0);
        Self {
            bytes,
            tsval: tsval.map(|at| ETHERNET + ip.len() + 20 + at),
            ip_sum: if destination.is_ipv4() { sum(&ip) } else { 0 },
            tcp_sum: pseudo + sum(&tcp),
        }
    }
}

/// A SYN's options, a multiple of four bytes, and where in them the TSval is (always at an even place).
fn syn_options(profile: Profile, mss: u16) -> (Vec<u8>, Option<usize>) {
    let mut options = vec![2, 4];
    options.extend(mss.to_be_bytes());
    let (rest, tsval): (&[u8], _) = match profile {
        Profile::Linux => (&[4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7], Some(8)),
        Profile::Windows => (&[1, 3, 3, 8, 1, 1, 4, 2], None),
        Profile::Macos => (
            &[1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0],
            Some(12),
        ),
        Profile::Old => (&[], None),
        Profile::Bare => return (Vec::new(), None),
    };
    options.extend(rest);
    (options, tsval)
}

fn tcp_header(port: u16, flags: u8, window: u16, options: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header[12] = ((20 + options.len()) as u8 / 4) << 4;
    header[13] = flags;
    header[14..16].copy_from_slice(&window.to_be_bytes());
    header.extend(options);
    header
}

fn ipv4_header(destination: [u8; 4], payload: usize) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + payload as u16).to_be_bytes());
    header[6] = 0x40; // do not fragment
    header[8] = 64;
    header[9] = 6;
    header[16..20].copy_from_slice(&destination);
    header
}

fn ipv6_header(destination: [u8; 16], payload: usize) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[6] = 6;
    header[7] = 64;
    header[24..40].copy_from_slice(&destination);
    header
}

/// Sum of 16-bit words in memory order, of an even number of bytes.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]])))
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PROFILES: [(Profile, usize); 5] = [
        (Profile::Linux, 74),
        (Profile::Windows, 66),
        (Profile::Macos, 78),
        (Profile::Old, 60),
        (Profile::Bare, 60),
    ];

    #[test]
    fn frames_have_the_length_of_their_profile() {
        for (profile, length) in PROFILES {
            let segment = Segment::syn([2; 6], [4; 6], "192.0.2.10:80".parse().unwrap(), profile);
            assert_eq!(segment.bytes.len(), length, "{profile:?}");
        }
        let segment = Segment::syn(
            [2; 6],
            [4; 6],
            "[2001:db8::1]:80".parse().unwrap(),
            Profile::Macos,
        );
        assert_eq!(
            segment.bytes.len(),
            98,
            "the longest one fits the program's thirteen words"
        );
    }

    #[test]
    fn options_are_whole_and_the_tsval_is_where_it_is_said_to_be() {
        for (profile, _) in PROFILES {
            let (options, tsval) = syn_options(profile, 1460);
            assert_eq!(options.len() % 4, 0, "{profile:?}");
            let mut found = None;
            let mut at = 0;
            while at < options.len() {
                match options[at] {
                    0 => break,
                    1 => at += 1,
                    kind => {
                        if kind == 8 {
                            found = Some(at + 2);
                        }
                        at += usize::from(options[at + 1]);
                    }
                }
            }
            assert_eq!(found, tsval, "{profile:?}");
            assert!(tsval.is_none_or(|at| at % 2 == 0), "{profile:?}");
        }
    }
}

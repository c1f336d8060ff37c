//! Fills in what varies from SYN to SYN, as bench/ebpf/src/flood/flood_frame.rs does in XDP.

use synward_core::wire::checksum::Sum;

use super::frame_template::Segment;
use super::prefix::Prefix;
use crate::order::Order;

const IPV4_SOURCE: usize = 14 + 12;
const IPV4_CHECKSUM: usize = 14 + 10;
const TCP_OVER_IPV4: usize = 14 + 20;
const IPV6_SOURCE: usize = 14 + 8;
const TCP_OVER_IPV6: usize = 14 + 40;

/// Writes a random source, source port, ISN and TSval into a copy of the template, and the checksums.
pub(super) fn vary(frame: &mut [u8], template: &Segment, sources: &Prefix, random: &mut Order) {
    let (source_at, words, tcp) = match sources.is_ipv4() {
        true => (IPV4_SOURCE, 2, TCP_OVER_IPV4),
        false => (IPV6_SOURCE, 8, TCP_OVER_IPV6),
    };
    let (fixed, mask) = sources.words();
    let mut source = 0;
    for word in 0..words {
        let value = fixed[word] | random.next() as u16 & mask[word];
        source += put(frame, source_at + 2 * word, value);
    }
    if sources.is_ipv4() {
        put(frame, IPV4_CHECKSUM, checksum(template.ip_sum + source));
    }
    let bits = random.next();
    let port = 1024 + (bits >> 48) * (65536 - 1024) / 65536;
    let mut sum = template.tcp_sum + source + put(frame, tcp, (port as u16).to_be());
    sum += put_u32(frame, tcp + 4, bits as u32);
    if let Some(tsval) = template.tsval {
        sum += put_u32(frame, tsval, random.next() as u32);
    }
    put(frame, tcp + 16, checksum(sum));
}

/// Writes two bytes; returns what they add to a checksum.
fn put(frame: &mut [u8], at: usize, value: u16) -> u32 {
    frame[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    value.into()
}

fn put_u32(frame: &mut [u8], at: usize, value: u32) -> u32 {
    put(frame, at, value as u16) + put(frame, at + 2, (value >> 16) as u16)
}

/// The checksum field for a sum of words in memory order.
fn checksum(sum: u32) -> u16 {
    !Sum::default().word(sum).fold()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use synward_core::wire::Address;
    use synward_core::wire::checksum::segment_is_intact;
    use synward_core::wire::ipv4::Ipv4;
    use synward_core::wire::ipv6::Ipv6;

    use super::super::flood_options::Profile;
    use super::*;

    /// Source and destination, and the TCP segment without Ethernet's padding.
    fn parts<'a>(frame: &'a [u8], template: &Segment, v4: bool) -> (Address, Address, &'a [u8]) {
        let (tcp, source, destination) = if v4 {
            let ip = Ipv4(frame[14..].first_chunk().unwrap());
            (TCP_OVER_IPV4, ip.source(), ip.destination())
        } else {
            let ip = Ipv6(frame[14..].first_chunk().unwrap());
            (TCP_OVER_IPV6, ip.source(), ip.destination())
        };
        let length = usize::from(template.bytes[tcp + 12] >> 4) * 4;
        (source, destination, &frame[tcp..tcp + length])
    }

    #[test]
    fn frames_have_right_checksums_and_sources_of_the_prefix() {
        for (to, sources) in [
            ("192.0.2.10:80", "10.32.0.0/11"),
            ("[2001:db8:5::10]:80", "2001:db8:f::/48"),
        ] {
            let (to, sources): (std::net::SocketAddr, Prefix) =
                (to.parse().unwrap(), sources.parse().unwrap());
            let mut random = Order::new(3);
            for profile in [
                Profile::Linux,
                Profile::Windows,
                Profile::Macos,
                Profile::Old,
                Profile::Bare,
            ] {
                let template = Segment::syn([2; 6], [4; 6], to, profile);
                let mut seen = std::collections::BTreeSet::new();
                for _ in 0..100 {
                    let mut frame = template.bytes.clone();
                    vary(&mut frame, &template, &sources, &mut random);
                    let (source, destination, tcp) = parts(&frame, &template, to.is_ipv4());
                    assert!(
                        segment_is_intact(&source, &destination, tcp),
                        "{profile:?} {to}"
                    );
                    match std::net::IpAddr::from(source) {
                        std::net::IpAddr::V4(source) => {
                            assert_eq!(u32::from(source) >> 21, 0x0a20_0000 >> 21);
                            let words = frame[14..34].chunks_exact(2);
                            let sum =
                                words.map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])));
                            assert_eq!(checksum(sum.sum()), 0, "IPv4 header");
                        }
                        std::net::IpAddr::V6(source) => {
                            assert_eq!(source.segments()[..3], [0x2001, 0xdb8, 0xf]);
                        }
                    }
                    assert!(u16::from_be_bytes([tcp[0], tcp[1]]) >= 1024);
                    seen.insert(frame);
                }
                assert_eq!(seen.len(), 100, "no two alike");
            }
        }
    }
}

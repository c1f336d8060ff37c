//! The headers of a packet as the kernel's helpers for cookies read them, without extension headers and options.

use crate::packet::Packet;

/// What the helpers read of a packet: version and addresses of the IP header; ports, numbers, flags and MSS of the TCP
/// header.
pub struct Headers {
    pub ip: [u32; 10],
    pub tcp: [u32; 6],
}

/// Bytes of [`Headers::ip`].
pub const IP_BYTES: u32 = 40;
/// Bytes of [`Headers::tcp`].
pub const TCP_BYTES: u32 = 24;

/// The headers of `packet`, with `mss` as the only option.
#[inline(always)]
pub fn headers(packet: &Packet, mss: u16) -> Headers {
    let ([a, b, c, d], [e, f, g, h]) = (packet.source.0, packet.destination.0);
    let ip = if packet.v4 {
        [word(0x45, 0, 0, 0), 0, 0, d, h, 0, 0, 0, 0, 0]
    } else {
        [word(0x60, 0, 0, 0), 0, a, b, c, d, e, f, g, h]
    };
    let (from, to) = (
        packet.source_port.to_be_bytes(),
        packet.destination_port.to_be_bytes(),
    );
    let [high, low] = mss.to_be_bytes();
    let tcp = [
        word(from[0], from[1], to[0], to[1]),
        packet.sequence.to_be(),
        packet.acknowledgement.to_be(),
        word((TCP_BYTES as u8 / 4) << 4, packet.flags, 0, 0),
        0,
        // The MSS option (RFC 9293 §3.7.1).
        word(2, 4, high, low),
    ];
    Headers { ip, tcp }
}

#[inline(always)]
fn word(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_ne_bytes([a, b, c, d])
}

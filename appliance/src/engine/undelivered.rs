//! ICMP errors that say that a SYN was not delivered to its server.

use synward_core::flow::FlowKey;
use synward_core::wire::Address;
use synward_core::wire::checksum::Sum;
use synward_core::wire::icmp::{self, Failure, failure_v4, failure_v6};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::protocol;

/// An error about a TCP segment that a client has sent, or that we have sent in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// The flow of the segment.
    pub(super) key: FlowKey,
    /// SEG.SEQ.
    pub(super) sequence: u32,
    /// Why it was not delivered.
    pub(super) failure: Failure,
}

impl Undelivered {
    /// Reads an IP packet with the ICMP header at `at`. `None` for anything else, also with a wrong checksum.
    pub(super) fn read(packet: &[u8], at: usize) -> Option<Self> {
        let (message, quoted) = (packet.get(at..)?, packet.get(at + icmp::LENGTH..)?);
        let [kind, code, ..] = *message.first_chunk::<{ icmp::LENGTH }>()?;
        let is_v4 = packet.first()? >> 4 == 4;
        let (source, destination, l4) = if is_v4 {
            let outer = Ipv4(packet.first_chunk::<{ ipv4::LENGTH }>()?);
            let message = message.get(..usize::from(outer.total_length()).checked_sub(at)?)?;
            let ip = Ipv4(quoted.first_chunk::<{ ipv4::LENGTH }>()?);
            let is_sound = is_intact(Sum(0), message) && ip.protocol() == protocol::TCP;
            is_sound.then_some((ip.source(), ip.destination(), ip.header_length()))?
        } else {
            let outer = Ipv6(packet.first_chunk::<{ ipv6::LENGTH }>()?);
            let length = ipv6::LENGTH + usize::from(outer.payload_length());
            let message = message.get(..length.checked_sub(at)?)?;
            let ip = Ipv6(quoted.first_chunk::<{ ipv6::LENGTH }>()?);
            let sum = pseudo_header(&outer.source(), &outer.destination(), message.len());
            let is_sound = is_intact(sum, message) && ip.next_header() == protocol::TCP;
            is_sound.then_some((ip.source(), ip.destination(), ipv6::LENGTH))?
        };
        let failure = if is_v4 {
            failure_v4(kind, code)
        } else {
            failure_v6(kind, code)
        };
        let [a, b, c, d, sequence @ ..] =
            *quoted.get(l4..)?.first_chunk::<{ icmp::QUOTED_TCP }>()?;
        Some(Self {
            key: FlowKey::new(
                source,
                u16::from_be_bytes([a, b]),
                destination,
                u16::from_be_bytes([c, d]),
            ),
            sequence: u32::from_be_bytes(sequence),
            failure: failure?,
        })
    }
}

/// Whether the checksum of a message is right; `start` is the sum over its pseudo header.
fn is_intact(start: Sum, message: &[u8]) -> bool {
    start.bytes(message).fold() == u16::MAX
}

/// The sum over the pseudo header of ICMPv6 (RFC 8200 §8.1).
fn pseudo_header(source: &Address, destination: &Address, length: usize) -> Sum {
    Sum(0)
        .address(source)
        .address(destination)
        .u32(length as u32)
        .u32(ipv6::ICMP.into())
}

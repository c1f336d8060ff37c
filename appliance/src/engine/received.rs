//! Parses a received segment.

use synward_core::flow::FlowKey;
use synward_core::wire::Address;
use synward_core::wire::checksum::{segment_is_intact, segment_is_unfinished};
use synward_core::wire::ipv4::Ipv4;
use synward_core::wire::ipv6::Ipv6;
use synward_core::wire::tcp::{self, Tcp};
use synward_core::wire::tcp_options::Options;

use super::stats::Outcome;

/// A TCP segment in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The sender.
    pub source: Address,
    /// The receiver.
    pub destination: Address,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// SEG.SEQ.
    pub sequence: u32,
    /// SEG.ACK.
    pub acknowledgement: u32,
    /// The flags, see [`tcp::flags`].
    pub flags: u8,
    /// SEG.WND, unscaled.
    pub window: u16,
    /// The options.
    pub options: Options,
    /// The data.
    pub payload: &'a [u8],
    /// The whole segment, header and data.
    whole: &'a [u8],
}

/// TTL or hop limit of an IP packet; 0 if it is cut short.
pub fn received_ttl(packet: &[u8]) -> u8 {
    let at = if packet.first().is_some_and(|first| first >> 4 == 4) {
        8
    } else {
        7
    };
    packet.get(at).copied().unwrap_or(0)
}

impl<'a> Received<'a> {
    /// Reads the segment at `l4` of a frame whose IP header is at `l3`. Returns `None` if the frame is truncated
    /// or its lengths contradict each other. Excludes padding after the IP packet.
    pub fn read(frame: &'a [u8], l3: usize, l4: usize) -> Option<Self> {
        let ip = frame.get(l3..)?;
        let (source, destination, length) = match ip.first()? >> 4 {
            4 => {
                let header = Ipv4(ip.first_chunk::<20>()?);
                (
                    header.source(),
                    header.destination(),
                    usize::from(header.total_length()),
                )
            }
            6 => {
                let header = Ipv6(ip.first_chunk::<40>()?);
                (
                    header.source(),
                    header.destination(),
                    40 + usize::from(header.payload_length()),
                )
            }
            _ => return None,
        };
        Self::parse_segment(source, destination, frame.get(l4..l3 + length)?)
    }

    /// Reads a whole TCP segment without its IP header.
    pub fn parse_segment(source: Address, destination: Address, whole: &'a [u8]) -> Option<Self> {
        let header = Tcp(whole.first_chunk::<{ tcp::LENGTH }>()?);
        let options = whole.get(tcp::LENGTH..header.header_length())?;
        Some(Self {
            source,
            destination,
            source_port: header.source(),
            destination_port: header.destination(),
            sequence: header.sequence(),
            acknowledgement: header.acknowledgement(),
            flags: header.flags(),
            window: header.window(),
            options: Options::of(options),
            payload: &whole[header.header_length()..],
            whole,
        })
    }

    /// Whether the TCP checksum is correct. Nothing has verified it before.
    pub fn is_intact(&self) -> bool {
        segment_is_intact(&self.source, &self.destination, self.whole)
    }

    /// How to count the segment if its checksum is wrong.
    pub fn checksum_fault(&self) -> Option<Outcome> {
        if self.is_intact() {
            return None;
        }
        let unfinished = segment_is_unfinished(&self.source, &self.destination, self.whole);
        Some(if unfinished {
            Outcome::UnfinishedChecksum
        } else {
            Outcome::BadChecksum
        })
    }

    /// Length of the segment, header and data, without the padding of a short frame.
    pub fn length(&self) -> usize {
        self.whole.len()
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The flow of this segment if its client sent it.
    pub fn sent_by_client(&self) -> FlowKey {
        FlowKey::new(
            self.source,
            self.source_port,
            self.destination,
            self.destination_port,
        )
    }

    /// The flow of this segment if its server sent it.
    pub fn sent_by_server(&self) -> FlowKey {
        FlowKey::new(
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
        )
    }
}

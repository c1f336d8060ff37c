//! The frames of a batch, laid out as in a UMEM.

use synward_core::generated_segment::Segment;
use synward_core::wire::tcp::{Repr, flags};
use synward_core::wire::{Address, ethernet};

/// Frames of a batch.
pub(super) const BATCH: usize = 64;
/// Offset of the IP header, and of the TCP header behind it.
pub(super) const L3: usize = ethernet::LENGTH;

/// Bytes of a chunk, and of the headroom.
const CHUNK: usize = 2048;
const HEADROOM: usize = 256;

/// Offset of the TCP header.
pub(super) const fn l4(v4: bool) -> usize {
    L3 + if v4 { 20 } else { 40 }
}

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Linux,
    Windows,
    Mac,
    /// Options whose order and values differ for every SYN.
    Odd,
}

impl Client {
    /// The options of its SYN; `number` makes its SYNs differ.
    fn options(self, number: u32) -> Vec<u8> {
        let [a, b, c, d] = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        match self {
            Self::Linux => vec![
                2, 4, 5, 0xb4, 4, 2, 8, 10, a, b, c, d, 0, 0, 0, 0, 1, 3, 3, 7,
            ],
            Self::Windows => vec![2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
            Self::Mac => vec![
                2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0, 4, 2, 0, 0,
            ],
            Self::Odd => vec![4, 2, 2, 4, 2 + a % 8, b, 1, 3, 3, c % 15, 1, 1],
        }
    }
}

/// The packets of one batch, and the memory in which they are processed.
#[derive(Clone)]
pub(super) struct Frames {
    pub(super) v4: bool,
    packets: Vec<Vec<u8>>,
    memory: Vec<[u8; CHUNK]>,
}

impl Frames {
    fn new(v4: bool, packet: impl FnMut(u32) -> Vec<u8>) -> Self {
        let mut frames = Self {
            v4,
            packets: (0..BATCH as u32).map(packet).collect(),
            memory: vec![[0; CHUNK]; BATCH],
        };
        frames.restore();
        frames
    }

    /// SYNs, each from another client; the clients' systems follow in a fixed random order.
    pub(super) fn syns(v4: bool, clients: &[Client]) -> Self {
        Self::new(v4, |number| {
            let at = number.wrapping_mul(0x85eb_ca6b) >> 13;
            let client = clients[at as usize % clients.len()];
            let tcp = Repr {
                sequence: number.wrapping_mul(0xc2b2_ae35),
                acknowledgement: 0,
                flags: flags::SYN,
                ..header(number)
            };
            frame(v4, number, tcp, &client.options(number))
        })
    }

    /// ACKs for the SYN-ACKs that `answer` writes: ISN + 1 and TSecr.
    pub(super) fn acks(&self, answer: impl Fn(&mut [u8], usize)) -> Self {
        Self::new(self.v4, |number| {
            let syn = &self.packets[number as usize];
            let mut room = syn.clone();
            room.resize(CHUNK, 0);
            answer(&mut room, syn.len());
            let at = l4(self.v4);
            let be32 = |bytes: &[u8], at: usize| {
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            let tcp = Repr {
                sequence: be32(syn, at + 4).wrapping_add(1),
                acknowledgement: be32(&room, at + 4).wrapping_add(1),
                flags: flags::ACK,
                ..header(number)
            };
            // A SYN-ACK with timestamps has 40 bytes of header or more.
            let mut options = Vec::new();
            if room[at + 12] >> 4 >= 9 {
                options.extend([1, 1, 8, 10, 0, 0, 0, 9]);
                options.extend(&room[at + 28..at + 32]);
            }
            frame(self.v4, number, tcp, &options)
        })
    }

    /// Segments of flows, with timestamps and without data, which translation does not read.
    pub(super) fn segments(v4: bool) -> Self {
        Self::new(v4, |number| {
            let tcp = Repr {
                sequence: number,
                acknowledgement: 7,
                flags: flags::ACK | flags::PSH,
                ..header(number)
            };
            let options = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];
            frame(v4, number, tcp, &options)
        })
    }

    /// Restores the packets.
    pub(super) fn restore(&mut self) {
        for (chunk, packet) in self.memory.iter_mut().zip(&self.packets) {
            chunk[HEADROOM..HEADROOM + packet.len()].copy_from_slice(packet);
        }
    }

    /// Each packet's length, and its room to the end of the chunk.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (usize, &mut [u8])> {
        let rooms = self.memory.iter_mut().map(|chunk| &mut chunk[HEADROOM..]);
        self.packets.iter().map(Vec::len).zip(rooms)
    }
}

fn header(number: u32) -> Repr {
    Repr {
        source: 1024 + number as u16,
        destination: 443,
        sequence: 0,
        acknowledgement: 0,
        flags: 0,
        window: 64240,
        options: 0,
    }
}

/// A frame from client `number`.
fn frame(v4: bool, number: u32, tcp: Repr, options: &[u8]) -> Vec<u8> {
    let client = number.wrapping_mul(0x9e37_79b9) | 1;
    let (source, destination) = if v4 {
        (Address::v4(client), Address::v4(7))
    } else {
        (Address([0x20, 1, 2, client]), Address([0x20, 1, 3, 7]))
    };
    // The options are written as data and then added to the header length. The checksum is wrong, but is not read here.
    let segment = Segment {
        source,
        destination,
        tcp,
        options: [0; 5],
    };
    let mut room = vec![0; CHUNK];
    let l3 = L3;
    let end = segment.emit(&mut room[l3..], options).unwrap_or_default();
    room[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    let ethertype = if v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    room[12..14].copy_from_slice(&ethertype.to_be_bytes());
    room[l4(v4) + 12] = ((20 + options.len()) << 2) as u8;
    room.truncate(l3 + end);
    room
}

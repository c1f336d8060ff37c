//! The XDP program's requests to a worker: metadata in front of the frame (`bpf_xdp_adjust_meta`). Some drivers carry no
//! metadata. Their frames get a *front* instead (`bpf_xdp_adjust_head`), which the worker takes off.

use crate::client_options::ClientOptions;
use crate::layout::Profile;
use crate::wire::ethernet::{self, Mac};
use crate::wire::header_bytes::put;

/// The longest IP packet that a worker takes, bytes. Of a longer one it gets only the headers.
pub const LONGEST_PACKET: u16 = 2048;

/// The next hop that `bpf_fib_lookup` found for a new connection. It is aligned and each field is, because the verifier
/// allows no unaligned access to the stack.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// MAC address of the next hop.
    pub to: Mac,
    /// Index of the interface to send from; 0: the next hop is not resolved, and the kernel has to send.
    pub interface: u32,
    /// MAC address of that interface.
    pub from: Mac,
}

/// What the worker has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answer this SYN.
    Answer {
        /// What the SYN-ACK may offer.
        profile: Profile,
    },
    /// The ACK has a valid cookie: open a connection to the server.
    Open {
        /// The client's options that the cookie encodes.
        options: ClientOptions,
        /// What our SYN-ACK offered.
        offered: Profile,
        /// The next hop towards the server.
        hop: Hop,
    },
    /// The client sends more while its opening waits for the server.
    ClientSegment {
        /// Index of the flow entry.
        entry: u32,
    },
    /// The client sent this right behind the ACK that completed its handshake: the flow has no entry yet that XDP finds.
    BehindAck,
    /// The server answers an opening.
    ServerSegment {
        /// Index of the flow entry.
        entry: u32,
    },
    /// An ICMP error says that the SYN of an opening was not delivered to the server. [`Meta::l4`] is the offset of the ICMP
    /// header.
    Undelivered {
        /// Index of the flow entry.
        entry: u32,
    },
}

/// A [`Request`] and the fields that all requests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The request.
    pub request: Request,
    /// Offset of the IP header in the frame.
    pub l3: u8,
    /// Offset of the TCP header in the frame.
    pub l4: u8,
    /// Index of the service, below [`MAX_SERVICES`](crate::layout::MAX_SERVICES).
    pub service: u16,
}

/// Bits of a service in the first word of an encoded [`Meta`]; the kind takes the next four.
const SERVICE_BITS: u32 = 12;
const _: () = assert!(crate::layout::MAX_SERVICES <= 1 << SERVICE_BITS);

/// Words of an encoded [`Meta`]: 32 bytes, the most metadata that older kernels accept.
pub const META_WORDS: usize = 8;
/// Bytes of an encoded [`Meta`].
pub const META_BYTES: usize = META_WORDS * 4;

/// Bytes of a front before its request: an Ethernet header and padding, all zero.
const FRONT_HEADER: usize = 16;
/// Bytes of a front. Frames with the EtherType 0 have one: the program redirects no others of that type, because it parses
/// only IPv4 and IPv6.
pub const FRONT_BYTES: usize = FRONT_HEADER + META_BYTES;

/// Writes the front for an encoded [`Meta`].
#[inline(always)]
pub fn write_front(front: &mut [u8; FRONT_BYTES], words: &[u32; META_WORDS]) {
    put(front, 0, [0; FRONT_HEADER]);
    for (index, word) in words.iter().enumerate() {
        put(front, FRONT_HEADER + 4 * index, word.to_ne_bytes());
    }
}

/// The words of the front of a received frame; `None` if it has none.
#[inline(always)]
pub fn read_front(frame: &[u8]) -> Option<[u32; META_WORDS]> {
    let front = frame.first_chunk::<FRONT_BYTES>()?;
    if ethernet::Ethernet(front.first_chunk()?).ethertype() != 0 {
        return None;
    }
    Some(meta_words(front.last_chunk()?))
}

/// The words of an encoded [`Meta`] from its bytes.
#[inline(always)]
pub fn meta_words(bytes: &[u8; META_BYTES]) -> [u32; META_WORDS] {
    core::array::from_fn(|index| {
        let at = 4 * index;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    })
}

impl Profile {
    #[inline(always)]
    const fn to_words(self) -> [u32; 2] {
        [
            (self.mss as u32) << 16 | self.window as u32,
            (self.window_scale as u32) << 8 | self.flags as u32,
        ]
    }

    #[inline(always)]
    const fn from_words(words: [u32; 2]) -> Self {
        Self {
            mss: (words[0] >> 16) as u16,
            window: words[0] as u16,
            window_scale: (words[1] >> 8) as u8,
            flags: words[1] as u8,
            reserved: [0; 2],
        }
    }
}

impl Meta {
    /// The words to put in front of the frame. The first holds kind, offsets and service. Profile and options of an `Open`
    /// share two words; the encoded options are the upper half of the second.
    #[inline(always)]
    pub fn encode(&self, v4: bool) -> [u32; META_WORDS] {
        let mut words = [0; META_WORDS];
        let kind: u32 = match self.request {
            Request::Answer { profile } => {
                let profile = profile.to_words();
                words[1] = profile[0];
                words[2] = profile[1];
                1
            }
            Request::Open {
                options,
                offered,
                hop,
            } => {
                let offered = offered.to_words();
                words[1] = offered[0];
                words[2] = offered[1] | (options.encode(v4) as u32) << 16;
                words[3] = hop.interface;
                words[4] = u32::from_ne_bytes([hop.to[0], hop.to[1], hop.to[2], hop.to[3]]);
                words[5] = u32::from_ne_bytes([hop.to[4], hop.to[5], hop.from[0], hop.from[1]]);
                words[6] = u32::from_ne_bytes([hop.from[2], hop.from[3], hop.from[4], hop.from[5]]);
                words[7] = options.mss as u32;
                2
            }
            Request::ClientSegment { entry } => {
                words[1] = entry;
                3
            }
            Request::ServerSegment { entry } => {
                words[1] = entry;
                4
            }
            Request::Undelivered { entry } => {
                words[1] = entry;
                5
            }
            Request::BehindAck => 6,
        };
        words[0] = (self.l4 as u32) << 24
            | (self.l3 as u32) << 16
            | kind << SERVICE_BITS
            | self.service as u32;
        words
    }

    /// The offset of the IP header in an encoded [`Meta`], which tells where the frame says what `v4` is.
    pub const fn ip_offset(words: &[u32; META_WORDS]) -> u8 {
        (words[0] >> 16) as u8
    }

    /// The inverse of [`Self::encode`]; `None` for words that the program did not write.
    pub fn decode(words: &[u32; META_WORDS], v4: bool) -> Option<Self> {
        let [_, _, _, l4] = words[0].to_le_bytes();
        let l3 = Self::ip_offset(words);
        let service = (words[0] & ((1 << SERVICE_BITS) - 1)) as u16;
        let kind = words[0] as u16 >> SERVICE_BITS;
        let request = match kind {
            1 => Request::Answer {
                profile: Profile::from_words([words[1], words[2]]),
            },
            2 => {
                let (a, b, c) = (
                    words[4].to_ne_bytes(),
                    words[5].to_ne_bytes(),
                    words[6].to_ne_bytes(),
                );
                Request::Open {
                    options: ClientOptions {
                        mss: words[7] as u16,
                        ..ClientOptions::decode((words[2] >> 16) as u16, v4)
                    },
                    offered: Profile::from_words([words[1], words[2] & 0xffff]),
                    hop: Hop {
                        interface: words[3],
                        to: [a[0], a[1], a[2], a[3], b[0], b[1]],
                        from: [b[2], b[3], c[0], c[1], c[2], c[3]],
                    },
                }
            }
            3 => Request::ClientSegment { entry: words[1] },
            4 => Request::ServerSegment { entry: words[1] },
            5 => Request::Undelivered { entry: words[1] },
            6 => Request::BehindAck,
            _ => return None,
        };
        Some(Self {
            request,
            l3,
            l4,
            service,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_options::NO_SCALE;

    #[test]
    fn requests_decode_to_what_was_encoded() {
        let options = ClientOptions {
            mss: 1452,
            window_scale: Some(8),
            sack: true,
            ecn: false,
        };
        let hop = Hop {
            interface: 70_000,
            to: [1, 2, 3, 4, 5, 6],
            from: [7, 8, 9, 10, 11, 12],
        };
        let offered = Profile {
            window_scale: NO_SCALE,
            flags: 5,
            mss: 9,
            window: 8,
            reserved: [0; 2],
        };
        for request in [
            Request::Answer { profile: offered },
            Request::Open {
                options,
                offered,
                hop,
            },
            Request::ClientSegment { entry: 0xffff_fff0 },
            Request::ServerSegment { entry: 3 },
            Request::Undelivered { entry: 4 },
        ] {
            for v4 in [true, false] {
                let meta = Meta {
                    request,
                    l3: 14,
                    l4: 54,
                    service: 1023,
                };
                assert_eq!(Meta::decode(&meta.encode(v4), v4), Some(meta));
            }
        }
        assert_eq!(Meta::decode(&[0; META_WORDS], true), None);
    }

    #[test]
    fn a_front_is_told_from_a_frame_and_returns_its_words() {
        let words = core::array::from_fn(|index| 0x0102_0304 << index);
        let mut frame = [0xff; FRONT_BYTES + ethernet::LENGTH];
        write_front(frame.first_chunk_mut().unwrap(), &words);
        assert_eq!(read_front(&frame), Some(words));
        assert_eq!(frame[FRONT_BYTES..], [0xff; ethernet::LENGTH]);
        assert_eq!(read_front(&frame[..FRONT_BYTES - 1]), None, "too short");
        for ethertype in [ethernet::IPV4, ethernet::IPV6, 0x8100, 0x88a8] {
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            assert_eq!(read_front(&frame), None, "{ethertype:#x}");
        }
    }
}

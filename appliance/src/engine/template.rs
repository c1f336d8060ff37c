//! Templates: the parts of a SYN-ACK that do not depend on the individual client.
//!
//! SYNs of one operating system have the same options except for the timestamps, and so have their SYN-ACKs.
//! The code that answers SYNs one by one creates a template once; later SYNs find it by the bytes of their
//! options. So options are decoded, and those of the SYN-ACK chosen, only once.

use synward_core::cookie::{Cookie, TAIL_BYTES};
use synward_core::flow::FlowKey;
use synward_core::layout::Profile;
use synward_core::syn_ack::{Negotiated, Syn};
use synward_core::wire::checksum::Sum;
use synward_core::wire::tcp_options::Options;
use synward_core::wire::{Address, ipv4, ipv6, tcp};

use super::cookie_message::read_word;

/// SYNs with more bytes of options have no template; no common operating system sends more.
pub(super) const LONGEST: usize = 24;
/// Maximum length of TCP header and options of a SYN-ACK.
pub(super) const ANSWER: usize = tcp::LENGTH + 20;
/// Offset of the first word of a TCP header after ports, sequence number and acknowledgement number.
pub(super) const FIXED: usize = 12;

/// The options of a SYN as words of memory. Bytes after the options are ignored.
pub(super) type Area = [u64; LONGEST / 8];

/// What a template depends on apart from the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    profile: u64,
    /// Byte 12 of the TCP header without the reserved bits, byte 13, and whether the family is IPv4.
    shape: u64,
}

/// The bits of a shape that contain the length of the TCP header, in units of 4 bytes · 16.
const HEADER: u64 = 0xf0;
const IPV4: u64 = 1 << 16;

impl Kind {
    /// The kind of SYNs to a server with `profile` whose TCP header has `offset_and_flags` as bytes 12 and 13.
    #[inline(always)]
    pub(super) fn new(profile: &Profile, v4: bool, offset_and_flags: [u8; 2]) -> Self {
        // The order of the fields makes this one load.
        let words = u64::from(profile.mss)
            | u64::from(profile.window) << 16
            | u64::from(profile.window_scale) << 32
            | u64::from(profile.flags) << 40
            | u64::from(profile.reserved[0]) << 48
            | u64::from(profile.reserved[1]) << 56;
        let bytes = u64::from(u16::from_le_bytes(offset_and_flags));
        Self {
            profile: words,
            shape: bytes & (0xff00 | HEADER) | if v4 { IPV4 } else { 0 },
        }
    }

    /// The slot of a template: a hash of the first and the last four bytes of the options, which contain MSS and
    /// window scale in all common layouts.
    #[inline(always)]
    pub(super) fn place(self, first: u32, last: u32) -> usize {
        let ends = u64::from(first) | u64::from(last) << 32;
        let ends = if self.header() == tcp::LENGTH {
            0
        } else {
            ends
        };
        let mixed = (ends ^ self.profile).wrapping_add(self.shape);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
    }

    /// A kind that no SYN has.
    const NONE: Self = Self {
        profile: 0,
        shape: u64::MAX,
    };

    /// Length of the TCP header with options.
    #[inline(always)]
    pub(super) fn header(self) -> usize {
        (self.shape & HEADER) as usize / 4
    }

    fn flags(self) -> u8 {
        self.shape.to_le_bytes()[1]
    }

    fn is_v4(self) -> bool {
        self.shape & IPV4 != 0
    }
}

/// The SYN-ACK for SYNs of a kind with the same options.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Template {
    kind: Kind,
    /// Which bits of the options are compared, and their values.
    mask: Area,
    value: Area,
    /// Offset of the client's TSval in the options; any valid offset without timestamps.
    pub(super) tsval_at: u8,
    /// Which bits of the hash go into our ISN, and the other bits without the epoch.
    pub(super) isn_mask: u32,
    pub(super) isn_terms: u32,
    /// Which bits of both timestamps the template does not determine: all of the client's, and the hash bits of
    /// ours. None without timestamps.
    pub(super) times_mask: u64,
    /// The last word of the cookie message.
    pub(super) tail: u64,
    /// Length of the IP header.
    pub(super) ip_length: u8,
    /// Length of the SYN-ACK from its IP header on.
    pub(super) answer_length: u8,
    /// Initial sums for both checksums: the sums of everything that is in the template.
    pub(super) ip_sum: Sum,
    pub(super) tcp_sum: Sum,
    /// The first words of the IP header, without addresses and checksum.
    pub(super) ip: [u64; 2],
    /// The words of TCP header and options from [`FIXED`] on, and the remainder. Checksum and timestamps are zero,
    /// except for the cookie's constant bits in our timestamp.
    pub(super) tcp: [u64; 3],
    pub(super) rest: u32,
}

impl Template {
    /// A template that matches no SYN.
    pub(super) fn none() -> Self {
        let profile = Profile::default();
        Self {
            kind: Kind::NONE,
            ..Self::new(Kind::new(&profile, true, [0x50, 0]), &[0; 3], &profile)
        }
    }

    /// Creates the template for SYNs of `kind` with these options.
    pub(super) fn new(kind: Kind, area: &Area, profile: &Profile) -> Self {
        let mut bytes = [0; LONGEST];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(area) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let length = kind.header().saturating_sub(tcp::LENGTH).min(LONGEST);
        let options = Options::of(&bytes[..length]);

        let (client, server) = if kind.is_v4() {
            (Address::v4(0), Address::v4(0))
        } else {
            (Address([0; 4]), Address([0; 4]))
        };
        let flow = FlowKey::new(client, 0, server, 0);
        let tsval_at = options.found.timestamps_at();
        let tsval = tsval_at.map(|_| 0);
        let syn = Syn::new(&flow, u32::MAX, kind.flags(), &options.found, tsval);
        let negotiated = Negotiated::new(&syn.options, tsval, profile, kind.is_v4());
        let encoded = negotiated.encoded;
        // A cookie consists of its terms and bits of the hash.
        let [bare, full] = [0, u64::MAX].map(|hash| encoded.into_cookie(hash, 0, 0));
        let numbers = Cookie {
            isn: 0,
            tsval: bare.tsval,
        };
        let segment = negotiated.syn_ack(&flow, syn.isn, numbers, profile);
        let mut packet = [0; ipv6::LENGTH + ANSWER];
        let answer_length = segment.emit(&mut packet, &[]).unwrap_or_default();

        // A checksum is the complement of its sum.
        let mut sum = |at: usize| {
            let checksum = [packet[at], packet[at + 1]];
            packet[at..at + 2].fill(0);
            Sum(u64::from(!u16::from_ne_bytes(checksum)))
        };
        let ip_length = if kind.is_v4() {
            ipv4::LENGTH
        } else {
            ipv6::LENGTH
        };

        let ip_sum = if kind.is_v4() { sum(10) } else { Sum(0) };
        let tcp_sum = sum(ip_length + 16);
        let mut segment = [0; ANSWER];
        segment.copy_from_slice(&packet[ip_length..][..ANSWER]);

        let mut mask = [0; LONGEST];
        mask[..length].fill(0xff);
        // Ignore the values of both timestamps, as parsing the options does.
        if let Some(at) = tsval_at {
            mask[at..at + 8].fill(0);
        }
        let mask = std::array::from_fn(|word| {
            u64::from_ne_bytes(std::array::from_fn(|byte| mask[8 * word + byte]))
        });
        Self {
            kind,
            mask,
            value: std::array::from_fn(|word| area[word] & mask[word]),
            tsval_at: negotiated.tsval.and(tsval_at).unwrap_or_default() as u8,
            isn_mask: bare.isn ^ full.isn,
            isn_terms: bare.isn,
            times_mask: if negotiated.tsval.is_some() {
                u64::from((bare.tsval ^ full.tsval).swap_bytes()) | 0xffff_ffff << 32
            } else {
                0
            },
            tail: encoded.message_tail() | u64::from(flow.hashed_bytes() + TAIL_BYTES) << 56,
            ip_length: ip_length as u8,
            answer_length: answer_length as u8,
            ip_sum,
            tcp_sum,
            ip: [0, 8].map(|at| read_word(&packet, at)),
            tcp: [0, 8, 16].map(|at| read_word(&segment, FIXED + at)),
            rest: (read_word(&segment, FIXED + 20) >> 32) as u32,
        }
    }

    /// Whether this template answers a SYN of `kind` with these options.
    #[inline(always)]
    pub(super) fn matches(&self, kind: &Kind, area: &Area) -> bool {
        let different = (area[0] & self.mask[0]) ^ self.value[0]
            | (area[1] & self.mask[1]) ^ self.value[1]
            | (area[2] & self.mask[2]) ^ self.value[2]
            | kind.profile ^ self.kind.profile
            | kind.shape ^ self.kind.shape;
        different == 0
    }
}

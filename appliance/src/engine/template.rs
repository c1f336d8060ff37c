//! Templates: everything of a SYN-ACK that does not depend on who asks.
//!
//! The SYNs of one system have the same options but for the timestamps, and so have their answers. A
//! template is made once, by the code that answers SYNs one by one, and found again by the options' bytes as
//! they lie in the frame: nobody decodes them, or chooses what to promise, a second time.

use synward_core::cookie::{Cookie, EncodedOptions, TAIL_BYTES};
use synward_core::flow::FlowKey;
use synward_core::layout::Profile;
use synward_core::syn_ack::{Negotiated, Syn};
use synward_core::wire::checksum::Sum;
use synward_core::wire::tcp_options::Options;
use synward_core::wire::{Address, ipv4, ipv6, tcp};

use super::cookie_message::read_word;

/// SYNs with more bytes of options have no template; no common system sends more.
pub(super) const LONGEST: usize = 24;
/// TCP header and options of an answer.
pub(super) const ANSWER: usize = tcp::LENGTH + 20;
/// Where the first word of a TCP header is that holds neither port nor number.
pub(super) const FIXED: usize = 12;

/// The options area of a SYN as words of memory; what lies behind the options is not looked at.
pub(super) type Area = [u64; LONGEST / 8];

/// What a template is for, apart from the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    profile: u64,
    /// The TCP header's byte 12 but for the reserved bits, its byte 13, and whether the family is IPv4.
    shape: u64,
}

/// Where the length of the TCP header is in a shape, in units of 4 bytes · 16.
const HEADER: u64 = 0xf0;
const IPV4: u64 = 1 << 16;

impl Kind {
    /// SYNs whose TCP header's bytes 12 and 13 are `offset_and_flags`, to a server with `profile`.
    #[inline(always)]
    pub(super) fn new(profile: &Profile, v4: bool, offset_and_flags: [u8; 2]) -> Self {
        // In the order of the fields, so that it is one load.
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

    /// Where a template is looked for: a hash of the first and the last four bytes of the options, which
    /// hold MSS and window scale in all common layouts.
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

    /// The kind of no SYN.
    const NONE: Self = Self {
        profile: 0,
        shape: u64::MAX,
    };

    /// Bytes of the TCP header with options.
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

/// How to answer SYNs of a kind.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Template {
    kind: Kind,
    /// Which bits of the options count, and what they are.
    mask: Area,
    value: Area,
    /// Where the client's TSval stands in the options; somewhere in them without timestamps.
    pub(super) tsval_at: u8,
    /// Which bits of the hash go into our ISN, and what stands beside them but for the epoch.
    pub(super) isn_mask: u32,
    pub(super) isn_terms: u32,
    /// Which bits of both timestamps are not in the packet: all of the client's, and those of the hash
    /// in ours. None without timestamps.
    pub(super) times_mask: u64,
    /// The last word of the cookie's message.
    pub(super) tail: u64,
    /// Bytes of the IP header.
    pub(super) ip_length: u8,
    /// Bytes of the answer from its IP header on.
    pub(super) answer_length: u8,
    /// The sums that the checksums of such an answer start from: what is not zero in the packet.
    pub(super) ip_sum: Sum,
    pub(super) tcp_sum: Sum,
    /// The first words of the IP header, without addresses and checksum.
    pub(super) ip: [u64; 2],
    /// The words of TCP header and options from [`FIXED`] on, and what is left behind them: checksum and timestamps
    /// are zero, but for what the cookie says in ours.
    pub(super) tcp: [u64; 3],
    pub(super) rest: u32,
}

impl Template {
    /// For no SYN at all.
    pub(super) fn none() -> Self {
        let profile = Profile::default();
        Self {
            kind: Kind::NONE,
            ..Self::new(Kind::new(&profile, true, [0x50, 0]), &[0; 3], &profile)
        }
    }

    /// The template for SYNs of `kind` with these options.
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
        let negotiated = Negotiated::new(&syn.options, tsval, profile);
        let encoded = EncodedOptions::new(
            &negotiated.options,
            negotiated.tsval.is_some(),
            kind.is_v4(),
        );
        // A cookie is what its terms say, and bits of the hash.
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
        // Both timestamps: they may be anything. A walk steps over them.
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

    /// Whether a SYN of `kind` with these options is answered so.
    #[inline(always)]
    pub(super) fn is_for(&self, kind: &Kind, area: &Area) -> bool {
        let different = (area[0] & self.mask[0]) ^ self.value[0]
            | (area[1] & self.mask[1]) ^ self.value[1]
            | (area[2] & self.mask[2]) ^ self.value[2]
            | kind.profile ^ self.kind.profile
            | kind.shape ^ self.kind.shape;
        different == 0
    }
}

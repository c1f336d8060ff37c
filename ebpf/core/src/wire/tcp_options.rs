//! TCP options (RFC 9293 §3.2, RFC 7323, RFC 2018).
//!
//! Options are parsed in an array of fixed size, of which `length` bytes (at most 40) are in use. One bounded walk finds
//! every option that synward needs and skips the others.

use super::tcp::MAX_OPTIONS;
use super::{be16, be32, put, raw16, raw32};

/// Option kinds.
pub mod kind {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding.
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293 §3.7.1).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 §2.2).
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted (RFC 2018 §2).
    pub const SACK_PERMITTED: u8 = 4;
    /// SACK blocks (RFC 2018 §3).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 §3.2).
    pub const TIMESTAMPS: u8 = 8;
    /// Signature of TCP-MD5 (RFC 2385).
    pub const MD5: u8 = 19;
    /// Signature of TCP-AO (RFC 5925).
    pub const AUTHENTICATION: u8 = 29;
}

/// The options of one header, with room behind them. A position is masked to 63 instead of compared with 40, which the
/// verifier tracks more easily; the bytes behind the options have no meaning.
pub type Bytes = [u8; AREA];
/// Size of [`Bytes`].
pub const AREA: usize = POSITION_MASK + 9;
const POSITION_MASK: usize = 63;

/// The most options that are parsed: all of them, because each has at least one byte. Real stacks send at most eight, padding
/// included.
const MAX_ITEMS: usize = MAX_OPTIONS;
/// The largest window shift; a larger one counts as 14 (RFC 7323 §2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;
/// The position in [`Found`] of an option that is not present.
const NOWHERE: u8 = 0xff;

/// `NOP NOP TS`: how every common stack sends timestamps on an established flow (RFC 7323 appendix A).
pub const PADDED_TIMESTAMPS: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

/// Bytes of the options of a Linux SYN.
pub const LINUX_SYN: usize = 20;

/// The options that a walk found.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    mss: u16,
    window_scale: u8,
    seen: u8,
    timestamps: u8,
    sack: u8,
    sack_blocks: u8,
}

const SEEN_MSS: u8 = 1;
const SEEN_SCALE: u8 = 2;
const SEEN_SACK_PERMITTED: u8 = 4;
const SEEN_SIGNATURE: u8 = 8;

impl Found {
    /// The result of a walk over no options.
    pub const NOTHING: Self = Self {
        mss: 0,
        window_scale: 0,
        seen: 0,
        timestamps: NOWHERE,
        sack: NOWHERE,
        sack_blocks: 0,
    };

    /// The options of a SYN if they have the order of Linux and Android: MSS, SACK permitted, timestamps, NOP, window scale.
    /// `None` otherwise.
    #[inline(always)]
    pub fn of_linux_syn(options: &[u8; LINUX_SYN]) -> Option<Self> {
        const MSS: [u8; 2] = [kind::MSS, 4];
        const SACK_AND_TIMESTAMPS: [u8; 4] = [kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10];
        const SCALE: [u8; 2] = [kind::NOP, kind::WINDOW_SCALE];
        if raw16(options, 0).to_ne_bytes() != MSS
            || raw32(options, 4).to_ne_bytes() != SACK_AND_TIMESTAMPS
            || raw16(options, 16).to_ne_bytes() != SCALE
            || options[18] != 3
        {
            return None;
        }
        Some(Self {
            mss: be16(options, 2),
            window_scale: if options[19] > MAX_WINDOW_SCALE {
                MAX_WINDOW_SCALE
            } else {
                options[19]
            },
            seen: SEEN_MSS | SEEN_SCALE | SEEN_SACK_PERMITTED,
            timestamps: 8,
            sack: NOWHERE,
            sack_blocks: 0,
        })
    }

    /// The MSS in bytes.
    #[inline(always)]
    pub const fn mss(&self) -> Option<u16> {
        if self.seen & SEEN_MSS != 0 {
            Some(self.mss)
        } else {
            None
        }
    }

    /// The window shift, at most 14.
    #[inline(always)]
    pub const fn window_scale(&self) -> Option<u8> {
        if self.seen & SEEN_SCALE != 0 {
            Some(self.window_scale)
        } else {
            None
        }
    }

    /// Whether SACK is permitted.
    #[inline(always)]
    pub const fn sack_permitted(&self) -> bool {
        self.seen & SEEN_SACK_PERMITTED != 0
    }

    /// Whether the segment is signed (TCP-MD5, TCP-AO).
    #[inline(always)]
    pub const fn is_signed(&self) -> bool {
        self.seen & SEEN_SIGNATURE != 0
    }

    /// Offset of TSval in the options; TSecr follows it.
    #[inline(always)]
    pub const fn timestamps_at(&self) -> Option<usize> {
        if self.timestamps != NOWHERE {
            Some(self.timestamps as usize)
        } else {
            None
        }
    }

    /// Offset of the first SACK block and the number of blocks (two 4-byte edges each), at most 4.
    #[inline(always)]
    pub const fn sack_at(&self) -> Option<(usize, usize)> {
        if self.sack != NOWHERE {
            Some((self.sack as usize, self.sack_blocks as usize))
        } else {
            None
        }
    }
}

/// The options of one segment and a walk over them.
///
/// The walk keeps its position here, in a map, and takes each step in a function of its own. The verifier does not track
/// values in maps, so it checks one step instead of every path through all steps.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The options, see [`Bytes`].
    pub bytes: Bytes,
    /// The options that the walk has found.
    pub found: Found,
    length: u8,
    at: u8,
}

impl Options {
    /// No options.
    pub const NONE: Self = Self {
        bytes: [0; AREA],
        found: Found::NOTHING,
        length: 0,
        at: 0,
    };

    /// Copies and walks the options of a header; at most 40 bytes are used.
    pub fn of(options: &[u8]) -> Self {
        let mut all = Self::NONE;
        let length = options.len().min(MAX_OPTIONS);
        all.bytes[..length].copy_from_slice(&options[..length]);
        all.walk(length);
        all
    }

    /// Copies the options of a Linux SYN ([`Found::of_linux_syn`]), with the same result as walking them. `false` if they are
    /// others; then it changes nothing.
    #[inline(always)]
    pub fn take_linux_syn(&mut self, options: &[u8; LINUX_SYN]) -> bool {
        let Some(found) = Found::of_linux_syn(options) else {
            return false;
        };
        self.bytes[..LINUX_SYN].copy_from_slice(options);
        self.found = found;
        true
    }

    /// Walks the first `length` bytes. A malformed option ends the walk; the ones before it remain found.
    #[inline(always)]
    pub fn walk(&mut self, length: usize) {
        self.found = Found::NOTHING;
        self.length = length as u8;
        self.at = 0;
        for _ in 0..MAX_ITEMS {
            if !self.step() {
                break;
            }
        }
    }

    /// Parses one option and returns whether another may follow.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn step(&mut self) -> bool {
        let (at, length) = ((self.at & 63) as usize, (self.length & 63) as usize);
        if at >= length || at > MAX_OPTIONS {
            return false;
        }
        let kind = self.bytes[at];
        if kind == kind::NOP {
            self.at = at as u8 + 1;
            return true;
        }
        let size = self.bytes[at + 1] as usize;
        let end = at + size;
        if kind == kind::END || size < 2 || end > length || end > MAX_OPTIONS {
            return false;
        }
        match (kind, size) {
            (kind::MSS, 4) => {
                self.found.mss = u16::from_be_bytes([self.bytes[at + 2], self.bytes[at + 3]]);
                self.found.seen |= SEEN_MSS;
            }
            (kind::WINDOW_SCALE, 3) => {
                let scale = self.bytes[at + 2];
                self.found.window_scale = if scale > MAX_WINDOW_SCALE {
                    MAX_WINDOW_SCALE
                } else {
                    scale
                };
                self.found.seen |= SEEN_SCALE;
            }
            (kind::SACK_PERMITTED, 2) => self.found.seen |= SEEN_SACK_PERMITTED,
            (kind::MD5 | kind::AUTHENTICATION, _) => self.found.seen |= SEEN_SIGNATURE,
            (kind::TIMESTAMPS, 10) => self.found.timestamps = at as u8 + 2,
            (kind::SACK, 10 | 18 | 26 | 34) => {
                self.found.sack = at as u8 + 2;
                self.found.sack_blocks = (size as u8 - 2) >> 3;
            }
            _ => {}
        }
        self.at = end as u8;
        true
    }

    /// TSval and TSecr, if the walk found timestamps.
    #[inline(always)]
    pub fn timestamps(&self) -> Option<(u32, u32)> {
        let at = self.found.timestamps_at()?;
        Some((read32(&self.bytes, at), read32(&self.bytes, at + 4)))
    }
}

/// TSval and TSecr of a segment whose options are exactly `NOP NOP TS`; `None` if they are others.
#[inline(always)]
pub fn padded_timestamps(bytes: &[u8; 12]) -> Option<(u32, u32)> {
    let head = [bytes[0], bytes[1], bytes[2], bytes[3]];
    // Byte by byte: BPF's compiler would keep halves in registers, which are not written on the path with other options.
    let word = |at| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (head == PADDED_TIMESTAMPS).then(|| (word(4), word(8)))
}

/// Whether the first four bytes of a SYN's options are an MSS of at least `least` bytes.
#[inline(always)]
pub fn leads_with_mss(first: &[u8; 4], least: u16) -> bool {
    raw16(first, 0).to_ne_bytes() == [kind::MSS, 4] && be16(first, 2) >= least
}

/// Whether options of that length are those of a Linux SYN, with an MSS of at least `least` bytes, as far as their first eight
/// bytes tell.
#[inline(always)]
pub fn begins_like_linux_syn(options: &[u8; LINUX_SYN], least: u16) -> bool {
    raw16(options, 0).to_ne_bytes() == [kind::MSS, 4]
        && be16(options, 2) >= least
        && raw32(options, 4).to_ne_bytes() == [kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10]
}

/// TSval of a Linux SYN ([`Found::of_linux_syn`]).
#[inline(always)]
pub fn linux_tsval(options: &[u8; LINUX_SYN]) -> u32 {
    be32(options, 8)
}

/// Writes the options of the SYN-ACK for a Linux SYN, as words in memory order.
#[inline(always)]
pub fn emit_words(to: &mut [u8; LINUX_SYN], words: [u32; LINUX_SYN / 4]) {
    for (at, word) in words.iter().enumerate() {
        put(to, at * 4, word.to_ne_bytes());
    }
}

/// Reads the big-endian `u32` at a position that a walk has found.
#[inline(always)]
pub const fn read32(bytes: &Bytes, at: usize) -> u32 {
    let at = at & POSITION_MASK;
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a big-endian `u32` at a position that a walk has found.
#[inline(always)]
pub const fn write32(bytes: &mut Bytes, at: usize, value: u32) {
    let at = at & POSITION_MASK;
    let b = value.to_be_bytes();
    bytes[at] = b[0];
    bytes[at + 1] = b[1];
    bytes[at + 2] = b[2];
    bytes[at + 3] = b[3];
}

#[cfg(test)]
mod tests;

//! TCP options (RFC 9293 §3.2, RFC 7323, RFC 2018).
//!
//! Options are handled in an array of the maximum size, 40 bytes, of which `length` count. One
//! bounded walk finds everything that synward looks at; what it does not know it skips.

use super::be32;
use super::tcp::MAX_OPTIONS;

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
}

/// The options area of one header.
pub type Bytes = [u8; MAX_OPTIONS];

/// More items than this are not looked at: a real stack sends eight at most, padding included.
const MAX_ITEMS: usize = 16;
/// RFC 7323 §2.3: a larger shift counts as 14.
pub const MAX_WINDOW_SCALE: u8 = 14;
/// "Not present" for positions in [`Found`].
const NOWHERE: u8 = 0xff;

/// `NOP NOP TS`: how every common stack sends timestamps on an established flow (RFC 7323 appendix A).
pub const PADDED_TIMESTAMPS: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

/// What a walk over the options found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The MSS in bytes.
    pub mss: Option<u16>,
    /// The window shift, at most 14.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    timestamps: u8,
    sack: u8,
    sack_blocks: u8,
}

impl Default for Found {
    #[inline(always)]
    fn default() -> Self {
        Self {
            mss: None,
            window_scale: None,
            sack_permitted: false,
            timestamps: NOWHERE,
            sack: NOWHERE,
            sack_blocks: 0,
        }
    }
}

impl Found {
    /// Offset of TSval in the options area; TSecr follows it.
    #[inline(always)]
    pub fn timestamps_at(&self) -> Option<usize> {
        (self.timestamps != NOWHERE).then_some(self.timestamps as usize)
    }

    /// Offset of the first SACK block and the number of blocks (two 4-byte edges each), at most 4.
    #[inline(always)]
    pub fn sack_at(&self) -> Option<(usize, usize)> {
        (self.sack != NOWHERE).then_some((self.sack as usize, self.sack_blocks as usize))
    }

    /// TSval and TSecr.
    #[inline(always)]
    pub fn timestamps(&self, bytes: &Bytes) -> Option<(u32, u32)> {
        let at = self.timestamps_at()?;
        Some((read32(bytes, at)?, read32(bytes, at + 4)?))
    }
}

/// Walks the first `length` bytes. A malformed item ends the walk; what came before it counts.
#[inline(always)]
pub fn walk(bytes: &Bytes, length: usize) -> Found {
    let mut found = Found::default();
    let mut at = 0usize;
    for _ in 0..MAX_ITEMS {
        if at >= length || at >= MAX_OPTIONS {
            break;
        }
        let kind = bytes[at];
        if kind == kind::NOP {
            at += 1;
            continue;
        }
        if kind == kind::END || at + 1 >= MAX_OPTIONS {
            break;
        }
        let size = bytes[at + 1] as usize;
        let end = at + size;
        if size < 2 || end > length || end > MAX_OPTIONS {
            break;
        }
        match (kind, size) {
            (kind::MSS, 4) if at + 3 < MAX_OPTIONS => {
                found.mss = Some(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            }
            (kind::WINDOW_SCALE, 3) if at + 2 < MAX_OPTIONS => {
                let scale = bytes[at + 2];
                found.window_scale = Some(if scale > MAX_WINDOW_SCALE { MAX_WINDOW_SCALE } else { scale });
            }
            (kind::SACK_PERMITTED, 2) => found.sack_permitted = true,
            (kind::TIMESTAMPS, 10) => found.timestamps = at as u8 + 2,
            (kind::SACK, 10 | 18 | 26 | 34) => {
                found.sack = at as u8 + 2;
                found.sack_blocks = (size as u8 - 2) >> 3;
            }
            _ => {}
        }
        at = end;
    }
    found
}

/// The timestamps of a segment whose options are exactly `NOP NOP TS`.
#[inline(always)]
pub fn padded_timestamps(bytes: &[u8; 12]) -> Option<(u32, u32)> {
    let head = [bytes[0], bytes[1], bytes[2], bytes[3]];
    (head == PADDED_TIMESTAMPS).then(|| (be32(bytes, 4), be32(bytes, 8)))
}

/// Reads four bytes at `at`, or nothing if they do not fit.
#[inline(always)]
pub fn read32(bytes: &Bytes, at: usize) -> Option<u32> {
    if at > MAX_OPTIONS - 4 {
        return None;
    }
    Some(u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

/// Writes four bytes at `at`; says whether they fit.
#[inline(always)]
pub fn write32(bytes: &mut Bytes, at: usize, value: u32) -> bool {
    if at > MAX_OPTIONS - 4 {
        return false;
    }
    let b = value.to_be_bytes();
    bytes[at] = b[0];
    bytes[at + 1] = b[1];
    bytes[at + 2] = b[2];
    bytes[at + 3] = b[3];
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(options: &[u8]) -> (Bytes, usize) {
        let mut bytes = [0; MAX_OPTIONS];
        bytes[..options.len()].copy_from_slice(options);
        (bytes, options.len())
    }

    fn walk_over(options: &[u8]) -> Found {
        let (bytes, length) = area(options);
        walk(&bytes, length)
    }

    const LINUX: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7, 1, 3, 3, 7];

    #[test]
    fn a_linux_syn() {
        let (bytes, length) = area(&LINUX);
        let found = walk(&bytes, length);
        assert_eq!((found.mss, found.window_scale, found.sack_permitted), (Some(1460), Some(7), true));
        assert_eq!(found.timestamps(&bytes), Some((9, 7)));
    }

    #[test]
    fn a_windows_syn() {
        let found = walk_over(&[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2]);
        assert_eq!((found.mss, found.window_scale, found.sack_permitted), (Some(1460), Some(8), true));
        assert_eq!(found.timestamps_at(), None);
    }

    #[test]
    fn sack_blocks_behind_timestamps() {
        let mut options = [1u8; 40];
        options[2..4].copy_from_slice(&[8, 10]);
        options[14..16].copy_from_slice(&[5, 26]);
        assert_eq!(walk_over(&options).sack_at(), Some((16, 3)));
    }

    #[test]
    fn lies_about_lengths_end_the_walk() {
        for options in [&[3u8, 0][..], &[3, 1], &[3, 3], &[2, 4, 5], &[8, 40, 1, 1], &[0xfd, 0xff]] {
            assert_eq!(walk_over(options), Found::default(), "{options:?}");
        }
        assert_eq!(walk_over(&[3, 3, 7, 2, 0]).window_scale, Some(7));
    }

    #[test]
    fn every_byte_string_is_survived() {
        let mut seed = 1u64;
        for _ in 0..200_000 {
            let mut bytes = [0u8; MAX_OPTIONS];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = (seed >> 59) as u8;
            }
            let length = (seed >> 33) as usize % (MAX_OPTIONS + 1);
            let found = walk(&bytes, length);
            assert!(found.timestamps_at().is_none_or(|at| at + 8 <= length));
            assert!(found.sack_at().is_none_or(|(at, blocks)| at + 8 * blocks <= length));
        }
    }
}

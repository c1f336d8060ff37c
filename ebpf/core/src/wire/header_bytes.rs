//! Reads and writes of the fields of a header.
//!
//! A header is an array of bytes, so the compiler assumes no alignment. x86-64 and arm64 need none, and the verifier allows
//! such accesses there (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`), so each field is read and written at once.

/// Reads the `M` bytes at offset `at`, a constant inside the array.
#[inline(always)]
const fn bytes_at<const N: usize, const M: usize>(bytes: &[u8; N], at: usize) -> [u8; M] {
    let (_, rest) = bytes.split_at(at);
    match rest.first_chunk() {
        Some(field) => *field,
        None => panic!("a field outside of its header"),
    }
}

/// Reads the two bytes at offset `at` of a header, in memory order. `at` must be a constant inside the array.
#[inline(always)]
pub(crate) const fn raw16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes(bytes_at(bytes, at))
}

/// Reads the four bytes at offset `at` in memory order: addresses are only compared, hashed and summed.
#[inline(always)]
pub(crate) const fn raw32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes(bytes_at(bytes, at))
}

/// Reads the big-endian `u16` at offset `at`.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be(raw16(bytes, at))
}

/// Reads the big-endian `u32` at offset `at`.
#[inline(always)]
pub(crate) const fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be(raw32(bytes, at))
}

/// Copies `value` to offset `at` of a header.
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    bytes[at..at + M].copy_from_slice(&value);
}

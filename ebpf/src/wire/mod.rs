//! Wire formats: views over fixed-size header arrays whose accessors cannot fail.
//!
//! A header is viewed through an array of its exact fixed size, checked once by whoever made the
//! array. That suits the BPF verifier (a packet range is proven once) and needs no unsafe code.

pub mod address;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod tcp_options;

pub use address::Address;

/// Reads a big-endian `u16` at byte `at` of a header. `at` must be a constant inside `N`.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a big-endian `u32` at byte `at` of a header. `at` must be a constant inside `N`.
#[inline(always)]
pub(crate) const fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads four bytes as they lie in memory: for addresses, which are only compared, hashed and summed.
#[inline(always)]
pub(crate) const fn raw32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Copies `value` to byte `at` of a header. `at` must be a constant inside `N`.
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    bytes[at..at + M].copy_from_slice(&value);
}

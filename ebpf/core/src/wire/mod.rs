//! Wire formats: views over fixed-size header arrays whose accessors cannot fail.
//!
//! A header is viewed through an array of its exact fixed size, checked once by whoever made the
//! array. That suits the BPF verifier (a packet range is proven once).

pub mod address;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod tcp_options;

pub use address::Address;

/// Reads two bytes at byte `at` of a header as they lie in memory. `at` must be an even constant inside `N`, here and below.
///
/// The compiler takes a header for bytes that lie anywhere, which BPF's would read one by one. But frames begin at even
/// addresses and headers have even lengths.
#[cfg(target_arch = "bpf")]
#[allow(unsafe_code, reason = "the alignment is more than the type says")]
#[inline(always)]
pub(crate) const fn raw16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    assert!(at.is_multiple_of(2) && at + 2 <= N);
    // SAFETY: inside of the array, at an even address.
    unsafe { bytes.as_ptr().add(at).cast::<u16>().read() }
}

/// Reads two bytes at byte `at` of a header as they lie in memory. `at` must be a constant inside `N`, here and below.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) const fn raw16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// Reads four bytes as they lie in memory: for addresses, which are only compared, hashed and summed.
#[inline(always)]
pub(crate) const fn raw32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let ([a, b], [c, d]) = (
        raw16(bytes, at).to_ne_bytes(),
        raw16(bytes, at + 2).to_ne_bytes(),
    );
    u32::from_ne_bytes([a, b, c, d])
}

/// Reads a big-endian `u16`.
#[inline(always)]
pub(crate) const fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be(raw16(bytes, at))
}

/// Reads a big-endian `u32`.
#[inline(always)]
pub(crate) const fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be(raw32(bytes, at))
}

/// Copies `value`, of even length, to byte `at` of a header.
#[cfg(target_arch = "bpf")]
#[allow(unsafe_code, reason = "the alignment is more than the type says")]
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    assert!(at.is_multiple_of(2) && M.is_multiple_of(2) && at + M <= N);
    let to: *mut u16 = bytes[at..].as_mut_ptr().cast();
    for (half, pair) in value.chunks_exact(2).enumerate() {
        // SAFETY: inside of the array, at an even address.
        unsafe { to.add(half).write(u16::from_ne_bytes([pair[0], pair[1]])) };
    }
}

/// Copies `value` to byte `at` of a header.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    bytes[at..at + M].copy_from_slice(&value);
}

//! Reads and writes of the fields of a header.
//!
//! A header is an array of bytes, so the compiler assumes no alignment, and for BPF it would access the bytes one by one. But
//! frames begin at even addresses and headers have even lengths. On BPF these functions therefore access two bytes at a time.
//! This is the only unsafe code of the library.

/// Reads the two bytes at offset `at` of a header, in memory order. `at` must be an even constant inside the array.
#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "the type does not say that headers are aligned to two bytes"
)]
#[inline(always)]
pub(crate) const fn raw16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    assert!(at.is_multiple_of(2) && at + 2 <= N);
    // SAFETY: inside of the array, at an even address.
    unsafe { bytes.as_ptr().add(at).cast::<u16>().read() }
}

/// Reads the two bytes at offset `at` of a header, in memory order. `at` must be a constant inside the array.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) const fn raw16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// Reads the four bytes at offset `at` in memory order: addresses are only compared, hashed and summed.
#[inline(always)]
pub(crate) const fn raw32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let ([a, b], [c, d]) = (
        raw16(bytes, at).to_ne_bytes(),
        raw16(bytes, at + 2).to_ne_bytes(),
    );
    u32::from_ne_bytes([a, b, c, d])
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

/// Copies `value`, of even length, to the even offset `at` of a header.
#[cfg(target_arch = "bpf")]
#[expect(
    unsafe_code,
    reason = "the type does not say that headers are aligned to two bytes"
)]
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    assert!(at.is_multiple_of(2) && M.is_multiple_of(2) && at + M <= N);
    let to: *mut u16 = bytes[at..].as_mut_ptr().cast();
    for (half, pair) in value.chunks_exact(2).enumerate() {
        // SAFETY: inside of the array, at an even address.
        unsafe { to.add(half).write(u16::from_ne_bytes([pair[0], pair[1]])) };
    }
}

/// Copies `value` to offset `at` of a header.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: [u8; M]) {
    bytes[at..at + M].copy_from_slice(&value);
}

//! Eight messages in one 512-bit register. AVX-512 has a rotation instruction.

use std::arch::x86_64::{
    __m512i, _mm256_extract_epi64, _mm512_add_epi64, _mm512_extracti64x4_epi64, _mm512_rol_epi64,
    _mm512_set_epi64, _mm512_set1_epi64, _mm512_xor_si512,
};

use super::messages::{Messages, WIDTH};
use super::rounds::siphash;

type Vector = __m512i;

siphash!("avx512f");

#[inline]
#[target_feature(enable = "avx512f")]
fn load(row: &[u64; WIDTH]) -> Vector {
    let [a, b, c, d, e, f, g, h] = row.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a) // compiles to one load
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(row: &mut [u64; WIDTH], v: Vector) {
    // Compiles to one store.
    let (low, high) = (
        _mm512_extracti64x4_epi64::<0>(v),
        _mm512_extracti64x4_epi64::<1>(v),
    );
    *row = [
        _mm256_extract_epi64::<0>(low),
        _mm256_extract_epi64::<1>(low),
        _mm256_extract_epi64::<2>(low),
        _mm256_extract_epi64::<3>(low),
        _mm256_extract_epi64::<0>(high),
        _mm256_extract_epi64::<1>(high),
        _mm256_extract_epi64::<2>(high),
        _mm256_extract_epi64::<3>(high),
    ]
    .map(i64::cast_unsigned);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn all(value: u64) -> Vector {
    _mm512_set1_epi64(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_13(v: Vector) -> Vector {
    _mm512_rol_epi64::<13>(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_16(v: Vector) -> Vector {
    _mm512_rol_epi64::<16>(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_17(v: Vector) -> Vector {
    _mm512_rol_epi64::<17>(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_21(v: Vector) -> Vector {
    _mm512_rol_epi64::<21>(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_32(v: Vector) -> Vector {
    _mm512_rol_epi64::<32>(v)
}

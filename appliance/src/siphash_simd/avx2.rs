//! Eight messages in two 256-bit registers, whose instructions do not depend on each other.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_extract_epi64, _mm256_or_si256, _mm256_set_epi8,
    _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_shuffle_epi8, _mm256_shuffle_epi32,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
};

use super::messages::{Messages, WIDTH};
use super::rounds::siphash;

type Vector = [__m256i; 2];

siphash!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn load(row: &[u64; WIDTH]) -> Vector {
    let [a, b, c, d, e, f, g, h] = row.map(u64::cast_signed);
    // Compiles to one load each.
    [_mm256_set_epi64x(d, c, b, a), _mm256_set_epi64x(h, g, f, e)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(row: &mut [u64; WIDTH], [low, high]: Vector) {
    // Compiles to one store each.
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
#[target_feature(enable = "avx2")]
fn all(value: u64) -> Vector {
    [_mm256_set1_epi64x(value.cast_signed()); 2]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add([a, b]: Vector, [c, d]: Vector) -> Vector {
    [_mm256_add_epi64(a, c), _mm256_add_epi64(b, d)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor([a, b]: Vector, [c, d]: Vector) -> Vector {
    [_mm256_xor_si256(a, c), _mm256_xor_si256(b, d)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(v: Vector) -> Vector {
    const { assert!(LEFT + RIGHT == 64) };
    let [a, b] = v;
    let rotate = |v| _mm256_or_si256(_mm256_slli_epi64::<LEFT>(v), _mm256_srli_epi64::<RIGHT>(v));
    [rotate(a), rotate(b)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_13(v: Vector) -> Vector {
    rotate::<13, 51>(v)
}

/// A byte shuffle, because the rotation is by whole bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_16([a, b]: Vector) -> Vector {
    let bytes = _mm256_set_epi8(
        13, 12, 11, 10, 9, 8, 15, 14, 5, 4, 3, 2, 1, 0, 7, 6, 13, 12, 11, 10, 9, 8, 15, 14, 5, 4,
        3, 2, 1, 0, 7, 6,
    );
    [_mm256_shuffle_epi8(a, bytes), _mm256_shuffle_epi8(b, bytes)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_17(v: Vector) -> Vector {
    rotate::<17, 47>(v)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate_21(v: Vector) -> Vector {
    rotate::<21, 43>(v)
}

/// Swaps the halves of each word.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_32([a, b]: Vector) -> Vector {
    const SWAPPED: i32 = 0b10_11_00_01;
    [
        _mm256_shuffle_epi32::<SWAPPED>(a),
        _mm256_shuffle_epi32::<SWAPPED>(b),
    ]
}

//! A tile times some rows, with AVX2: as two halves of eight output rows.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::activations::Activations;
use super::super::{BLOCK, Codes, PackedWeight, TILE};
use super::Output;

/// Output rows per half of a tile: one 256-bit register of f32.
const HALF: usize = TILE / 2;

/// The codes of a half tile's block.
#[expect(clippy::large_enum_variant, reason = "it lives in registers")]
enum Half<'a> {
    /// Unpacked once for all rows.
    Four([__m256i; 8]),
    Eight(&'a [[u8; 64]; 8]),
}

impl PackedWeight {
    /// # Safety
    /// AVX2, FMA and F16C are there, and no other thread writes these tiles' columns.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn strips_avx2(
        &self,
        x: &Activations,
        rows: usize,
        tiles: Range<usize>,
        y: &Output,
    ) {
        for strip in (0..rows).step_by(self.strip(4)) {
            let end = rows.min(strip + self.strip(4));
            for tile in tiles.clone() {
                let mut row = strip;
                // SAFETY: as this function's own contract.
                unsafe {
                    while row + 4 <= end {
                        self.tile_avx2::<4>(x, row, tile, y);
                        row += 4;
                    }
                    while row < end {
                        self.tile_avx2::<1>(x, row, tile, y);
                        row += 1;
                    }
                }
            }
        }
    }

    /// One tile times `R` rows of activations.
    ///
    /// # Safety
    /// As [`PackedWeight::strips_avx2`].
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn tile_avx2<const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        tile: usize,
        y: &Output,
    ) {
        for half in 0..2 {
            // SAFETY: as this function's own contract.
            let sums = unsafe { self.half_tile::<R>(x, row, tile, half) };
            let unit = _mm256_set1_ps(self.unit);
            for (r, sum) in sums.into_iter().enumerate() {
                let index = (row + r) * self.out + tile * TILE + half * HALF;
                // SAFETY: the half's eight columns of this row, which belong to this thread.
                unsafe { _mm256_storeu_ps(y.0.add(index), _mm256_mul_ps(sum, unit)) }
            }
        }
    }

    /// # Safety
    /// As [`PackedWeight::strips_avx2`].
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn half_tile<const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        tile: usize,
        half: usize,
    ) -> [__m256; R] {
        let blocks = self.input / BLOCK;
        let mut sums = [_mm256_setzero_ps(); R];
        for b in 0..blocks {
            let at = tile * blocks + b;
            // SAFETY: arrays of eight f16 and of 32 bytes are read whole; indices are below their lengths.
            unsafe {
                let scale = halves(self.scales.as_ptr().add(at).cast::<__m128i>().add(half));
                let min = self.mins.as_ref();
                let min = min.map(|mins| halves(mins.as_ptr().add(at).cast::<__m128i>().add(half)));
                let codes = match &self.codes {
                    Codes::Four(tiles) => Half::Four(nibbles(tiles.get_unchecked(at), half)),
                    Codes::Eight(tiles) => Half::Eight(tiles.get_unchecked(at)),
                };
                for (r, sum) in sums.iter_mut().enumerate() {
                    let xb = (row + r) * blocks + b;
                    let quads = x.codes.as_ptr().add(xb * BLOCK);
                    let code_sum = *x.sums.get_unchecked(xb);
                    let (dots, offset) = match &codes {
                        Half::Four(weights) => (dot_four(weights, quads), self.offset),
                        Half::Eight(weights) => {
                            (dot_eight(weights, half, quads), self.offset - 128)
                        }
                    };
                    // The offset of all codes at once.
                    let dots = _mm256_sub_epi32(dots, _mm256_set1_epi32(offset * code_sum));
                    let x_scale = *x.scales.get_unchecked(xb);
                    let both = _mm256_mul_ps(scale, _mm256_set1_ps(x_scale));
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), both, *sum);
                    if let Some(min) = min {
                        let x_sum = _mm256_set1_ps(x_scale * code_sum as f32);
                        *sum = _mm256_fmadd_ps(min, x_sum, *sum);
                    }
                }
            }
        }
        sums
    }
}

/// Eight f16 as f32.
///
/// # Safety
/// 16 bytes are readable at `from`.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn halves(from: *const __m128i) -> __m256 {
    // SAFETY: by the contract of this function.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from) })
}

/// Register `g` holds inputs `4 g .. 4 g + 4` of the half's eight rows.
#[target_feature(enable = "avx2")]
#[inline]
fn nibbles(tile: &[[u8; 64]; 4], half: usize) -> [__m256i; 8] {
    let low = _mm256_set1_epi8(15);
    let mut codes = [_mm256_setzero_si256(); 8];
    for (g, bytes) in tile.iter().enumerate() {
        // SAFETY: the half's 32 bytes of an array of 64.
        let both = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast::<__m256i>().add(half)) };
        codes[2 * g] = _mm256_and_si256(both, low);
        codes[2 * g + 1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
    codes
}

/// Eight dot products over a block. Sixteen products of at most 15 * 127 fit in 16 bits, so one widening
/// addition at the end is enough.
///
/// # Safety
/// 32 codes are readable at `x`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn dot_four(weights: &[__m256i; 8], x: *const i8) -> __m256i {
    let mut sum = _mm256_setzero_si256();
    for (g, weight) in weights.iter().enumerate() {
        // SAFETY: by the contract of this function.
        let quad = unsafe { _mm256_set1_epi32(x.cast::<i32>().add(g).read_unaligned()) };
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*weight, quad));
    }
    _mm256_madd_epi16(sum, _mm256_set1_epi16(1))
}

/// The same for codes of eight bits, less 128 each: products of 255 * 127 would not fit in pairs of 16 bits. One side of
/// `vpmaddubsw` is unsigned, so the sign moves to the activations.
///
/// # Safety
/// 32 codes are readable at `x`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn dot_eight(weights: &[[u8; 64]; 8], half: usize, x: *const i8) -> __m256i {
    let middle = _mm256_set1_epi8(-128);
    let mut sum = _mm256_setzero_si256();
    for (g, bytes) in weights.iter().enumerate() {
        // SAFETY: the half's 32 bytes of an array of 64; `x` by the contract of this function.
        let (code, quad) = unsafe {
            (
                _mm256_loadu_si256(bytes.as_ptr().cast::<__m256i>().add(half)),
                _mm256_set1_epi32(x.cast::<i32>().add(g).read_unaligned()),
            )
        };
        let weight = _mm256_xor_si256(code, middle);
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(quad, weight));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    sum
}

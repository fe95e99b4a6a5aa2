//! A tile times some rows, with AVX-512 and its dot products of bytes (VNNI).

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::activations::Activations;
use super::super::{BLOCK, Codes, PackedWeight, TILE};
use super::Output;

impl PackedWeight {
    /// # Safety
    /// AVX-512 F, BW and VNNI are there, and no other thread writes these tiles' columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
    pub(super) unsafe fn strips_avx512(
        &self,
        x: &Activations,
        rows: usize,
        tiles: Range<usize>,
        y: &Output,
    ) {
        for strip in (0..rows).step_by(self.strip(8)) {
            let end = rows.min(strip + self.strip(8));
            for tile in tiles.clone() {
                let mut row = strip;
                // SAFETY: as this function's own contract.
                unsafe {
                    while row + 8 <= end {
                        self.tile_avx512::<8>(x, row, tile, y);
                        row += 8;
                    }
                    while row + 4 <= end {
                        self.tile_avx512::<4>(x, row, tile, y);
                        row += 4;
                    }
                    while row + 2 <= end {
                        self.tile_avx512::<2>(x, row, tile, y);
                        row += 2;
                    }
                    while row < end {
                        self.tile_avx512::<1>(x, row, tile, y);
                        row += 1;
                    }
                }
            }
        }
    }

    /// One tile times `R` rows of activations.
    ///
    /// # Safety
    /// As [`PackedWeight::strips_avx512`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
    #[inline]
    unsafe fn tile_avx512<const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        tile: usize,
        y: &Output,
    ) {
        let blocks = self.input / BLOCK;
        let mut sums = [_mm512_setzero_ps(); R];
        for b in 0..blocks {
            let at = tile * blocks + b;
            // SAFETY: arrays of sixteen f16 and of 64 bytes are read whole; indices are below their lengths.
            unsafe {
                let scale = halves(self.scales.as_ptr().add(at).cast());
                let weights = match &self.codes {
                    Codes::Four(tiles) => nibbles(tiles.get_unchecked(at)),
                    Codes::Eight(tiles) => bytes(tiles.get_unchecked(at)),
                };
                let min = self.mins.as_ref();
                let min = min.map(|mins| halves(mins.as_ptr().add(at).cast()));
                for (r, sum) in sums.iter_mut().enumerate() {
                    let xb = (row + r) * blocks + b;
                    let quads = x.codes.as_ptr().add(xb * BLOCK).cast::<i32>();
                    let code_sum = *x.sums.get_unchecked(xb);
                    // The offset of all codes at once.
                    let mut dots = _mm512_set1_epi32(-self.offset * code_sum);
                    for (g, weight) in weights.iter().enumerate() {
                        let quad = _mm512_set1_epi32(quads.add(g).read_unaligned());
                        dots = _mm512_dpbusd_epi32(dots, *weight, quad);
                    }
                    let x_scale = *x.scales.get_unchecked(xb);
                    let both = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale));
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), both, *sum);
                    if let Some(min) = min {
                        let x_sum = _mm512_set1_ps(x_scale * code_sum as f32);
                        *sum = _mm512_fmadd_ps(min, x_sum, *sum);
                    }
                }
            }
        }
        let unit = _mm512_set1_ps(self.unit);
        for (r, sum) in sums.into_iter().enumerate() {
            let index = (row + r) * self.out + tile * TILE;
            // SAFETY: the tile's sixteen columns of this row, which belong to this thread.
            unsafe { _mm512_storeu_ps(y.0.add(index), _mm512_mul_ps(sum, unit)) }
        }
    }
}

/// Sixteen f16 as f32.
///
/// # Safety
/// 32 bytes are readable at `from`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn halves(from: *const __m256i) -> __m512 {
    // SAFETY: by the contract of this function.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from) })
}

/// Register `g` holds inputs `4 g .. 4 g + 4` of the sixteen rows.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn nibbles(tile: &[[u8; 64]; 4]) -> [__m512i; 8] {
    let low = _mm512_set1_epi8(15);
    let mut codes = [_mm512_setzero_si512(); 8];
    for (g, bytes) in tile.iter().enumerate() {
        // SAFETY: 64 bytes are read from an array of 64.
        let both = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        codes[2 * g] = _mm512_and_si512(both, low);
        codes[2 * g + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    codes
}

/// The same of codes that have a byte each.
#[target_feature(enable = "avx512f")]
#[inline]
fn bytes(tile: &[[u8; 64]; 8]) -> [__m512i; 8] {
    // SAFETY: 64 bytes are read from arrays of 64.
    std::array::from_fn(|g| unsafe { _mm512_loadu_si512(tile[g].as_ptr().cast()) })
}

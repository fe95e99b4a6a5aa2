//! The inner loops, with AVX2 and FMA.

use std::arch::x86_64::*;
use std::ops::Range;

use rayon::prelude::*;

use super::{Activations, BLOCK, Codes, GROUP, PackedWeight, TILE};

/// Multiply-adds below which handing work to other threads costs more than it saves.
const INLINE: usize = 1 << 20;

/// Chunks per thread.
const CHUNKS: usize = 8;

/// The output matrix, shared by threads that write disjoint columns.
struct Output(*mut f32);
// SAFETY: `multiply` gives every tile, and so every column, to one thread.
unsafe impl Sync for Output {}

impl Output {
    /// # Safety
    /// `index` and the seven values behind it lie in the matrix, and no other thread writes them.
    #[target_feature(enable = "avx2")]
    unsafe fn store(&self, index: usize, values: __m256) {
        // SAFETY: by the contract of this function.
        unsafe { _mm256_storeu_ps(self.0.add(index), values) }
    }
}

/// [`super::quantize_any`], compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
    super::quantize_any(x, codes, scales, sums);
}

impl PackedWeight {
    pub(super) fn multiply(&self, x: &Activations, y: &mut [f32]) {
        let rows = y.len() / self.out;
        let output = Output(y.as_mut_ptr());
        let tiles = self.out / TILE;
        let run = |tiles: Range<usize>| {
            // SAFETY: `supported` was true when this weight was packed; the tiles are this thread's alone.
            unsafe { self.multiply_tiles(x, rows, tiles, &output) }
        };
        if rows * self.out * self.input < INLINE {
            return run(0..tiles);
        }
        // The pool that candle uses too: two pools on the same cores wait for each other. More chunks than threads,
        // so that a core which is busy with something else does less.
        let chunk = tiles.div_ceil(rayon::current_num_threads() * CHUNKS);
        (0..tiles.div_ceil(chunk))
            .into_par_iter()
            .for_each(|i| run(i * chunk..tiles.min((i + 1) * chunk)));
    }

    /// # Safety
    /// AVX2 and FMA are there, and no other thread writes these tiles' columns.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply_tiles(&self, x: &Activations, rows: usize, tiles: Range<usize>, y: &Output) {
        /// Rows whose activations stay in the first-level cache while the tiles pass by.
        const STRIP: usize = 32;
        for strip in (0..rows).step_by(STRIP) {
            let end = rows.min(strip + STRIP);
            for tile in tiles.clone() {
                let mut row = strip;
                // SAFETY: as this function's own contract.
                unsafe {
                    while row + GROUP <= end {
                        self.tile::<GROUP>(x, row, tile, y);
                        row += GROUP;
                    }
                    while row < end {
                        self.tile::<1>(x, row, tile, y);
                        row += 1;
                    }
                }
            }
        }
    }

    /// One tile times `R` rows of activations.
    ///
    /// # Safety
    /// As [`PackedWeight::multiply_tiles`].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn tile<const R: usize>(&self, x: &Activations, row: usize, tile: usize, y: &Output) {
        let blocks = self.input / BLOCK;
        let mut sums = [_mm256_setzero_ps(); R];
        for b in 0..blocks {
            let at = tile * blocks + b;
            // SAFETY: arrays of eight f32 and of 32 bytes are read whole; indices are below their lengths.
            unsafe {
                let scale = _mm256_loadu_ps(self.scales[at].as_ptr());
                match &self.codes {
                    Codes::Four { tiles, mins } => {
                        let min = _mm256_loadu_ps(mins[at].as_ptr());
                        let weights = unpack_four(&tiles[at]);
                        for (r, sum) in sums.iter_mut().enumerate() {
                            let xb = (row + r) * blocks + b;
                            let dots = dot_four(&weights, x.codes.as_ptr().add(xb * BLOCK));
                            let both =
                                _mm256_mul_ps(scale, _mm256_set1_ps(*x.scales.get_unchecked(xb)));
                            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), both, *sum);
                            *sum = _mm256_fmadd_ps(
                                min,
                                _mm256_set1_ps(*x.sums.get_unchecked(xb)),
                                *sum,
                            );
                        }
                    }
                    Codes::Eight { tiles } => {
                        for (r, sum) in sums.iter_mut().enumerate() {
                            let xb = (row + r) * blocks + b;
                            let dots = dot_eight(&tiles[at], x.codes.as_ptr().add(xb * BLOCK));
                            let both =
                                _mm256_mul_ps(scale, _mm256_set1_ps(*x.scales.get_unchecked(xb)));
                            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), both, *sum);
                        }
                    }
                }
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            // SAFETY: the tile's eight columns of this row, which belong to this thread.
            unsafe { y.store((row + r) * self.out + tile * TILE, sum) }
        }
    }
}

/// Nibbles to bytes: register `g` holds inputs `4 g .. 4 g + 4` of the eight rows.
#[target_feature(enable = "avx2")]
#[inline]
fn unpack_four(tile: &[[u8; 32]; 4]) -> [__m256i; 8] {
    let low = _mm256_set1_epi8(15);
    let mut codes = [_mm256_setzero_si256(); 8];
    for (g, bytes) in tile.iter().enumerate() {
        // SAFETY: 32 bytes are read from an array of 32.
        let both = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
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

/// The same for signed weights: `vpmaddubsw` takes one unsigned side, so the sign moves to the activations.
///
/// # Safety
/// 32 codes are readable at `x`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn dot_eight(weights: &[[i8; 32]; 8], x: *const i8) -> __m256i {
    let mut sum = _mm256_setzero_si256();
    for (g, bytes) in weights.iter().enumerate() {
        // SAFETY: 32 bytes are read from an array of 32; `x` by the contract of this function.
        let (weight, quad) = unsafe {
            (
                _mm256_loadu_si256(bytes.as_ptr().cast()),
                _mm256_set1_epi32(x.cast::<i32>().add(g).read_unaligned()),
            )
        };
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(quad, weight));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    sum
}

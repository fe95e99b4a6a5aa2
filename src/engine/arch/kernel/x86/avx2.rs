//! A tile times some rows, with AVX2: as two halves of eight output rows.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::activations::{Activations, BlockScale};
use super::super::{BLOCK, Bytes, Halves, PackedWeight, SUPER, Small, TILE, Width};
use super::Output;

/// Output rows per half of a tile: one 256-bit register of f32.
const HALF: usize = TILE / 2;

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
        const FOUR: u8 = Width::Four as u8;
        const FIVE: u8 = Width::Five as u8;
        const SIX: u8 = Width::Six as u8;
        const EIGHT: u8 = Width::Eight as u8;
        // SAFETY: as this function's own contract.
        unsafe {
            match (self.layout.width, self.layout.small == Small::PerHalf) {
                (Width::Four, false) => self.strips_256::<FOUR, 1>(x, rows, tiles, y),
                (Width::Four, true) => self.strips_256::<FOUR, 2>(x, rows, tiles, y),
                (Width::Five, _) => self.strips_256::<FIVE, 1>(x, rows, tiles, y),
                (Width::Six, _) => self.strips_256::<SIX, 2>(x, rows, tiles, y),
                (Width::Eight, _) => self.strips_256::<EIGHT, 1>(x, rows, tiles, y),
            }
        }
    }

    /// With codes of one [`Width`] and `PARTS` scales per block.
    ///
    /// # Safety
    /// As [`PackedWeight::strips_avx2`].
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn strips_256<const WIDTH: u8, const PARTS: usize>(
        &self,
        x: &Activations,
        rows: usize,
        tiles: Range<usize>,
        y: &Output,
    ) {
        for strip in (0..rows).step_by(self.strip()) {
            let end = rows.min(strip + self.strip());
            for tile in tiles.clone() {
                let mut row = strip;
                // SAFETY: as this function's own contract.
                unsafe {
                    while row + 4 <= end {
                        self.tile_avx2::<WIDTH, PARTS, 4>(x, row, tile, y);
                        row += 4;
                    }
                    while row < end {
                        self.tile_avx2::<WIDTH, PARTS, 1>(x, row, tile, y);
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
    unsafe fn tile_avx2<const WIDTH: u8, const PARTS: usize, const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        tile: usize,
        y: &Output,
    ) {
        let blocks = self.input / BLOCK;
        let mut sums = [[_mm256_setzero_ps(); R]; 2];
        // SAFETY: `b` is a block of the tile, and the rows are there, side by side.
        unsafe {
            let [upper, lower] = &mut sums;
            if R == 1 {
                // Bound by memory: the tile is read once, line by line.
                for b in 0..blocks {
                    self.block_avx2::<WIDTH, PARTS, R>(x, row, (tile, b, 0), upper);
                    self.block_avx2::<WIDTH, PARTS, R>(x, row, (tile, b, 1), lower);
                }
            } else {
                // Bound by arithmetic: the sums of one half are what registers hold.
                for b in 0..blocks {
                    self.block_avx2::<WIDTH, PARTS, R>(x, row, (tile, b, 0), upper);
                }
                for b in 0..blocks {
                    self.block_avx2::<WIDTH, PARTS, R>(x, row, (tile, b, 1), lower);
                }
            }
        }
        for (half, sums) in sums.into_iter().enumerate() {
            for (r, sum) in sums.into_iter().enumerate() {
                let index = (row + r) * self.out + tile * TILE + half * HALF;
                // SAFETY: the half's eight columns of this row, which belong to this thread.
                unsafe { _mm256_storeu_ps(y.0.add(index), sum) }
            }
        }
    }

    /// Adds the products of a half of a tile's block with `R` rows.
    ///
    /// # Safety
    /// As [`PackedWeight::strips_avx2`]; the block and the rows are there.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn block_avx2<const WIDTH: u8, const PARTS: usize, const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        (tile, b, half): (usize, usize, usize),
        sums: &mut [__m256; R],
    ) {
        let (first, step) = x.place(row);
        let at = first + b * step;
        // SAFETY: by the contract of this function.
        unsafe {
            let weights = self.codes_avx2::<WIDTH>(tile * (self.input / BLOCK) + b, half);
            let scales = self.scales_avx2::<PARTS>(tile, b, half);
            let x = Rows {
                quads: x.codes.as_ptr().add(at * BLOCK).cast(),
                blocks: x.blocks.as_ptr().add(at),
            };
            if PARTS == 1 {
                x.accumulate::<WIDTH, 0, 8, R>(&weights, scales[0], sums);
            } else {
                x.accumulate::<WIDTH, 0, 4, R>(&weights, scales[0], sums);
                x.accumulate::<WIDTH, 4, 8, R>(&weights, scales[1], sums);
            }
        }
    }

    /// The codes of a block of all tiles: register `g` holds inputs `4 g .. 4 g + 4` of the half's eight rows. Those of
    /// eight bits are signed.
    ///
    /// # Safety
    /// AVX2 is there, the block is, and codes are of this width.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn codes_avx2<const WIDTH: u8>(&self, block: usize, half: usize) -> [__m256i; 8] {
        let lines = self.layout.width.lines();
        // SAFETY: by the contract of this function.
        let at = unsafe { self.codes.as_ptr().add(block * lines) };
        // SAFETY: the block's lines are 64 bytes each.
        let line = |g: usize| unsafe { _mm256_load_si256(at.add(g).cast::<__m256i>().add(half)) };
        if WIDTH == Width::Eight as u8 {
            let middle = _mm256_set1_epi8(-128);
            return std::array::from_fn(|g| _mm256_xor_si256(line(g), middle));
        }
        let low = _mm256_set1_epi8(15);
        let mut codes = [_mm256_setzero_si256(); 8];
        for g in 0..4 {
            let both = line(g);
            codes[g] = _mm256_and_si256(both, low);
            codes[4 + g] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        }
        if WIDTH == Width::Five as u8 {
            // Each byte of the masks is spread over the eight codes whose fifth bits it holds.
            let spread = _mm256_setr_epi8(
                0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3,
                3, 3, 3, 3,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let sixteen = _mm256_set1_epi8(16);
            // SAFETY: the fifth line is eight masks, each of two numbers, one per half.
            let masks = unsafe { at.add(4).cast::<[[i32; 2]; 8]>().read() };
            for (codes, mask) in codes.iter_mut().zip(masks) {
                let bits = _mm256_shuffle_epi8(_mm256_set1_epi32(mask[half]), spread);
                let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
                *codes = _mm256_or_si256(*codes, _mm256_and_si256(set, sixteen));
            }
        }
        if WIDTH == Width::Six as u8 {
            let upper = _mm256_set1_epi8(0x30);
            for (part, codes) in codes.chunks_exact_mut(4).enumerate() {
                let pairs = line(4 + part);
                let shifted = [
                    _mm256_slli_epi16(pairs, 4),
                    _mm256_slli_epi16(pairs, 2),
                    pairs,
                    _mm256_srli_epi16(pairs, 2),
                ];
                for (codes, shifted) in codes.iter_mut().zip(shifted) {
                    *codes = _mm256_or_si256(*codes, _mm256_and_si256(shifted, upper));
                }
            }
        }
        codes
    }

    /// Scale and min of each part of a block, for a half of a tile.
    ///
    /// # Safety
    /// AVX2 and F16C are there, the block is, and it has so many parts.
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn scales_avx2<const PARTS: usize>(
        &self,
        tile: usize,
        b: usize,
        half: usize,
    ) -> [(__m256, __m256); PARTS] {
        let layout = &self.layout;
        let each = 1 + usize::from(layout.mins);
        let offset = _mm256_set1_ps(-layout.offset);
        let (large_blocks, large_block) = match layout.small {
            Small::None => (self.input / BLOCK, b),
            _ => (self.input / SUPER, b / (SUPER / BLOCK)),
        };
        // SAFETY: by the contract of this function, the numbers of this block are there.
        unsafe {
            let large = self.large.as_ptr();
            let large = large.add((tile * large_blocks + large_block) * each);
            let scale = halves(large, half);
            let min = match layout.mins {
                true => halves(large.add(1), half),
                false => _mm256_mul_ps(scale, offset),
            };
            if layout.small == Small::None {
                return [(scale, min); PARTS];
            }
            let small = self.small.as_ptr();
            let small = small.add((tile * (self.input / BLOCK) + b) * PARTS * each);
            std::array::from_fn(|part| {
                let factor = bytes(small.add(part * each), half);
                let min_factor = match layout.mins {
                    true => bytes(small.add(part * each + 1), half),
                    false => factor,
                };
                (_mm256_mul_ps(scale, factor), _mm256_mul_ps(min, min_factor))
            })
        }
    }
}

/// Eight of sixteen f16 as f32.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn halves(from: *const Halves, half: usize) -> __m256 {
    // SAFETY: by the contract of this function.
    _mm256_cvtph_ps(unsafe { _mm_load_si128(from.cast::<__m128i>().add(half)) })
}

/// Eight of sixteen small integers as f32.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn bytes(from: *const Bytes, half: usize) -> __m256 {
    // SAFETY: by the contract of this function.
    let eight = unsafe { _mm_loadl_epi64(from.cast::<u64>().add(half).cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight))
}

/// A block of some rows of activations.
struct Rows {
    quads: *const i32,
    blocks: *const BlockScale,
}

impl Rows {
    /// Adds the products with groups `FROM` to `TO` of a block's codes, which are all of it or one half.
    ///
    /// # Safety
    /// AVX2 and FMA are there, and `R` rows.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn accumulate<const WIDTH: u8, const FROM: usize, const TO: usize, const R: usize>(
        &self,
        weights: &[__m256i; 8],
        (scale, min): (__m256, __m256),
        sums: &mut [__m256; R],
    ) {
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: by the contract of this function; a block is eight groups of four codes.
            let (block, dots) = unsafe {
                let quads = self.quads.add(r * BLOCK / 4);
                (
                    &*self.blocks.add(r),
                    dots::<WIDTH, FROM, TO>(weights, quads),
                )
            };
            let both = _mm256_mul_ps(scale, _mm256_set1_ps(block.scale));
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), both, *sum);
            // Codes of eight bits are taken as signed here, and have no min.
            if WIDTH != Width::Eight as u8 {
                let sum_of_block = match TO - FROM {
                    8 => block.sum,
                    _ => block.half_sums[FROM / 4],
                };
                *sum = _mm256_fmadd_ps(min, _mm256_set1_ps(sum_of_block), *sum);
            }
        }
    }
}

/// Eight dot products. `vpmaddubsw` adds pairs of products in 16 bits, which hold `2 * 8 * 15 * 127`,
/// `2 * 4 * 31 * 127` and `2 * 2 * 63 * 127`: so many sums are added up before they are widened.
///
/// # Safety
/// AVX2 is there, and 32 codes are readable at `x`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn dots<const WIDTH: u8, const FROM: usize, const TO: usize>(
    weights: &[__m256i; 8],
    x: *const i32,
) -> __m256i {
    let narrow = match WIDTH {
        w if w == Width::Four as u8 => 8,
        w if w == Width::Five as u8 => 4,
        w if w == Width::Six as u8 => 2,
        _ => 1,
    };
    let mut sum = _mm256_setzero_si256();
    let mut pairs = _mm256_setzero_si256();
    #[expect(clippy::needless_range_loop, reason = "adapters are not unrolled")]
    for g in FROM..TO {
        // SAFETY: by the contract of this function.
        let quad = unsafe { _mm256_set1_epi32(x.add(g).read_unaligned()) };
        let products = match WIDTH == Width::Eight as u8 {
            // One side is unsigned, so the sign moves to the activations.
            true => _mm256_maddubs_epi16(
                _mm256_abs_epi8(weights[g]),
                _mm256_sign_epi8(quad, weights[g]),
            ),
            false => _mm256_maddubs_epi16(weights[g], quad),
        };
        pairs = _mm256_add_epi16(pairs, products);
        if (g + 1) % narrow == 0 || g + 1 == TO {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            pairs = _mm256_setzero_si256();
        }
    }
    sum
}

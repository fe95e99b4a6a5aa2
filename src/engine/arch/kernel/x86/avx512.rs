//! A tile times some rows, with AVX-512 and its dot products of bytes (VNNI).

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::activations::{Activations, BlockScale};
use super::super::{BLOCK, Bytes, Halves, PackedWeight, SUPER, Small, TILE, Width};
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
        const FOUR: u8 = Width::Four as u8;
        const FIVE: u8 = Width::Five as u8;
        const SIX: u8 = Width::Six as u8;
        const EIGHT: u8 = Width::Eight as u8;
        // SAFETY: as this function's own contract.
        unsafe {
            match (self.layout.width, self.layout.small == Small::PerHalf) {
                (Width::Four, false) => self.strips::<FOUR, 1>(x, rows, tiles, y),
                (Width::Four, true) => self.strips::<FOUR, 2>(x, rows, tiles, y),
                (Width::Five, _) => self.strips::<FIVE, 1>(x, rows, tiles, y),
                (Width::Six, _) => self.strips::<SIX, 2>(x, rows, tiles, y),
                (Width::Eight, _) => self.strips::<EIGHT, 1>(x, rows, tiles, y),
            }
        }
    }

    /// With codes of one [`Width`] and `PARTS` scales per block.
    ///
    /// # Safety
    /// As [`PackedWeight::strips_avx512`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
    unsafe fn strips<const WIDTH: u8, const PARTS: usize>(
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
                    while row + 8 <= end {
                        self.tile::<WIDTH, PARTS, 8>(x, row, tile, y);
                        row += 8;
                    }
                    while row + 4 <= end {
                        self.tile::<WIDTH, PARTS, 4>(x, row, tile, y);
                        row += 4;
                    }
                    while row + 2 <= end {
                        self.tile::<WIDTH, PARTS, 2>(x, row, tile, y);
                        row += 2;
                    }
                    while row < end {
                        self.tile::<WIDTH, PARTS, 1>(x, row, tile, y);
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
    unsafe fn tile<const WIDTH: u8, const PARTS: usize, const R: usize>(
        &self,
        x: &Activations,
        row: usize,
        tile: usize,
        y: &Output,
    ) {
        let blocks = self.input / BLOCK;
        let (first, step) = x.place(row);
        let mut sums = [_mm512_setzero_ps(); R];
        for b in 0..blocks {
            // SAFETY: `b` is a block of the tile, and the rows are there, side by side.
            unsafe {
                let weights = self.codes_avx512::<WIDTH>(tile * blocks + b);
                let scales = self.scales_avx512::<PARTS>(tile, b);
                let x = Rows {
                    quads: x.codes.as_ptr().add((first + b * step) * BLOCK).cast(),
                    blocks: x.blocks.as_ptr().add(first + b * step),
                };
                if PARTS == 1 {
                    x.accumulate::<0, 8, R>(&weights, scales[0], &mut sums);
                } else {
                    x.accumulate::<0, 4, R>(&weights, scales[0], &mut sums);
                    x.accumulate::<4, 8, R>(&weights, scales[1], &mut sums);
                }
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            let index = (row + r) * self.out + tile * TILE;
            // SAFETY: the tile's sixteen columns of this row, which belong to this thread.
            unsafe { _mm512_storeu_ps(y.0.add(index), sum) }
        }
    }

    /// The codes of a block of all tiles: register `g` holds inputs `4 g .. 4 g + 4` of the sixteen rows.
    ///
    /// # Safety
    /// AVX-512 F and BW are there, the block is, and codes are of this width.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    unsafe fn codes_avx512<const WIDTH: u8>(&self, block: usize) -> [__m512i; 8] {
        let lines = self.layout.width.lines();
        // SAFETY: by the contract of this function.
        let at = unsafe { self.codes.as_ptr().add(block * lines) };
        // SAFETY: the block's lines are 64 bytes each.
        let line = |g: usize| unsafe { _mm512_load_si512(at.add(g).cast()) };
        if WIDTH == Width::Eight as u8 {
            return std::array::from_fn(line);
        }
        let low = _mm512_set1_epi8(15);
        let mut codes = [_mm512_setzero_si512(); 8];
        for g in 0..4 {
            let both = line(g);
            codes[g] = _mm512_and_si512(both, low);
            codes[4 + g] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        }
        if WIDTH == Width::Five as u8 {
            let sixteen = _mm512_set1_epi8(16);
            // SAFETY: the fifth line is eight masks.
            let masks = unsafe { at.add(4).cast::<[u64; 8]>().read() };
            for (codes, mask) in codes.iter_mut().zip(masks) {
                *codes = _mm512_mask_add_epi8(*codes, mask, *codes, sixteen);
            }
        }
        if WIDTH == Width::Six as u8 {
            let upper = _mm512_set1_epi8(0x30);
            for (half, codes) in codes.chunks_exact_mut(4).enumerate() {
                let pairs = line(4 + half);
                let shifted = [
                    _mm512_slli_epi16(pairs, 4),
                    _mm512_slli_epi16(pairs, 2),
                    pairs,
                    _mm512_srli_epi16(pairs, 2),
                ];
                for (codes, shifted) in codes.iter_mut().zip(shifted) {
                    *codes = _mm512_or_si512(*codes, _mm512_and_si512(shifted, upper));
                }
            }
        }
        codes
    }

    /// Scale and min of each part of a tile's block.
    ///
    /// # Safety
    /// AVX-512 F is there, the block is, and it has so many parts.
    #[target_feature(enable = "avx512f,avx2,f16c")]
    #[inline]
    unsafe fn scales_avx512<const PARTS: usize>(
        &self,
        tile: usize,
        b: usize,
    ) -> [(__m512, __m512); PARTS] {
        let layout = &self.layout;
        let each = 1 + usize::from(layout.mins);
        let offset = _mm512_set1_ps(-layout.offset);
        let (large_blocks, large_block) = match layout.small {
            Small::None => (self.input / BLOCK, b),
            _ => (self.input / SUPER, b / (SUPER / BLOCK)),
        };
        // SAFETY: by the contract of this function, the numbers of this block are there.
        unsafe {
            let large = self.large.as_ptr();
            let large = large.add((tile * large_blocks + large_block) * each);
            let scale = halves(large);
            let min = match layout.mins {
                true => halves(large.add(1)),
                false => _mm512_mul_ps(scale, offset),
            };
            if layout.small == Small::None {
                return [(scale, min); PARTS];
            }
            let small = self.small.as_ptr();
            let small = small.add((tile * (self.input / BLOCK) + b) * PARTS * each);
            std::array::from_fn(|part| {
                let factor = bytes(small.add(part * each));
                let min_factor = match layout.mins {
                    true => bytes(small.add(part * each + 1)),
                    false => factor,
                };
                (_mm512_mul_ps(scale, factor), _mm512_mul_ps(min, min_factor))
            })
        }
    }
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
    /// AVX-512 F and VNNI are there, and `R` rows.
    #[target_feature(enable = "avx512f,avx512vnni")]
    #[inline]
    unsafe fn accumulate<const FROM: usize, const TO: usize, const R: usize>(
        &self,
        weights: &[__m512i; 8],
        (scale, min): (__m512, __m512),
        sums: &mut [__m512; R],
    ) {
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: by the contract of this function.
            let block = unsafe { &*self.blocks.add(r) };
            let mut dots = _mm512_setzero_si512();
            #[expect(clippy::needless_range_loop, reason = "adapters are not unrolled")]
            for g in FROM..TO {
                // SAFETY: a block is eight groups of four codes.
                let quad = unsafe { self.quads.add(r * BLOCK / 4 + g).read_unaligned() };
                dots = _mm512_dpbusd_epi32(dots, weights[g], _mm512_set1_epi32(quad));
            }
            let sum_of_block = match TO - FROM {
                8 => block.sum,
                _ => block.half_sums[FROM / 4],
            };
            let both = _mm512_mul_ps(scale, _mm512_set1_ps(block.scale));
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), both, *sum);
            *sum = _mm512_fmadd_ps(min, _mm512_set1_ps(sum_of_block), *sum);
        }
    }
}

/// Sixteen f16 as f32.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn halves(from: *const Halves) -> __m512 {
    // SAFETY: by the contract of this function.
    _mm512_cvtph_ps(unsafe { _mm256_load_si256(from.cast()) })
}

/// Sixteen small integers as f32.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn bytes(from: *const Bytes) -> __m512 {
    // SAFETY: by the contract of this function.
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_load_si128(from.cast()) }))
}

//! Activations in 8 bits.

use rayon::prelude::*;

use super::BLOCK;

/// Rows that lie together, and are multiplied together.
pub const GROUP: usize = 8;

/// `x = scale * code`, per block of 32. Of each group of rows (the last may be smaller) the first blocks of all its rows
/// come first, then their second ones: a kernel that takes a group reads on in one place.
pub struct Activations {
    pub codes: Vec<i8>,
    pub blocks: Vec<BlockScale>,
    /// Blocks of a row.
    row_blocks: usize,
    rows: usize,
}

/// What a block's products are multiplied with, and what the weights' `min` is.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub struct BlockScale {
    pub scale: f32,
    /// The sum of the block: of `scale * code`.
    pub sum: f32,
    /// The sums of its two halves.
    pub half_sums: [f32; 2],
}

impl Activations {
    /// Rows of `input`, which is whole blocks.
    pub fn quantize(x: &[f32], input: usize) -> Self {
        let (rows, row_blocks) = (x.len() / input, input / BLOCK);
        let mut codes = vec![0; x.len()];
        let mut blocks = vec![BlockScale::default(); rows * row_blocks];
        let groups = (
            x.par_chunks(GROUP * input),
            codes.par_chunks_mut(GROUP * input),
            blocks.par_chunks_mut(GROUP * row_blocks),
        );
        match rows <= GROUP {
            true => quantize(x, &mut codes, &mut blocks, row_blocks),
            false => groups
                .into_par_iter()
                .for_each(|(x, codes, blocks)| quantize(x, codes, blocks, row_blocks)),
        }
        Self {
            codes,
            blocks,
            row_blocks,
            rows,
        }
    }

    /// The index of the first block of a row, and how many blocks further its next one is.
    pub fn place(&self, row: usize) -> (usize, usize) {
        let start = row / GROUP * GROUP;
        let step = GROUP.min(self.rows - start);
        (start * self.row_blocks + row - start, step)
    }
}

/// Quantises a group of rows, with AVX2 where it is there.
fn quantize(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale], row_blocks: usize) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { quantize_avx2(x, codes, blocks, row_blocks) };
    }
    quantize_any(x, codes, blocks, row_blocks);
}

/// The same code, compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn quantize_avx2(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale], row_blocks: usize) {
    quantize_any(x, codes, blocks, row_blocks);
}

#[inline(always)]
fn quantize_any(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale], row_blocks: usize) {
    let rows = blocks.len() / row_blocks;
    let (codes, _) = codes.as_chunks_mut::<BLOCK>();
    for (i, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
        let (row, block) = (i / row_blocks, i % row_blocks);
        let to = block * rows + row;
        blocks[to] = quantize_block(x, &mut codes[to]);
    }
}

#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8; BLOCK]) -> BlockScale {
    /// Adding it leaves no room for a fraction: the low bits of the sum are the number rounded to nearest even.
    const ROUND: f32 = 12_582_912.; // 1.5 * 2^23
    // As integers, which order non-negative numbers alike: a maximum of floats is found one by one.
    let largest = x.iter().fold(0, |m, x| x.abs().to_bits().max(m));
    let largest = f32::from_bits(largest);
    let scale = largest / 127.;
    let inverse = if scale > 0. { 1. / scale } else { 0. };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUND).to_bits() as i8;
    }
    let (low, high) = codes.split_at(BLOCK / 2);
    let sum = |half: &[i8]| half.iter().map(|code| i32::from(*code)).sum::<i32>();
    let (low, high) = (sum(low), sum(high));
    BlockScale {
        scale,
        sum: scale * (low + high) as f32,
        half_sums: [scale * low as f32, scale * high as f32],
    }
}

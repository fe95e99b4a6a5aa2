//! Activations in 8 bits.

use rayon::prelude::*;

use super::BLOCK;

/// `x = scale * code`, per block of 32.
pub struct Activations {
    pub codes: Vec<i8>,
    pub blocks: Vec<BlockScale>,
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
    /// `x` is whole blocks.
    pub fn quantize(x: &[f32]) -> Self {
        /// Blocks per task.
        const TASK: usize = 256;
        let count = x.len() / BLOCK;
        let mut codes = vec![0; x.len()];
        let mut blocks = vec![BlockScale::default(); count];
        if count <= TASK {
            quantize(x, &mut codes, &mut blocks);
        } else {
            let tasks = (
                x.par_chunks(TASK * BLOCK),
                codes.par_chunks_mut(TASK * BLOCK),
                blocks.par_chunks_mut(TASK),
            );
            tasks
                .into_par_iter()
                .for_each(|(x, codes, blocks)| quantize(x, codes, blocks));
        }
        Self { codes, blocks }
    }
}

/// Quantises whole blocks, with AVX2 where it is there.
fn quantize(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { quantize_avx2(x, codes, blocks) };
    }
    quantize_any(x, codes, blocks);
}

/// The same code, compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn quantize_avx2(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale]) {
    quantize_any(x, codes, blocks);
}

#[inline(always)]
fn quantize_any(x: &[f32], codes: &mut [i8], blocks: &mut [BlockScale]) {
    /// Adding it leaves no room for a fraction: the low bits of the sum are the number rounded to nearest even.
    const ROUND: f32 = 12_582_912.; // 1.5 * 2^23
    let all = x.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    for ((x, codes), block) in all.zip(blocks) {
        let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = largest / 127.;
        let inverse = if scale > 0. { 1. / scale } else { 0. };
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x * inverse + ROUND).to_bits() as i8;
        }
        let (low, high) = codes.split_at(BLOCK / 2);
        let sum = |half: &[i8]| half.iter().map(|code| i32::from(*code)).sum::<i32>();
        let (low, high) = (sum(low), sum(high));
        *block = BlockScale {
            scale,
            sum: scale * (low + high) as f32,
            half_sums: [scale * low as f32, scale * high as f32],
        };
    }
}

//! Activations in 8 bits.

use rayon::prelude::*;

use super::BLOCK;

/// `x = scale * code`, per block of 32.
pub struct Activations {
    pub codes: Vec<i8>,
    pub scales: Vec<f32>,
    /// The sum of each block's codes: what the weights' offset is multiplied with and, scaled, their `min`.
    pub sums: Vec<i32>,
}

impl Activations {
    /// `x` is whole blocks.
    pub fn quantize(x: &[f32]) -> Self {
        /// Blocks per task.
        const TASK: usize = 256;
        let blocks = x.len() / BLOCK;
        let mut codes = vec![0; x.len()];
        let (mut scales, mut sums) = (vec![0.; blocks], vec![0; blocks]);
        if blocks <= TASK {
            quantize(x, &mut codes, &mut scales, &mut sums);
        } else {
            let tasks = (
                x.par_chunks(TASK * BLOCK),
                codes.par_chunks_mut(TASK * BLOCK),
                scales.par_chunks_mut(TASK),
                sums.par_chunks_mut(TASK),
            );
            tasks
                .into_par_iter()
                .for_each(|(x, codes, scales, sums)| quantize(x, codes, scales, sums));
        }
        Self {
            codes,
            scales,
            sums,
        }
    }
}

/// Quantises whole blocks, with AVX2 where it is there.
fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { quantize_avx2(x, codes, scales, sums) };
    }
    quantize_any(x, codes, scales, sums);
}

/// The same code, compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn quantize_avx2(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    quantize_any(x, codes, scales, sums);
}

#[inline(always)]
pub fn quantize_any(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i32]) {
    /// Adding it leaves no room for a fraction: the low bits of the sum are the number rounded to nearest even.
    const ROUND: f32 = 12_582_912.; // 1.5 * 2^23
    let blocks = x.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    for ((x, codes), (scale, sum)) in blocks.zip(scales.iter_mut().zip(sums)) {
        let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
        *scale = largest / 127.;
        let inverse = if *scale > 0. { 1. / *scale } else { 0. };
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x * inverse + ROUND).to_bits() as i8;
        }
        *sum = codes.iter().map(|code| i32::from(*code)).sum::<i32>();
    }
}

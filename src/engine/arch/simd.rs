//! Elementwise loops on the CPU that are worth wide registers, above all those with an exponential in them: `libm` computes
//! one at a time.

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Whether AVX-512 is not to be used though it may be there: `CHAPTERIZE_ISA=avx2` tries the other kernels.
#[cfg(target_arch = "x86_64")]
pub fn avx512_is_hidden() -> bool {
    static HIDDEN: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("CHAPTERIZE_ISA").is_some_and(|isa| isa == "avx2"));
    *HIDDEN
}

/// Calls `f` in a place that is compiled for wider registers, where there are some. What `f` does has to be inlined.
#[inline(always)]
pub fn wide(f: impl FnOnce()) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { wide_avx2(f) };
    }
    f();
}

/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn wide_avx2(f: impl FnOnce()) {
    f();
}

/// `e^x` to about 2e-7 of itself; below -87 it is that of -87. Cephes' polynomial (Moshier 1992), without branches so that
/// loops over it are vectorised.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it leaves no room for a fraction: the low bits of the sum are the number rounded to nearest even.
    const ROUND: f32 = 12_582_912.; // 1.5 * 2^23
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    let x = x.clamp(-87., 88.);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that little is lost.
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let y = p * r * r + r + 1.;
    let two_to_n = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    y * two_to_n
}

/// The largest of some numbers; below all where there are none.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; 16];
    for chunk in x.chunks(16) {
        for (m, x) in largest.iter_mut().zip(chunk) {
            *m = if *x > *m { *x } else { *m };
        }
    }
    largest.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Exponentials of some numbers less one of them, in place, and their sum.
#[inline(always)]
pub fn exp_less(x: &mut [f32], one: f32) -> f32 {
    let mut sums = [0f32; 16];
    for chunk in x.chunks_mut(16) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - one);
            *sum += *x;
        }
    }
    sums.iter().sum()
}

/// `silu(gate) * up` in one pass (Shazeer 2020): without it, the largest intermediate results are written and read twice more.
pub fn silu_times(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &SiluTimes)
}

struct SiluTimes;

impl CustomOp2 for SiluTimes {
    fn name(&self) -> &'static str {
        "silu-times"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        /// Elements per task.
        const TASK: usize = 1 << 14;
        let (CpuStorage::F32(gate), CpuStorage::F32(up)) = (gate, up) else {
            bail!("silu-times needs f32")
        };
        let (Some((g, g_end)), Some((u, u_end))) = (
            gate_layout.contiguous_offsets(),
            up_layout.contiguous_offsets(),
        ) else {
            bail!("silu-times needs contiguous tensors")
        };
        let (gate, up) = (&gate[g..g_end], &up[u..u_end]);
        let mut out = vec![0f32; gate.len()];
        let tasks = out.par_chunks_mut(TASK).zip(gate.par_chunks(TASK));
        tasks
            .zip(up.par_chunks(TASK))
            .for_each(|((out, gate), up)| wide(|| silu_times_slice(gate, up, out)));
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }
}

#[inline(always)]
fn silu_times_slice(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1. + exp(-gate)) * up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_exponential_is_that_of_libm() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.;
            let (ours, reference) = (exp(x), f64::from(x).exp());
            let difference = (f64::from(ours) - reference).abs() / reference;
            assert!(difference < 3e-7, "{x}: {ours} {reference}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp(0.), 1.);
    }

    #[test]
    fn silu_times_is_that_of_candle() {
        let random = |shape| Tensor::randn(0f32, 4., shape, &Device::Cpu).unwrap();
        let (gate, up) = (random((7, 133)), random((7, 133)));
        let fused = silu_times(&gate, &up).unwrap();
        let plain = (gate.silu().unwrap() * up).unwrap();
        let difference = (fused - plain).unwrap().abs().unwrap();
        let worst = difference.flatten_all().unwrap().max(0).unwrap();
        assert!(worst.to_scalar::<f32>().unwrap() < 1e-5);
    }
}

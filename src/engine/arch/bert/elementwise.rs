//! What is between the products of a BERT: bias and GELU, sum and layer norm; on the CPU in place and in one pass each.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::AddNorm;
use crate::engine::arch::layers::{Activation, LayerNorm};
use crate::engine::arch::simd::exp;

/// Elements per task.
const TASK: usize = 1 << 14;
/// Sums that a long sum is computed in: as many as a register of 512 bits holds.
const LANES: usize = 16;

/// `activation(x + bias)` of `(T, n)` and `(n)`; `x` must be the only handle of its values.
pub fn biased(x: Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if x.device().is_cpu() && activation == Activation::Gelu {
        x.inplace_op2(bias, &BiasedGelu)?;
        return Ok(x);
    }
    activation.apply(&x.broadcast_add(bias)?)
}

/// `norm(x + y + bias)`, all `(T, hidden)`; `x` must be the only handle of its values.
pub fn add_norm(x: Tensor, y: &Tensor, norm: &AddNorm) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.inplace_op3(y, &norm.parameters, &SumNormed { eps: norm.eps })?;
        return Ok(x);
    }
    let [bias, weight, shift] = [0, 1, 2].map(|row| norm.parameters.get(row));
    LayerNorm::new(weight?, shift?, norm.eps).forward(&(x + y)?.broadcast_add(&bias?)?)
}

struct BiasedGelu;

impl InplaceOp2 for BiasedGelu {
    fn name(&self) -> &'static str {
        "biased-gelu"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        let (x, bias) = (written(x, layout)?, read((bias, bias_layout))?);
        let rows = (TASK / bias.len()).max(1);
        x.par_chunks_mut(rows * bias.len())
            .for_each(|x| biased_gelu(x, bias));
        Ok(())
    }
}

struct SumNormed {
    eps: f32,
}

impl InplaceOp3 for SumNormed {
    fn name(&self) -> &'static str {
        "sum-normed"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<()> {
        let (x, y) = (written(x, layout)?, read((y, y_layout))?);
        let parameters = read((parameters, parameters_layout))?;
        let chunk = (TASK / (parameters.len() / 3)).max(1) * (parameters.len() / 3);
        x.par_chunks_mut(chunk)
            .zip(y.par_chunks(chunk))
            .for_each(|(x, y)| sum_normed(x, y, parameters, self.eps));
        Ok(())
    }
}

/// A contiguous tensor's values.
pub fn read<'a>((storage, layout): (&'a CpuStorage, &Layout)) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(x), Some((from, to))) => Ok(&x[from..to]),
        _ => bail!("BERT computes with contiguous f32 on the CPU"),
    }
}

fn written<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(x), Some((from, to))) => Ok(&mut x[from..to]),
        _ => bail!("BERT computes with contiguous f32 on the CPU"),
    }
}

/// `x Φ(x)` with the normal distribution function Φ (Hendrycks and Gimpel 2016), to about 3e-7: the error function by formula
/// 7.1.26 of Abramowitz and Stegun 1964, which is one of its tail, so that large negative numbers keep their precision.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1. / (1. + 0.327_591_1 * z);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let tail = 0.5 * p * t * exp(-z * z);
    x.max(0.) - x.abs() * tail
}

fn biased_gelu(x: &mut [f32], bias: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { x86::biased_gelu(x, bias) };
    }
    biased_gelu_any(x, bias);
}

#[inline(always)]
fn biased_gelu_any(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in row.iter_mut().zip(bias) {
            *x = gelu(*x + bias);
        }
    }
}

/// Rows of `x` become normed sums; `parameters` are those of [`AddNorm`].
fn sum_normed(x: &mut [f32], y: &[f32], parameters: &[f32], eps: f32) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { x86::sum_normed(x, y, parameters, eps) };
    }
    sum_normed_any(x, y, parameters, eps);
}

#[inline(always)]
fn sum_normed_any(x: &mut [f32], y: &[f32], parameters: &[f32], eps: f32) {
    let size = parameters.len() / 3;
    let (bias, norm) = parameters.split_at(size);
    let (weight, shift) = norm.split_at(size);
    for (x, y) in x.chunks_exact_mut(size).zip(y.chunks_exact(size)) {
        for ((x, y), bias) in x.iter_mut().zip(y).zip(bias) {
            *x += y + bias;
        }
        let mean = total(x, |x| x) / size as f32;
        let variance = total(x, |x| (x - mean) * (x - mean)) / size as f32;
        let inverse = 1. / (variance + eps).sqrt();
        for ((x, weight), shift) in x.iter_mut().zip(weight).zip(shift) {
            *x = (*x - mean) * inverse * weight + shift;
        }
    }
}

#[inline(always)]
fn total(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += of(*x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| of(*x)).sum::<f32>()
}

/// The same code, compiled for wider registers.
#[cfg(target_arch = "x86_64")]
mod x86 {
    /// # Safety
    /// AVX2 and FMA are there.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn biased_gelu(x: &mut [f32], bias: &[f32]) {
        super::biased_gelu_any(x, bias);
    }

    /// # Safety
    /// AVX2 and FMA are there.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn sum_normed(x: &mut [f32], y: &[f32], parameters: &[f32], eps: f32) {
        super::sum_normed_any(x, y, parameters, eps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device};

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 2., shape, &Device::Cpu).unwrap()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        difference.max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn gelu_is_that_of_the_error_function() {
        let x = (-12_000..=12_000).map(|i| i as f32 / 1000.);
        let x = Tensor::from_iter(x, &Device::Cpu).unwrap();
        let bias = Tensor::zeros(x.dims(), x.dtype(), &Device::Cpu).unwrap();
        let reference = x.gelu_erf().unwrap();
        let found = biased(x.copy().unwrap(), &bias, Activation::Gelu).unwrap();
        assert!(worst(&found, &reference) < 1e-6);
        // The same, not compiled for this machine.
        let mut plain = x.to_vec1::<f32>().unwrap();
        biased_gelu_any(&mut plain, &bias.to_vec1::<f32>().unwrap());
        let plain = Tensor::new(plain, &Device::Cpu).unwrap();
        assert!(worst(&plain, &reference) < 1e-6);
    }

    #[test]
    fn bias_and_activation_are_those_of_candle() {
        for activation in [Activation::Gelu, Activation::Relu] {
            let (x, bias) = (random((37, 1200)), random((1, 1200)));
            let reference = activation.apply(&x.broadcast_add(&bias).unwrap()).unwrap();
            let found = biased(x, &bias.squeeze(0).unwrap(), activation).unwrap();
            assert!(worst(&found, &reference) < 1e-6);
        }
    }

    #[test]
    fn sum_and_norm_are_those_of_candle() {
        let (x, y, parameters) = (random((67, 389)), random((67, 389)), random((3, 389)));
        let of = |row| parameters.get(row).unwrap();
        let sum = (&x + &y).unwrap().broadcast_add(&of(0)).unwrap();
        let reference = LayerNorm::new(of(1), of(2), 1e-12).forward(&sum).unwrap();
        let mut plain = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        sum_normed_any(&mut plain, &flat(&y), &flat(&parameters), 1e-12);
        let plain = Tensor::from_vec(plain, x.shape(), &Device::Cpu).unwrap();
        let norm = AddNorm {
            parameters,
            eps: 1e-12,
        };
        let found = add_norm(x, &y, &norm).unwrap();
        assert!(worst(&found, &reference) < 1e-5);
        assert!(worst(&plain, &reference) < 1e-5);
        assert_eq!(found.dim(D::Minus1).unwrap(), 389);
    }
}

//! Matrix products of 16-bit weights with f32 activations on the CPU.
//!
//! candle would hold such weights as f32, twice their size. Here they stay as they are stored and are widened piece by
//! piece where they are used; the products are those of the widened weights.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor, bail};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::attention::dot;

/// Up to so many activation rows a weight row is multiplied with each as it is widened; with more, a block of rows is
/// widened and goes through gemm.
const FEW: usize = 8;
/// Weight rows widened for one product of gemm.
const BLOCK: usize = 512;

/// A weight matrix `(out, in)` in F16 or BF16.
pub struct HalfWeight {
    weight: Arc<QTensor>,
    widen: fn(&[u16], &mut [f32]),
    out: usize,
    input: usize,
}

impl HalfWeight {
    /// `None` where the general path has to serve: other types and devices.
    pub fn try_new(weight: &Arc<QTensor>) -> Result<Option<Self>> {
        let widen = match weight.dtype() {
            GgmlDType::F16 => widen_f16,
            GgmlDType::BF16 => widen_bf16,
            _ => return Ok(None),
        };
        if !weight.device().is_cpu() {
            return Ok(None);
        }
        let (out, input) = weight.shape().dims2()?;
        Ok(Some(Self {
            weight: weight.clone(),
            widen,
            out,
            input,
        }))
    }

    /// The rows that `ids` name, `(T, in)`.
    pub fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        self.weight.embedding(ids)
    }

    /// `(T, in) -> (T, out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (t, input) = x.dims2()?;
        if input != self.input {
            bail!("{input} activations for {} inputs", self.input)
        }
        let data = self.weight.data()?;
        // SAFETY: any bytes are integers of 16 bits.
        let (before, weight, after) = unsafe { data.align_to::<u16>() };
        if !before.is_empty() || !after.is_empty() {
            bail!("16-bit weights are not aligned")
        }
        match t <= FEW {
            true => self.few(x, weight, t),
            false => self.many(x, weight),
        }
    }

    fn few(&self, x: &Tensor, weight: &[u16], t: usize) -> Result<Tensor> {
        let x = x.flatten_all()?.to_vec1::<f32>()?;
        let mut y = vec![0f32; self.out * t]; // (out, T)
        let rows = weight.par_chunks(self.input).zip(y.par_chunks_mut(t));
        rows.for_each_init(
            || vec![0f32; self.input],
            |wide, (row, y)| {
                (self.widen)(row, wide);
                for (y, x) in y.iter_mut().zip(x.chunks(self.input)) {
                    *y = dot(x, wide);
                }
            },
        );
        Tensor::from_vec(y, (self.out, t), &candle_core::Device::Cpu)?
            .t()?
            .contiguous()
    }

    fn many(&self, x: &Tensor, weight: &[u16]) -> Result<Tensor> {
        let product = |block: &[u16]| {
            let mut wide = vec![0f32; block.len()];
            let pieces = block.par_chunks(self.input);
            pieces
                .zip(wide.par_chunks_mut(self.input))
                .for_each(|(row, wide)| (self.widen)(row, wide));
            let shape = (block.len() / self.input, self.input);
            x.matmul(&Tensor::from_vec(wide, shape, x.device())?.t()?)
        };
        let blocks = weight.chunks(BLOCK * self.input).map(product);
        Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 1)
    }
}

fn widen_f16(row: &[u16], wide: &mut [f32]) {
    // SAFETY: an f16 is its 16 bits, whatever they are.
    let row = unsafe { std::slice::from_raw_parts(row.as_ptr().cast::<f16>(), row.len()) };
    row.convert_to_f32_slice(wide);
}

fn widen_bf16(row: &[u16], wide: &mut [f32]) {
    for (wide, bits) in wide.iter_mut().zip(row) {
        *wide = f32::from_bits(u32::from(*bits) << 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn products_are_those_of_the_widened_weights() {
        let device = Device::Cpu;
        let random = |shape| Tensor::randn(0f32, 1., shape, &device).unwrap();
        for dtype in [GgmlDType::F16, GgmlDType::BF16] {
            // Widths no vector register divides, more rows than a block, few and many activations.
            for (out, input, t) in [(7, 33, 1), (BLOCK + 5, 96, 3), (BLOCK + 5, 96, 40)] {
                let weight = Arc::new(QTensor::quantize(&random((out, input)), dtype).unwrap());
                let half = HalfWeight::try_new(&weight).unwrap().unwrap();
                let x = random((t, input));
                let wide = weight.dequantize(&device).unwrap().t().unwrap();
                let expected = x.matmul(&wide).unwrap().to_vec2::<f32>().unwrap();
                let found = half.forward(&x).unwrap().to_vec2::<f32>().unwrap();
                for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
                    assert!((a - b).abs() < 1e-4, "{dtype:?}: {a} {b}");
                }
            }
        }
    }
}

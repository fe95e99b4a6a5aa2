//! Layers that the architectures share.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{D, Device, Module, Result, Tensor};
use serde::Deserialize;

use super::cpu;
use super::half::HalfWeight;
use super::kernel::{PackedWeight, Stored};
use super::simd;

/// `y = x W^T + b`, with weights float or quantised: one type, so that no architecture has a quantised twin.
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

enum Weight {
    /// Through candle: any GGUF type, any device.
    General(QMatMul),
    /// 16-bit types on the CPU.
    Half(HalfWeight),
    /// Quantised types on a CPU that has the instructions for our own kernel.
    Packed(PackedWeight),
}

impl Linear {
    /// `weight` is `(out, in)`, `bias` `(out)`.
    pub fn new(weight: Arc<QTensor>, bias: Option<Tensor>) -> Result<Self> {
        if let Some(packed) = packed(&weight)? {
            return Ok(Self::packed(packed, bias));
        }
        let weight = match HalfWeight::try_new(&weight)? {
            Some(half) => Weight::Half(half),
            None => Weight::General(QMatMul::from_arc(weight)?),
        };
        Ok(Self { weight, bias })
    }

    /// The same of a weight that was packed for the CPU's own instructions.
    pub fn packed(weight: PackedWeight, bias: Option<Tensor>) -> Self {
        let weight = Weight::Packed(weight);
        Self { weight, bias }
    }

    /// From floats, rounded to 8 bits in blocks of 32 where there is a kernel for them, else as they are.
    pub fn rounded(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let eight = QTensor::quantize(weight, GgmlDType::Q8_0)?;
        let weight = match packed(&eight)? {
            Some(packed) => Weight::Packed(packed),
            None => Weight::General(QMatMul::Tensor(weight.clone())),
        };
        Ok(Self { weight, bias })
    }

    /// `(T, in) -> (T, out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::General(weight) => weight.forward(x)?,
            Weight::Half(weight) => weight.forward(x)?,
            Weight::Packed(weight) => weight.forward(x)?,
        };
        self.biased(y)
    }

    /// The products of several weights with the same activations. Packed ones quantise these once and go to the threads
    /// together.
    pub fn forward_all<const N: usize>(linears: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let packed = linears.iter().filter_map(|linear| match &linear.weight {
            Weight::Packed(weight) => Some(weight),
            _ => None,
        });
        let packed = packed.collect::<Vec<_>>();
        let products = match packed.len() == N {
            true => {
                let products = PackedWeight::forward_all(&packed, x)?;
                let biased = linears.iter().zip(products).map(|(l, y)| l.biased(y));
                biased.collect::<Result<Vec<_>>>()?
            }
            false => linears
                .iter()
                .map(|linear| linear.forward(x))
                .collect::<Result<Vec<_>>>()?,
        };
        let mut products = products.into_iter();
        Ok(linears.map(|_| products.next().expect("one product per weight")))
    }

    /// Whether the weight has fewer than 16 bits.
    pub fn is_quantised(&self) -> bool {
        match &self.weight {
            Weight::General(weight) => match weight {
                QMatMul::QTensor(weight) => weight.dtype().block_size() > 1,
                _ => false,
            },
            Weight::Half(_) => false,
            Weight::Packed(_) => true,
        }
    }

    fn biased(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// The rows of the weight that `ids` name, `(T, in)`: a head that is tied is the table of embeddings.
    pub fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        let index = || Tensor::new(ids, device);
        match &self.weight {
            Weight::General(weight) => weight.embedding(&index()?),
            Weight::Half(weight) => weight.rows(&index()?),
            Weight::Packed(weight) => weight.rows(ids),
        }
    }
}

/// A weight packed, where there is a kernel for it.
fn packed(weight: &QTensor) -> Result<Option<PackedWeight>> {
    if !weight.device().is_cpu() {
        return Ok(None);
    }
    Ok(PackedWeight::new(&Stored {
        dtype: weight.dtype(),
        shape: weight.shape().dims2()?,
        bytes: &weight.data()?,
        order: None,
    }))
}

/// Root mean square layer normalisation (Zhang and Sennrich 2019), over the last dimension.
pub struct RmsNorm {
    weight: Tensor,
    eps: f32,
}

impl RmsNorm {
    pub fn new(weight: Tensor, eps: f32) -> Self {
        Self { weight, eps }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => self.on_cpu(|norm| cpu::normed(&x.contiguous()?, norm)),
            false => candle_nn::ops::rms_norm(x, &self.weight, self.eps),
        }
    }

    /// Calls `f` with the norm as [`cpu`] takes it.
    pub fn on_cpu<R>(&self, f: impl FnOnce(cpu::Norm) -> Result<R>) -> Result<R> {
        cpu::read(&self.weight, |weight| {
            f(cpu::Norm {
                weight,
                eps: self.eps,
            })
        })
    }
}

/// A residual connection: `x + scale * after(added)`, all `(T, hidden)`. On the CPU `x` itself is changed.
pub fn residual(x: Tensor, added: &Tensor, after: Option<&RmsNorm>, scale: f32) -> Result<Tensor> {
    if x.device().is_cpu() {
        match after {
            Some(after) => after.on_cpu(|norm| cpu::add(&x, added, Some(norm), scale))?,
            None => cpu::add(&x, added, None, scale)?,
        }
        return Ok(x);
    }
    let added = after.map_or_else(|| Ok(added.clone()), |after| after.forward(added))?;
    x + scaled(added, scale)?
}

/// `x` times `scale`. On the CPU `x` itself is changed.
pub fn scaled(x: Tensor, scale: f32) -> Result<Tensor> {
    if scale == 1. {
        return Ok(x);
    }
    if x.device().is_cpu() {
        cpu::scale(&x, scale)?;
        return Ok(x);
    }
    x * f64::from(scale)
}

/// Layer normalisation (Ba et al. 2016), over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    pub fn new(weight: Tensor, bias: Tensor, eps: f32) -> Self {
        Self { weight, bias, eps }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// What is between the two products of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Activation {
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    #[serde(rename = "relu")]
    Relu,
    /// Exact, with the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// Approximated with the hyperbolic tangent.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new", alias = "gelu_fast")]
    GeluTanh,
}

impl Activation {
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
        }
    }

    /// `activation(gate) * up` (Shazeer 2020).
    pub fn times(self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu if gate.device().is_cpu() => simd::silu_times(gate, up),
            _ => self.apply(gate)? * up,
        }
    }
}

/// The last row of each span of a packed `(T, hidden)` matrix: `(rows, hidden)`.
pub fn last_rows(x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let ends = lengths
        .iter()
        .scan(0u32, |end, len| {
            *end += *len as u32;
            Some(*end - 1)
        })
        .collect::<Vec<_>>();
    if ends.len() == x.dim(0)? {
        return Ok(x.clone());
    }
    x.index_select(&Tensor::new(ends, x.device())?, D::Minus2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_weight_gives_the_product_with_what_it_stands_for() {
        let device = Device::Cpu;
        let random = |shape| Tensor::randn(0f32, 1., shape, &device).unwrap();
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            for (out, input, t) in [(24, 512, 1), (24, 512, 9), (7, 256, 3)] {
                let weight = Arc::new(QTensor::quantize(&random((out, input)), dtype).unwrap());
                let plain = weight.dequantize(&device).unwrap().t().unwrap();
                let (x, bias) = (random((t, input)), random((1, out)));
                let expected = x.matmul(&plain).unwrap().broadcast_add(&bias).unwrap();
                let linear = Linear::new(weight, Some(bias.squeeze(0).unwrap())).unwrap();
                let found = linear.forward(&x).unwrap();
                let difference = (found - expected).unwrap().abs().unwrap();
                let worst = difference.flatten_all().unwrap().max(0).unwrap();
                let worst = worst.to_scalar::<f32>().unwrap() / (input as f32).sqrt();
                // Quantised products round activations to 8 bits.
                assert!(worst < 0.05, "{dtype:?} {out}x{input}: {worst}");
            }
        }
    }
}

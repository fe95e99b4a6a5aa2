//! Layers that the architectures share.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{D, Module, Result, Tensor};
use serde::Deserialize;

use super::half::HalfWeight;
use super::kernel::PackedWeight;
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
    /// 32-wide block types on a CPU that has the instructions for our own kernel.
    Packed(PackedWeight),
}

impl Linear {
    /// `weight` is `(out, in)`, `bias` `(out)`.
    pub fn new(weight: Arc<QTensor>, bias: Option<Tensor>) -> Result<Self> {
        let weight = if let Some(packed) = PackedWeight::try_new(&weight)? {
            Weight::Packed(packed)
        } else if let Some(half) = HalfWeight::try_new(&weight)? {
            Weight::Half(half)
        } else {
            Weight::General(QMatMul::from_arc(weight)?)
        };
        Ok(Self { weight, bias })
    }

    /// From floats, rounded to 8 bits in blocks of 32 where there is a kernel for them, else as they are.
    pub fn rounded(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let eight = Arc::new(QTensor::quantize(weight, GgmlDType::Q8_0)?);
        let weight = match PackedWeight::try_new(&eight)? {
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
            Weight::Packed(weight) => x.apply_op1_no_bwd(weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
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
        candle_nn::ops::rms_norm(x, &self.weight, self.eps)
    }
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
    use candle_core::Device;

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

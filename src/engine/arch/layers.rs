//! Layers that the architectures share.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{D, DType, Device, Module, Result, Tensor};

use super::kernel::PackedWeight;

/// `y = x W^T`, with weights float or quantised: one type, so that no architecture has a quantised twin.
pub enum Linear {
    /// Through candle: any GGUF type, any device.
    General(QMatMul),
    /// 32-wide block types on a CPU that has the instructions for our own kernel.
    Packed(PackedWeight),
}

impl Linear {
    /// `weight` is `(out, in)`.
    pub fn new(weight: Arc<QTensor>) -> Result<Self> {
        Ok(match PackedWeight::try_new(&weight)? {
            Some(packed) => Self::Packed(packed),
            None => Self::General(QMatMul::from_arc(weight)?),
        })
    }

    /// `(T, in) -> (T, out)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::General(weight) => weight.forward(x),
            Self::Packed(weight) => x.apply_op1_no_bwd(weight),
        }
    }
}

/// Root mean square layer normalisation (Zhang and Sennrich 2019).
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

/// Rotary position embedding (Su et al. 2021), rotating halves.
///
/// The tables are f32 whatever the model's type: in 16 bits they drift past a few thousand positions.
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    pub fn new(head_dim: usize, base: f32, window: usize, device: &Device) -> Result<Self> {
        let inverse = (0..head_dim)
            .step_by(2)
            .map(|i| (f64::from(base).powf(-(i as f64) / head_dim as f64)) as f32)
            .collect::<Vec<_>>();
        let inverse = Tensor::new(inverse, device)?.unsqueeze(0)?;
        let positions = Tensor::arange(0, window as u32, device)?
            .to_dtype(DType::F32)?
            .unsqueeze(1)?;
        let angles = positions.matmul(&inverse)?;
        Ok(Self {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// Rows of the tables for the given positions, `(T, head size / 2)` each.
    pub fn at(&self, positions: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((
            self.cos.index_select(positions, 0)?,
            self.sin.index_select(positions, 0)?,
        ))
    }
}

/// `silu(gate) * up` (Shazeer 2020).
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
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

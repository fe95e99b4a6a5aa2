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

/// Causal attention of `t` new tokens over a whole cache, with grouped key and value heads.
///
/// `q` is `(t, heads, d)`, `k` and `v` `(kv heads, len, d)` where the last `t` of `len` are the new tokens'.
/// Returns `(t, heads * d)`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (t, heads, d) = q.dims3()?;
    let (kv_heads, len, _) = k.dims3()?;
    let group = heads / kv_heads;
    // (t, H, d) -> (H, t, d) -> (KV, group * t, d): heads of a group lie side by side and share one matmul.
    let q = (q.transpose(0, 1)?.contiguous()? * (1. / (d as f64).sqrt()))?;
    let q = q.reshape((kv_heads, group * t, d))?;
    let mut scores = q.matmul(&k.transpose(1, 2)?)?; // (KV, group * t, len)
    if t > 1 {
        let mask = causal_mask(t, len, q.device())?;
        scores = scores
            .reshape((kv_heads, group, t, len))?
            .broadcast_add(&mask)?
            .reshape((kv_heads, group * t, len))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    weights
        .matmul(v)?
        .reshape((heads, t, d))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((t, heads * d))
}

/// `(t, len)`: minus infinity where a token would look ahead.
fn causal_mask(t: usize, len: usize, device: &Device) -> Result<Tensor> {
    let past = len - t;
    let mask = (0..t)
        .flat_map(|i| (0..len).map(move |j| if j > past + i { f32::NEG_INFINITY } else { 0. }))
        .collect::<Vec<_>>();
    Tensor::from_vec(mask, (t, len), device)
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

//! The tensors of a checkpoint by name, from a GGUF file, safetensors or PyTorch files.

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::sync::Arc;

use super::arch::kernel::{PackedWeight, Stored};
use super::arch::layers::{LayerNorm, Linear, RmsNorm};
use super::folder::Folder;
use super::gguf::Gguf;

/// An open checkpoint, memory-mapped while it is read.
pub enum Weights {
    Gguf(Gguf),
    Folder(Folder),
}

impl Weights {
    /// The file or folder, for messages.
    pub fn origin(&self) -> String {
        match self {
            Self::Gguf(gguf) => gguf.path().display().to_string(),
            Self::Folder(folder) => folder.path().display().to_string(),
        }
    }

    /// The type most weights are stored in: `Q4_1`, `BF16`.
    pub fn quantization(&self) -> String {
        match self {
            Self::Gguf(gguf) => gguf.quantization(),
            Self::Folder(folder) => folder.dtype(),
        }
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self {
            Self::Gguf(gguf) => gguf.shape(name),
            Self::Folder(folder) => folder.shape(name),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// A tensor as it is stored, checked against the shape the architecture expects.
    pub fn tensor(&self, name: &str, shape: &[usize], device: &Device) -> Result<QTensor> {
        self.check(name, shape)?;
        match self {
            Self::Gguf(gguf) => gguf.tensor(name, device),
            Self::Folder(folder) => folder.tensor(name, device),
        }
        .with_context(|| format!("{}: tensor '{name}'", self.origin()))
    }

    /// Errors: a tensor that is missing or has another shape.
    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let origin = self.origin();
        let Some(found) = self.shape(name) else {
            bail!(
                "{origin}: tensor '{name}' is missing; {}",
                self.instead_of(name)
            );
        };
        ensure!(
            found == shape,
            "{origin}: tensor '{name}' has shape {found:?}, expected {shape:?}"
        );
        Ok(())
    }

    /// A tensor (norms, biases, tables) as `f32`.
    pub fn float(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        Ok(self.tensor(name, shape, device)?.dequantize(device)?)
    }

    /// The product with `{name}.weight`, `(out, in)`, and `{name}.bias` where there is one.
    pub fn linear(&self, name: &str, shape: (usize, usize), device: &Device) -> Result<Linear> {
        self.linear_of(name, shape, None, None, device)
    }

    /// The same with the rows that are named, in their order (rows are independent under quantisation, so this is exact), and
    /// with `delta` added to them, f32 on the CPU. A quantised weight is then rounded anew, to 8 bits: in
    /// fewer, most of a delta would be lost.
    pub fn linear_of(
        &self,
        name: &str,
        shape: (usize, usize),
        order: Option<&[usize]>,
        delta: Option<&Tensor>,
        device: &Device,
    ) -> Result<Linear> {
        let mut bias = self.bias(name, shape.0, device)?;
        if let (Some(all), Some(order)) = (&bias, order) {
            let index = Tensor::from_iter(order.iter().map(|row| *row as u32), device)?;
            bias = Some(all.index_select(&index, 0)?);
        }
        let name = format!("{name}.weight");
        self.check(&name, &[shape.0, shape.1])?;
        if let (Self::Gguf(gguf), Device::Cpu, None) = (self, device, delta)
            && let Some((dtype, bytes)) = gguf.bytes(&name)
        {
            let stored = Stored {
                dtype,
                shape,
                bytes,
                order,
            };
            if let Some(packed) = PackedWeight::new(&stored) {
                gguf.release(&name);
                return Ok(Linear::packed(packed, bias));
            }
        }
        let at = if delta.is_some() {
            &Device::Cpu
        } else {
            device
        };
        let mut weight = self.tensor(&name, &[shape.0, shape.1], at)?;
        if let Some(order) = order {
            weight = rows(&weight, order, at)?;
        }
        if let Some(delta) = delta {
            weight = sum(&weight, delta, device)?;
            if let Self::Gguf(gguf) = self {
                gguf.release(&name);
            }
        }
        Ok(Linear::new(Arc::new(weight), bias)?)
    }

    /// `{name}.bias` where there is one.
    pub fn bias(&self, name: &str, out: usize, device: &Device) -> Result<Option<Tensor>> {
        let name = format!("{name}.bias");
        let bias = |()| self.float(&name, &[out], device);
        self.has(&name).then_some(()).map(bias).transpose()
    }

    /// `{name}.weight` of a root mean square norm.
    pub fn rms_norm(&self, name: &str, size: usize, eps: f32, device: &Device) -> Result<RmsNorm> {
        let weight = self.float(&format!("{name}.weight"), &[size], device)?;
        Ok(RmsNorm::new(weight, eps))
    }

    /// `{name}.weight` and `{name}.bias` of a layer norm.
    pub fn layer_norm(
        &self,
        name: &str,
        size: usize,
        eps: f32,
        device: &Device,
    ) -> Result<LayerNorm> {
        let part = |part: &str| self.float(&format!("{name}.{part}"), &[size], device);
        Ok(LayerNorm::new(part("weight")?, part("bias")?, eps))
    }

    /// What the checkpoint holds in place of a tensor: the names nearest to it.
    fn instead_of(&self, name: &str) -> String {
        let mut names: Vec<&str> = match self {
            Self::Gguf(gguf) => gguf.names().collect(),
            Self::Folder(folder) => folder.names().collect(),
        };
        let likeness = |other: &str| strsim::jaro_winkler(name, other);
        names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)).then(a.cmp(b)));
        let count = names.len();
        let nearest = names[..count.min(3)].join(", ");
        match count {
            0 => "the checkpoint holds none".into(),
            _ => format!("of the {count} it holds the nearest are {nearest}"),
        }
    }
}

/// `weight + delta`: floats in their type, else in 8 bits where the width has whole blocks of 32.
fn sum(weight: &QTensor, delta: &Tensor, device: &Device) -> Result<QTensor> {
    let sum = (weight.dequantize(&Device::Cpu)? + delta)?;
    let dtype = match weight.dtype() {
        float @ (GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16) => float,
        _ if sum.dim(1)?.is_multiple_of(GgmlDType::Q8_0.block_size()) => GgmlDType::Q8_0,
        _ => GgmlDType::F16,
    };
    Ok(QTensor::quantize_onto(&sum, dtype, device)?)
}

/// Some rows of a weight matrix `(out, in)`, in the order given.
fn rows(weight: &QTensor, order: &[usize], device: &Device) -> Result<QTensor> {
    let (rows, columns) = weight.shape().dims2()?;
    let data = weight.data()?;
    let row_bytes = data.len() / rows;
    let row = |row: &usize| &data[row * row_bytes..(row + 1) * row_bytes];
    let picked = order.iter().flat_map(row).copied().collect();
    let storage = QStorage::from_data(Cow::Owned(picked), device, weight.dtype())?;
    Ok(QTensor::new(storage, (order.len(), columns))?)
}

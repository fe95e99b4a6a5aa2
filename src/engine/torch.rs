//! A PyTorch file, as checkpoints older than safetensors have them.
//!
//! candle reads the pickle inside without running it. Format: the zip archive of `torch.save` since PyTorch 1.6.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use candle_core::pickle::PthTensors;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device};

use super::folder::Listed;

/// An open file.
pub struct TorchFile(PthTensors);

impl TorchFile {
    /// Reads what the file holds. Errors: not such a file, or one from before PyTorch 1.6.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = PthTensors::new(path, None).map_err(|error| {
            anyhow!(
                "{}: not a PyTorch file that can be read ({error}); get the checkpoint as safetensors",
                path.display()
            )
        })?;
        Ok(Self(opened))
    }

    pub fn list(&self) -> Vec<Listed> {
        let infos = self.0.tensor_infos().iter();
        let listed = infos.map(|(name, info)| Listed {
            name: name.clone(),
            shape: info.layout.dims().to_vec(),
            dtype: format!("{:?}", info.dtype),
        });
        listed.collect()
    }

    /// A tensor, in the type it is stored in.
    pub fn tensor(&self, name: &str, dtype: GgmlDType, device: &Device) -> Result<QTensor> {
        let tensor = self.0.get(name)?.context("is missing")?;
        let tensor = tensor.contiguous()?.to_dtype(DType::F32)?;
        Ok(QTensor::quantize(&tensor.to_device(device)?, dtype)?)
    }
}

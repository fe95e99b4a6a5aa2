//! Weights from a folder of PyTorch files, as checkpoints older than safetensors have them.
//!
//! candle reads the pickle inside without running it. Format: the zip archive of `torch.save` since PyTorch 1.6.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::pickle::PthTensors;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device};

use super::safetensors::{Safetensors, files, text_only};

/// The only weight file of a folder; with `.index.json` behind it, the index of several.
const WEIGHTS: &str = "pytorch_model.bin";

/// An open checkpoint of one or more PyTorch files.
pub struct Torch {
    folder: PathBuf,
    files: Vec<PthTensors>,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    name: String,
    shape: Vec<usize>,
    dtype: DType,
}

impl Torch {
    /// Reads what the files of a folder hold. Errors: no file, a shard that is missing, a format before PyTorch 1.6.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut opened = Self {
            folder: folder.into(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for path in weight_files(folder)? {
            let file = PthTensors::new(&path, None).map_err(|error| {
                anyhow!(
                    "{}: not a PyTorch file that can be read ({error}); get the checkpoint as safetensors",
                    path.display()
                )
            })?;
            for (name, info) in file.tensor_infos() {
                let entry = Entry {
                    file: opened.files.len(),
                    name: name.clone(),
                    shape: info.layout.dims().to_vec(),
                    dtype: info.dtype,
                };
                opened.tensors.insert(text_only(name), entry);
            }
            opened.files.push(file);
        }
        Ok(opened)
    }

    /// Whether a folder has such files and no safetensors.
    pub fn is_needed(folder: &Path) -> bool {
        let index = format!("{WEIGHTS}.index.json");
        let is_there = |name: &str| folder.join(name).exists();
        (is_there(WEIGHTS) || is_there(&index)) && !Safetensors::is_in(folder)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|entry| entry.shape.clone())
    }

    /// The type most weights are stored in: `F32`.
    pub fn dtype(&self) -> String {
        let mut sizes = BTreeMap::<String, usize>::new();
        for entry in self.tensors.values() {
            let elements = entry.shape.iter().product::<usize>();
            *sizes.entry(format!("{:?}", entry.dtype)).or_default() += elements;
        }
        let largest = sizes.into_iter().max_by_key(|(_, elements)| *elements);
        largest.map_or_else(String::new, |(dtype, _)| dtype)
    }

    /// A tensor in the type it is stored in, F32, F16 or BF16.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let entry = self.tensors.get(name).context("is missing")?;
        let dtype = match entry.dtype {
            DType::F32 => GgmlDType::F32,
            DType::F16 => GgmlDType::F16,
            DType::BF16 => GgmlDType::BF16,
            other => bail!("is stored as {other:?}; F32, F16 and BF16 can be read"),
        };
        let tensor = self.files[entry.file]
            .get(&entry.name)?
            .context("is missing")?;
        let tensor = tensor.contiguous()?.to_dtype(DType::F32)?;
        Ok(QTensor::quantize(&tensor.to_device(device)?, dtype)?)
    }
}

/// The PyTorch files of a folder, sorted.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, WEIGHTS)
}

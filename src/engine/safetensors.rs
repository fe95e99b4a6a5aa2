//! A safetensors file. Format: <https://huggingface.co/docs/safetensors>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::folder::Listed;

/// An open file, memory-mapped.
pub struct SafetensorsFile {
    map: Mmap,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    bytes: Range<usize>,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl SafetensorsFile {
    /// Maps the file and reads its header. Errors: a damaged header, or a file shorter than it says.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}: cannot open"))?;
        // SAFETY: the map is only read, and a model file is replaced by rename, never edited in place.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{name}: cannot map"))?;
        let damaged = |e| anyhow!("{name}: not a whole safetensors file ({e}); get it again");
        let header = SafeTensors::deserialize(&map).map_err(damaged)?;
        let entries = header.tensors().into_iter().map(|(name, view)| {
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            let entry = Entry {
                bytes: start..start + view.data().len(),
                shape: view.shape().to_vec(),
                dtype: view.dtype(),
            };
            (name, entry)
        });
        Ok(Self {
            tensors: entries.collect(),
            map,
        })
    }

    pub fn list(&self) -> Vec<Listed> {
        let listed = self.tensors.iter().map(|(name, entry)| Listed {
            name: name.clone(),
            shape: entry.shape.clone(),
            dtype: format!("{:?}", entry.dtype),
        });
        listed.collect()
    }

    /// A tensor, in the type it is stored in.
    pub fn tensor(&self, name: &str, dtype: GgmlDType, device: &Device) -> Result<QTensor> {
        let entry = self.tensors.get(name).context("is missing")?;
        // Copied, because nothing promises that a tensor in the file is aligned.
        let data = self.map[entry.bytes.clone()].to_vec();
        let storage = QStorage::from_data(Cow::Owned(data), device, dtype)?;
        Ok(QTensor::new(storage, entry.shape.as_slice())?)
    }
}

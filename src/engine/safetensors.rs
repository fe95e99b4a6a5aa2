//! Weights from a folder of safetensors files, one or several with an index.
//!
//! Format: <https://huggingface.co/docs/safetensors>; the index is `model.safetensors.index.json` of transformers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// The only weight file of a folder; with `.index.json` behind it, the index of several.
const WEIGHTS: &str = "model.safetensors";

/// An open checkpoint of one or more safetensors files.
pub struct Safetensors {
    folder: PathBuf,
    maps: Vec<Mmap>,
    tensors: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    bytes: Range<usize>,
    shape: Vec<usize>,
    dtype: Dtype,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Safetensors {
    /// Maps the files of a folder and reads their headers. Errors: no file, a shard that is missing, a damaged header.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut opened = Self {
            folder: folder.into(),
            maps: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for path in weight_files(folder)? {
            opened.add(&path)?;
        }
        Ok(opened)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}: cannot open"))?;
        // SAFETY: the map is only read, and a model file is replaced by rename, never edited in place.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{name}: cannot map"))?;
        let damaged = |e| anyhow!("{name}: not a whole safetensors file ({e}); get it again");
        let header = SafeTensors::deserialize(&map).map_err(damaged)?;
        for (tensor, view) in header.tensors() {
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            let entry = Entry {
                file: self.maps.len(),
                bytes: start..start + view.data().len(),
                shape: view.shape().to_vec(),
                dtype: view.dtype(),
            };
            self.tensors.insert(text_only(&tensor), entry);
        }
        self.maps.push(map);
        Ok(())
    }

    /// Whether a folder has such files.
    pub fn is_in(folder: &Path) -> bool {
        let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
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

    /// The type most weights are stored in: `BF16`.
    pub fn dtype(&self) -> String {
        let mut sizes = BTreeMap::<String, usize>::new();
        for entry in self.tensors.values() {
            *sizes.entry(format!("{:?}", entry.dtype)).or_default() += entry.bytes.len();
        }
        let largest = sizes.into_iter().max_by_key(|(_, bytes)| *bytes);
        largest.map_or_else(String::new, |(dtype, _)| dtype)
    }

    /// A tensor in the type it is stored in, F32, F16 or BF16.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let entry = self.tensors.get(name).context("is missing")?;
        let dtype = match entry.dtype {
            Dtype::F32 => GgmlDType::F32,
            Dtype::F16 => GgmlDType::F16,
            Dtype::BF16 => GgmlDType::BF16,
            other => bail!("is stored as {other:?}; F32, F16 and BF16 can be read"),
        };
        // Copied, because nothing promises that a tensor in the file is aligned.
        let data = self.maps[entry.file][entry.bytes.clone()].to_vec();
        let storage = QStorage::from_data(Cow::Owned(data), device, dtype)?;
        Ok(QTensor::new(storage, entry.shape.as_slice())?)
    }
}

/// The safetensors of a folder, sorted.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, WEIGHTS)
}

/// The weight files of a folder: those its index names, or the one called `usual`, or the only one that ends like it.
pub fn files(folder: &Path, usual: &str) -> Result<Vec<PathBuf>> {
    let name = folder.display();
    let index_name = format!("{usual}.index.json");
    let index = folder.join(&index_name);
    if index.exists() {
        let text = fs::read_to_string(&index)
            .with_context(|| format!("{}: cannot read", index.display()))?;
        let index: Index =
            serde_json::from_str(&text).with_context(|| index.display().to_string())?;
        let shards = index.weight_map.into_values().collect::<BTreeSet<_>>();
        let missing = shards.iter().find(|shard| !folder.join(shard).exists());
        if let Some(shard) = missing {
            bail!("{name}: {shard} is missing, which {index_name} names; get it too");
        }
        return Ok(shards.iter().map(|shard| folder.join(shard)).collect());
    }
    if folder.join(usual).exists() {
        return Ok(vec![folder.join(usual)]);
    }
    let extension = Path::new(usual).extension().unwrap_or_default();
    let entries = fs::read_dir(folder).with_context(|| format!("{name}: cannot read"))?;
    let mut found = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(extension))
        .collect::<Vec<_>>();
    match found.len() {
        1 => Ok(vec![found.remove(0)]),
        0 => bail!("{name}: no {usual} in it"),
        _ => bail!(
            "{name}: several .{} files and no {index_name} that says how they belong together",
            extension.display()
        ),
    }
}

/// The name of a tensor as a checkpoint for text alone has it: those that also see pictures keep the language model
/// apart (`language_model.model.norm.weight`, later `model.language_model.norm.weight`).
pub fn text_only(name: &str) -> String {
    match name.strip_prefix("language_model.") {
        Some(rest) => rest.into(),
        None => name.replacen("model.language_model.", "model.", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_model_of_a_larger_checkpoint_has_its_usual_names() {
        for (name, usual) in [
            ("language_model.model.norm.weight", "model.norm.weight"),
            ("model.language_model.norm.weight", "model.norm.weight"),
            ("model.norm.weight", "model.norm.weight"),
            ("lm_head.weight", "lm_head.weight"),
        ] {
            assert_eq!(text_only(name), usual);
        }
    }

    #[test]
    fn a_folder_without_weights_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| Safetensors::open(folder).err().unwrap().to_string();
        assert!(error(folder.path()).contains("no model.safetensors"));
        let index = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#;
        let index_file = folder.path().join("model.safetensors.index.json");
        fs::write(&index_file, index).unwrap();
        assert!(error(folder.path()).contains("model-00001-of-00002.safetensors is missing"));
        fs::remove_file(&index_file).unwrap();
        fs::write(folder.path().join(WEIGHTS), b"\x09\0\0\0").unwrap();
        assert!(error(folder.path()).contains("not a whole safetensors file"));
    }
}

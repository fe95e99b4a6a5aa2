//! Weights from a folder as the hub has them: one file or several with an index, safetensors or the older PyTorch files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};
use serde::Deserialize;

use super::safetensors::SafetensorsFile;
use super::torch::TorchFile;

/// The only weight file of a folder; with `.index.json` behind it, the index of several.
const SAFETENSORS: &str = "model.safetensors";
const TORCH: &str = "pytorch_model.bin";

/// The open weight files of a folder.
pub struct Folder {
    path: PathBuf,
    files: Vec<File>,
    tensors: BTreeMap<String, Entry>,
}

enum File {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

/// A tensor as its file lists it.
pub struct Listed {
    pub name: String,
    pub shape: Vec<usize>,
    /// `BF16`, also one that cannot be read.
    pub dtype: String,
}

/// Where a tensor lies.
struct Entry {
    file: usize,
    listed: Listed,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    /// Opens the weight files and reads what they hold. Errors: no file, a shard that is missing, a damaged file.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut opened = Self {
            path: folder.into(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        let torch = needs_torch(folder);
        for path in weight_files(folder)? {
            let (file, list) = match torch {
                true => {
                    let file = TorchFile::open(&path)?;
                    let list = file.list();
                    (File::Torch(file), list)
                }
                false => {
                    let file = SafetensorsFile::open(&path)?;
                    let list = file.list();
                    (File::Safetensors(file), list)
                }
            };
            for listed in list {
                let file = opened.files.len();
                let name = text_only(&listed.name);
                opened.tensors.insert(name, Entry { file, listed });
            }
            opened.files.push(file);
        }
        Ok(opened)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let entry = self.tensors.get(name);
        entry.map(|entry| entry.listed.shape.clone())
    }

    /// The type most weights are stored in: `BF16`.
    pub fn dtype(&self) -> String {
        let mut sizes = BTreeMap::<&str, usize>::new();
        for Entry { listed, .. } in self.tensors.values() {
            *sizes.entry(&listed.dtype).or_default() += listed.shape.iter().product::<usize>();
        }
        let largest = sizes.into_iter().max_by_key(|(_, elements)| *elements);
        largest.map_or_else(String::new, |(dtype, _)| dtype.into())
    }

    /// A tensor in the type it is stored in, F32, F16 or BF16.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let Entry { file, listed } = self.tensors.get(name).context("is missing")?;
        let dtype = match &listed.dtype[..] {
            "F32" => GgmlDType::F32,
            "F16" => GgmlDType::F16,
            "BF16" => GgmlDType::BF16,
            other => bail!("is stored as {other}; F32, F16 and BF16 can be read"),
        };
        match &self.files[*file] {
            File::Safetensors(file) => file.tensor(&listed.name, dtype, device),
            File::Torch(file) => file.tensor(&listed.name, dtype, device),
        }
    }
}

/// Whether a folder has PyTorch files and no safetensors.
fn needs_torch(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let index = format!("{TORCH}.index.json");
    let torch = [TORCH, &index]
        .iter()
        .any(|name| folder.join(name).exists());
    torch && !entries.any(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
}

/// The files that hold the weights of a folder, sorted.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    match needs_torch(folder) {
        true => files(folder, TORCH),
        false => files(folder, SAFETENSORS),
    }
}

/// The weight files of a folder: those its index names, or the one called `usual`, or the only one that ends like it.
fn files(folder: &Path, usual: &str) -> Result<Vec<PathBuf>> {
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
fn text_only(name: &str) -> String {
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
        let error = |folder: &Path| Folder::open(folder).err().unwrap().to_string();
        assert!(error(folder.path()).contains("no model.safetensors"));
        let index = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#;
        let index_file = folder.path().join("model.safetensors.index.json");
        fs::write(&index_file, index).unwrap();
        assert!(error(folder.path()).contains("model-00001-of-00002.safetensors is missing"));
        fs::remove_file(&index_file).unwrap();
        fs::write(folder.path().join(SAFETENSORS), b"\x09\0\0\0").unwrap();
        assert!(error(folder.path()).contains("not a whole safetensors file"));
    }
}

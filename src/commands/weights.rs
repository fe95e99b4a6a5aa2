//! The model that `summarize` was asked to write with, on this disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use serde::Deserialize;

use crate::cache::Local;
use crate::engine::Engine;
use crate::engine::adapter::Adapter;
use crate::engine::checkpoint::Checkpoint;
use crate::hash::sha256;
use crate::hub::Hub;
use crate::model_ref::ModelRef;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::registry::{self, Kind, ModelSpec};

/// What an adapter's folder may say of how it is best asked, as the `[prompt]` table of a manifest does.
const PROMPT: &str = "prompt.toml";

/// A model that can answer.
pub struct Loaded {
    pub engine: Engine,
    pub style: Style,
    /// The sha256 of the adapter that was added.
    pub adapter: Option<String>,
}

/// Where the weights are, and what is known about them.
pub enum Weights {
    /// In the cache; with the manifest, where there is one.
    Cached(Box<Local>, Option<Box<ModelSpec>>),
    /// A folder or file of the user's own.
    Own(PathBuf),
}

impl Weights {
    /// Finds or fetches what a name stands for.
    pub fn get(model: &ModelRef, hub: &Hub, progress: Progress) -> Result<Self> {
        let spec = match model {
            ModelRef::Auto => Box::new(hub.best()?),
            ModelRef::Known(spec) => spec.clone(),
            ModelRef::Hub(id) => {
                let local = hub.get(&id.wanted(), progress)?;
                return Ok(Self::Cached(Box::new(local), None));
            }
            ModelRef::Path(path) => return Ok(Self::Own(path.clone())),
        };
        let local = hub.get(&spec.wanted()?, progress)?;
        Ok(Self::Cached(Box::new(local), Some(spec)))
    }

    /// The GGUF file or the folder that the engine opens.
    pub fn entry(&self) -> PathBuf {
        match self {
            Self::Cached(local, _) => local.entry(),
            Self::Own(path) => path.clone(),
        }
    }

    /// How it is best asked without an adapter.
    fn style(&self) -> Result<Style> {
        match self {
            Self::Cached(_, Some(spec)) => Ok(spec.prompt.clone()),
            _ => Ok(Style::for_unknown(kind(&self.entry())?)),
        }
    }

    /// Loads the model with the adapter in `adapter`, or with its own where none is named (and `none` leaves it out).
    pub fn load(&self, adapter: Option<&Path>, device: &Device) -> Result<Loaded> {
        let mut style = self.style()?;
        let mut checkpoint = Checkpoint::open(&self.entry())?;
        let mut sha256 = None;
        if let Some((adapter, own_style)) = self.adapter(adapter)? {
            sha256 = Some(adapter.sha256().to_string());
            style = own_style.unwrap_or(style);
            checkpoint.adapt(adapter)?;
        }
        Ok(Loaded {
            engine: Engine::new(&checkpoint, device)?,
            style,
            adapter: sha256,
        })
    }

    /// The adapter to be added, and how the model is best asked with it.
    fn adapter(&self, folder: Option<&Path>) -> Result<Option<(Adapter, Option<Style>)>> {
        let parse = |text: &str| toml::from_str(text).context(PROMPT);
        match (folder, self) {
            (Some(folder), _) if folder == Path::new("none") => Ok(None),
            (Some(folder), _) => {
                let prompt = folder.join(PROMPT);
                let style = match prompt.exists() {
                    true => Some(parse(&fs::read_to_string(&prompt)?)),
                    false => None,
                };
                let style = style.transpose();
                let style = style.with_context(|| folder.display().to_string())?;
                Ok(Some((Adapter::open(folder)?, style)))
            }
            (None, Self::Cached(_, Some(spec))) => {
                let Some(own) = spec.adapter.as_deref().and_then(registry::adapter) else {
                    return Ok(None);
                };
                let origin = format!("the adapter of {}", spec.name);
                let adapter = Adapter::from_bytes(&origin, own.config, own.weights)?;
                let adapter = adapter.with_probes(own.probes)?;
                Ok(Some((adapter, Some(parse(own.prompt)?))))
            }
            (None, _) => Ok(None),
        }
    }

    /// The name of the registry, the hub id, or the name of the user's file or folder.
    pub fn name(&self) -> String {
        match self {
            Self::Cached(local, _) => local.checkpoint.name.clone(),
            Self::Own(path) => {
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            }
        }
    }

    /// Repository and commit; `None` for what is the user's own.
    pub fn commit(&self) -> Option<(String, String)> {
        match self {
            Self::Cached(local, _) => Some((local.checkpoint.repo.clone(), local.commit())),
            Self::Own(_) => None,
        }
    }

    /// Name and sha256 of the file with the weights; of the first, where there are several.
    pub fn file(&self) -> Result<(String, String)> {
        let path = match self {
            Self::Cached(local, _) => return local.weights(),
            Self::Own(path) if path.is_dir() => first_weights(path)?,
            Self::Own(path) => path.clone(),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok((name.into_owned(), sha256(&path)?))
    }
}

/// What a checkpoint without a manifest does, by its `config.json`; a GGUF file holds a decoder.
fn kind(entry: &Path) -> Result<Kind> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        model_type: String,
    }
    if !entry.is_dir() {
        return Ok(Kind::Decoder);
    }
    let path = entry.join("config.json");
    let reading = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(&path).with_context(reading)?;
    let config: Config = serde_json::from_str(&text).with_context(reading)?;
    Ok(Kind::of_model_type(&config.model_type))
}

/// The first file of weights in a folder.
fn first_weights(folder: &Path) -> Result<PathBuf> {
    let files = crate::engine::folder::weight_files(folder)?;
    let first = files.into_iter().next();
    first.with_context(|| format!("{}: no weights in it", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the user's own with these files.
    fn own(files: &[(&str, &str)]) -> (tempfile::TempDir, Weights) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let weights = Weights::Own(folder.path().into());
        (folder, weights)
    }

    #[test]
    fn a_folder_is_known_by_its_name_and_the_hash_of_its_first_weights() {
        let index = r#"{"weight_map":{"a":"z.safetensors","b":"y.safetensors"}}"#;
        let shards = [
            ("model.safetensors.index.json", index),
            ("y.safetensors", "hello\n"),
            ("z.safetensors", ""),
            ("a.safetensors", ""),
        ];
        let hash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let (folder, weights) = own(&shards);
        assert_eq!(
            weights.file().unwrap(),
            ("y.safetensors".into(), hash.into())
        );
        assert_eq!(
            weights.name(),
            folder.path().file_name().unwrap().to_str().unwrap()
        );
        assert_eq!(weights.commit(), None);
        let (_folder, weights) = own(&[("model.safetensors", "hello\n"), ("a.safetensors", "")]);
        assert_eq!(
            weights.file().unwrap(),
            ("model.safetensors".into(), hash.into())
        );
    }

    #[test]
    fn a_folder_is_asked_as_its_kind_wants() {
        for (model_type, kind) in [
            ("longt5", Kind::T5),
            ("pegasus", Kind::Bart),
            ("qwen3", Kind::Decoder),
        ] {
            let config = format!(r#"{{"model_type": "{model_type}", "d_model": 8}}"#);
            let (_folder, weights) = own(&[("config.json", &config)]);
            assert_eq!(weights.style().unwrap(), Style::for_unknown(kind));
        }
        let (_folder, weights) = own(&[("config.json", "{")]);
        let error = format!("{:#}", weights.style().unwrap_err());
        assert!(error.contains("config.json"), "{error}");
    }
}

//! A checkpoint as somebody has it on disk, a GGUF file or a folder from the hub, and the architecture it is of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use serde_json::Value;

use super::adapter::Adapter;
use super::arch::bart::{Bart, BartConfig};
use super::arch::config::{Config, Family};
use super::arch::decoder::Decoder;
use super::arch::t5::{T5, T5Config};
use super::batch::Model;
use super::folder::Folder;
use super::generation::GenerationConfig;
use super::gguf::Gguf;
use super::probe::Probes;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::weights::Weights;

/// An open checkpoint: its weights, and what says how they are to be used.
pub struct Checkpoint {
    path: PathBuf,
    pub weights: Weights,
    architecture: Architecture,
    /// Of an encoder-decoder.
    generation: Option<GenerationConfig>,
    /// Added to the weights as they are loaded.
    adapter: Option<Adapter>,
}

enum Architecture {
    Decoder(Box<Config>),
    T5(Box<T5Config>),
    Bart(Box<BartConfig>),
}

impl Checkpoint {
    /// Opens a `.gguf` file, or a folder with `config.json` and safetensors, or with one `.gguf` file.
    pub fn open(path: &Path) -> Result<Self> {
        match path.is_dir() {
            true => Self::open_folder(path),
            false => Self::open_gguf(path),
        }
    }

    fn open_gguf(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let config = Config::from_gguf(&gguf)?;
        Ok(Self {
            path: path.into(),
            architecture: Architecture::Decoder(Box::new(config)),
            weights: Weights::Gguf(gguf),
            generation: None,
            adapter: None,
        })
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let config = folder.join("config.json");
        if !config.exists() {
            return Self::open_gguf(&only_gguf(folder)?);
        }
        let config = read_json(&config)?;
        let architecture = Architecture::of(&config)
            .with_context(|| folder.join("config.json").display().to_string())?;
        let generation = match architecture {
            Architecture::Decoder(_) => None,
            _ => Some(GenerationConfig::open(folder, &config)?),
        };
        Ok(Self {
            path: folder.into(),
            weights: Weights::Folder(Folder::open(folder)?),
            architecture,
            generation,
            adapter: None,
        })
    }

    /// Has an adapter added to the weights when they are loaded. Errors: the checkpoint is no decoder.
    pub fn adapt(&mut self, adapter: Adapter) -> Result<()> {
        ensure!(
            matches!(self.architecture, Architecture::Decoder(_)),
            "{}: adapters are for decoders, and {} is none",
            adapter.origin(),
            self.path.display()
        );
        self.adapter = Some(adapter);
        Ok(())
    }

    /// The probes of its adapter.
    pub fn probes(&self) -> Option<&Probes> {
        self.adapter.as_ref().and_then(Adapter::probes)
    }

    /// Errors: no tokenizer that can be read, or one that is not that of the weights.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = match &self.weights {
            Weights::Gguf(gguf) => Tokenizer::from_gguf(gguf),
            Weights::Folder(_) => Tokenizer::from_dir(&self.path),
        }?;
        // Tokens that were added later may lie outside: Gemma 3 has one for pictures, which its text models do not know.
        let (tokens, rows) = (tokenizer.base_size(), self.vocab());
        ensure!(
            tokens <= rows,
            "{}: the tokenizer has {tokens} tokens and the weights only {rows}; the two do not belong together",
            self.path.display()
        );
        Ok(tokenizer)
    }

    /// Tokens the weights know.
    pub fn vocab(&self) -> usize {
        match &self.architecture {
            Architecture::Decoder(config) => config.vocab,
            Architecture::T5(config) => config.vocab_size,
            Architecture::Bart(config) => config.vocab_size,
        }
    }

    pub fn template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        match &self.weights {
            Weights::Gguf(gguf) => ChatTemplate::from_gguf(gguf, tokenizer),
            Weights::Folder(_) => ChatTemplate::from_dir(&self.path, tokenizer),
        }
    }

    /// How an encoder-decoder wants its texts written; `None` for a decoder.
    pub fn generation(&self) -> Option<&GenerationConfig> {
        self.generation.as_ref()
    }

    /// Loads the weights. Returns the model and its window in tokens: of prompt and answer together for a decoder, of each
    /// for an encoder-decoder.
    pub fn model(&self, device: &Device) -> Result<(Box<dyn Model>, usize)> {
        let weights = &self.weights;
        Ok(match &self.architecture {
            Architecture::Decoder(config) => (
                Box::new(Decoder::load(
                    weights,
                    *config.clone(),
                    self.adapter.as_ref(),
                    device,
                )?),
                config.window,
            ),
            Architecture::T5(config) => (
                Box::new(T5::load(weights, *config.clone(), self.start()?, device)?),
                config.n_positions,
            ),
            Architecture::Bart(config) => (
                Box::new(Bart::load(weights, *config.clone(), self.start()?, device)?),
                config.max_position_embeddings,
            ),
        })
    }

    /// The token that an encoder-decoder's texts begin with, unseen.
    fn start(&self) -> Result<u32> {
        let start = self.generation.as_ref().and_then(|g| g.rules.start);
        start.with_context(|| {
            let folder = self.path.display();
            format!(
                "{folder}: no 'decoder_start_token_id' in generation_config.json or config.json"
            )
        })
    }
}

impl Architecture {
    /// What a `config.json` describes.
    fn of(config: &Value) -> Result<Self> {
        let text = config.get("text_config").unwrap_or(config);
        let model_type = text["model_type"]
            .as_str()
            .context("no 'model_type' in it")?;
        if Family::from_model_type(model_type).is_some() {
            return Ok(Self::Decoder(Box::new(Config::from_json(config)?)));
        }
        if T5Config::MODEL_TYPES.contains(&model_type) {
            return Ok(Self::T5(Box::new(T5Config::from_json(config)?)));
        }
        if BartConfig::MODEL_TYPES.contains(&model_type) {
            return Ok(Self::Bart(Box::new(BartConfig::from_json(config)?)));
        }
        let known = Family::model_types()
            .chain(T5Config::MODEL_TYPES)
            .chain(BartConfig::MODEL_TYPES);
        let known = known.collect::<Vec<_>>().join(", ");
        bail!("model_type '{model_type}' is not supported; supported: {known}")
    }
}

pub fn read_json(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))
}

fn only_gguf(folder: &Path) -> Result<PathBuf> {
    let name = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("{name}: cannot read"))?;
    let mut found = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
        })
        .collect::<Vec<_>>();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("{name}: no config.json and no .gguf file in it"),
        _ => bail!("{name}: several .gguf files in it; name the one to use"),
    }
}

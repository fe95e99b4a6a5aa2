//! The tokenizer of a checkpoint's directory: `tokenizer.json`, or what older checkpoints have instead (`slow`), and the
//! settings beside it.
//!
//! Files and keys as `transformers` writes them (`save_pretrained`): `tokenizer_config.json` and
//! `special_tokens_map.json` name special tokens, `generation_config.json` and `config.json` the ids that end a text.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::{ENDS, Inner, THOUGHTS, Tokenizer, slow};

/// The JSON files of a directory that say something of its tokenizer, `null` where there is none.
pub(super) struct Files {
    pub dir: PathBuf,
    pub tokenizer_config: Value,
    special_tokens_map: Value,
    pub config: Value,
    generation_config: Value,
    /// What the family calls its special tokens where no file says so.
    pub defaults: Value,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or where there is none the files of an older form, and what the files beside it say of
    /// special tokens.
    ///
    /// Truncation and padding that were saved with the tokenizer are switched off.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let mut files = Files::read(dir)?;
        let path = dir.join("tokenizer.json");
        let mut tokenizer = match path.is_file() {
            true => Self::of_pieces(saved(&path)?),
            false => slow::read(&mut files)?,
        };
        let id = |key: &str| tokenizer.token_to_id(&files.token(key)?);
        let (eos, pad) = (id("eos_token"), id("pad_token"));
        let ends = ENDS.iter().filter_map(|end| tokenizer.token_to_id(end));
        tokenizer.stops = files.stops().into_iter().chain(eos).chain(ends).collect();
        tokenizer.pad = pad;
        tokenizer.bos_token = files.token("bos_token").unwrap_or_default();
        tokenizer.eos_token = files.token("eos_token").unwrap_or_default();
        Ok(tokenizer)
    }

    /// A tokenizer whose special tokens have no names yet.
    pub(super) fn of_pieces(model: tokenizers::Tokenizer) -> Self {
        let added = model.get_added_tokens_decoder();
        let special = added
            .iter()
            .filter(|(_, t)| t.special && !THOUGHTS.contains(&t.content.as_str()))
            .map(|(id, _)| *id);
        Self::unnamed(special.collect(), None, Inner::Pieces(Box::new(model)))
    }

    pub(super) fn unnamed(special: HashSet<u32>, bos: Option<u32>, inner: Inner) -> Self {
        Self {
            inner,
            special,
            stops: HashSet::new(),
            bos,
            bos_token: String::new(),
            eos_token: String::new(),
            pad: None,
        }
    }
}

/// `tokenizer.json`.
fn saved(path: &Path) -> Result<tokenizers::Tokenizer> {
    let mut model =
        tokenizers::Tokenizer::from_file(path).map_err(|e| anyhow!("{}: {e}", path.display()))?;
    model
        .with_truncation(None)
        .map_err(|e| anyhow!("{}: {e}", path.display()))?;
    model.with_padding(None);
    Ok(model)
}

impl Files {
    fn read(dir: &Path) -> Result<Self> {
        Ok(Self {
            dir: dir.to_path_buf(),
            tokenizer_config: json(dir, "tokenizer_config.json")?,
            special_tokens_map: json(dir, "special_tokens_map.json")?,
            config: json(dir, "config.json")?,
            generation_config: json(dir, "generation_config.json")?,
            defaults: Value::Null,
        })
    }

    /// What names a special token, most telling first: its text, or an object with the text as `content`.
    pub fn special(&self, key: &str) -> Option<&Value> {
        [
            &self.tokenizer_config,
            &self.special_tokens_map,
            &self.defaults,
        ]
        .into_iter()
        .filter_map(|file| file.get(key))
        .find(|value| token_text(value).is_some())
    }

    pub fn token(&self, key: &str) -> Option<String> {
        Some(token_text(self.special(key)?)?.to_string())
    }

    /// More special tokens, which have no names.
    pub fn more_special(&self) -> impl Iterator<Item = &Value> {
        let keys = ["additional_special_tokens", "extra_special_tokens"];
        [&self.tokenizer_config, &self.special_tokens_map]
            .into_iter()
            .flat_map(move |file| keys.map(|key| file[key].as_array()))
            .flatten()
            .flatten()
    }

    /// Ids that end a text.
    fn stops(&self) -> Vec<u32> {
        let files = [&self.generation_config, &self.config];
        let settings = files.into_iter().flat_map(|f| [f, &f["text_config"]]);
        settings.flat_map(|s| ids(&s["eos_token_id"])).collect()
    }
}

/// A JSON file of a checkpoint, `null` where there is none.
pub(in crate::engine) fn json(dir: &Path, name: &str) -> Result<Value> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| format!("{}: not JSON", path.display()))
}

/// A token is its text, or an object with the text as `content`.
pub(super) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let values = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    values
        .iter()
        .filter_map(|id| u32::try_from(id.as_u64()?).ok())
        .collect()
}

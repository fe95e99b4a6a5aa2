//! Tokenizers of checkpoints that have no `tokenizer.json`, by the files that they have instead.
//!
//! `vocab.json` and `merges.txt` hold byte-level BPE (`bpe`), a SentencePiece model (`model_file`) either a unigram
//! model (`unigram`) or BPE (`llama`). Neither says how a family numbers its special tokens, puts them around a text or
//! splits it: that is known by the class of the tokenizer or the type of the model, as in transformers'
//! `convert_slow_tokenizer.py` and the `tokenization_*.py` of each family.

mod added;
mod bpe;
mod charsmap;
mod llama;
mod model_file;
mod unigram;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::model_file::{Algorithm, ModelFile};
use super::Tokenizer;
use super::directory::Files;

/// SentencePiece models, by the names they have on the hub.
const MODELS: [&str; 3] = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];
/// Other files that a tokenizer may consist of, for messages.
const OTHERS: [&str; 5] = [
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "source.spm",
    "spm.model",
];

/// Whose way of numbering, splitting and framing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Bart,
    Gpt2,
    Qwen2,
    T5,
    Pegasus,
    MBart,
    MBart50,
    Llama,
}

/// Each family's tokenizer classes, without `Tokenizer` and `Fast` at the end, and its `model_type` values.
const FAMILIES: [(Family, &[&str], &[&str]); 8] = [
    (
        Family::Bart,
        &["Bart", "Roberta", "LED"],
        &["bart", "roberta", "led"],
    ),
    (Family::Gpt2, &["GPT2"], &["gpt2"]),
    (Family::Qwen2, &["Qwen2"], &["qwen2", "qwen3"]),
    (Family::T5, &["T5", "MT5"], &["t5", "mt5", "longt5", "umt5"]),
    (
        Family::Pegasus,
        &["Pegasus"],
        &["pegasus", "pegasus_x", "bigbird_pegasus"],
    ),
    (Family::MBart, &["MBart"], &["mbart"]),
    (Family::MBart50, &["MBart50"], &[]),
    (
        Family::Llama,
        &["Llama", "CodeLlama", "Gemma"],
        &[
            "llama",
            "mistral",
            "mixtral",
            "phi3",
            "gemma",
            "gemma2",
            "gemma3",
            "gemma3_text",
        ],
    ),
];

/// Reads the tokenizer, and notes what its family calls special tokens.
///
/// Errors: a family that is not known, files that do not belong to it, damaged ones.
pub(super) fn read(files: &mut Files) -> Result<Tokenizer> {
    let has = |name: &str| files.dir.join(name).is_file();
    let model = MODELS.into_iter().find(|name| has(name));
    let pairs = has("vocab.json") && has("merges.txt");
    let Some(family) = Family::of(files) else {
        bail!(unknown(files));
    };
    files.defaults = family.defaults();
    match (family, model) {
        (Family::Bart | Family::Gpt2 | Family::Qwen2, _) if pairs => bpe::read(family, files),
        (Family::Bart | Family::Gpt2 | Family::Qwen2, _) | (_, None) => bail!(unknown(files)),
        (_, Some(name)) => sentencepiece(family, &files.dir.join(name), files),
    }
}

fn sentencepiece(family: Family, path: &Path, files: &Files) -> Result<Tokenizer> {
    let model = ModelFile::open(path).with_context(|| path.display().to_string())?;
    let tokenizer = match (family, model.algorithm) {
        (Family::Llama, Algorithm::Bpe) => llama::read(model, files),
        (Family::Llama, other) | (_, other @ Algorithm::Bpe) => bail!(
            "{}: a SentencePiece model of type {other:?}, which is not read for the family {family:?}",
            path.display()
        ),
        (_, Algorithm::Unigram) => unigram::read(family, model, files),
    };
    tokenizer.with_context(|| files.dir.display().to_string())
}

impl Family {
    /// By the tokenizer's class where a file names one, else by the type of the model.
    fn of(files: &Files) -> Option<Self> {
        let (class, kind) = (class(files), files.config["model_type"].as_str());
        let by_name = FAMILIES.iter().find(|(_, classes, kinds)| match class {
            Some(class) => classes.contains(&class),
            None => kind.is_some_and(|kind| kinds.contains(&kind)),
        });
        match by_name?.0 {
            Family::MBart if files.tokenizer_config["language_codes"] == "ML50" => {
                Some(Family::MBart50)
            }
            family => Some(family),
        }
    }

    /// Special tokens where no file names them.
    fn defaults(self) -> Value {
        match self {
            Family::Bart | Family::MBart | Family::MBart50 => json!({
                "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
                "pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<mask>",
            }),
            Family::Gpt2 => json!({
                "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
            }),
            Family::Qwen2 => json!({"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}),
            Family::T5 | Family::Pegasus => {
                json!({"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
            }
            Family::Llama => json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
        }
    }
}

/// `BartTokenizerFast` is `Bart`.
fn class(files: &Files) -> Option<&str> {
    let class = [&files.tokenizer_config, &files.config];
    let class = class.iter().find_map(|f| f["tokenizer_class"].as_str())?;
    let class = class.strip_suffix("Fast").unwrap_or(class);
    Some(class.strip_suffix("Tokenizer").unwrap_or(class))
}

/// What is there, and that it is not enough.
fn unknown(files: &Files) -> String {
    let found = MODELS.into_iter().chain(OTHERS);
    let found = found.filter(|name| files.dir.join(name).is_file());
    let found = found.collect::<Vec<_>>().join(", ");
    let owner = match (class(files), files.config["model_type"].as_str()) {
        (Some(class), _) => format!("of class '{class}'"),
        (None, Some(kind)) => format!("of model_type '{kind}'"),
        (None, None) => "of unknown kind (no config.json says which)".to_string(),
    };
    let found = match found.as_str() {
        "" => "no file that can stand in for it".to_string(),
        found => format!("from {found} a tokenizer {owner} cannot be made here"),
    };
    format!(
        "{}: no tokenizer.json, and {found}; put a tokenizer.json there, as transformers makes it by `save_pretrained` \
         of a fast tokenizer",
        files.dir.display()
    )
}

//! The tokenizer inside a GGUF file.
//!
//! Keys and token types: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. What a missing key means is as in
//! llama.cpp's `llama-vocab.cpp`. candle's own `Tokenizer::from_gguf` is not used: it knows byte-level BPE only, adds a
//! leading space, and does not split digits for SmolLM, so its ids differ from the reference.

use std::collections::HashSet;

use ahash::AHashMap;
use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::quantized::gguf_file::Value;
use tokenizers::AddedToken;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::pre::Pre;
use super::sentencepiece::SentencePiece;
use super::{ENDS, Inner, THOUGHTS, Tokenizer};
use crate::engine::gguf::Gguf;

/// What a token is, `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// Stands for what the vocabulary has no token for.
    Unknown,
    /// Matched in text as a whole, dropped from decoded text.
    Control,
    /// Matched in text as a whole, and text itself.
    UserDefined,
    Unused,
    /// `<0x0A>`: one byte.
    Byte,
}

impl Kind {
    /// By the number that SentencePiece models and GGUF files give.
    pub fn numbered(number: i64) -> Self {
        match number {
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}

/// The tokens of a file, by id.
pub(super) struct Vocabulary {
    pub tokens: Vec<String>,
    pub kinds: Vec<Kind>,
    /// Phi-3's tokens swallow the white space after them, which its files do not say.
    pub swallow_space: bool,
}

impl Tokenizer {
    /// Reads vocabulary, merges or scores, and special tokens from the file's metadata.
    ///
    /// Errors: a tokenizer model or pre-tokenizer that is not supported, arrays that do not belong together.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        Self::read(gguf).with_context(|| format!("{}: the tokenizer", gguf.path().display()))
    }

    fn read(gguf: &Gguf) -> Result<Self> {
        let model = gguf.string("tokenizer.ggml.model")?;
        let vocabulary = Vocabulary::read(gguf)?;
        let (inner, asks_for_bos, default_ids) = match model {
            "gpt2" => {
                let pre = Pre::named(gguf.string("tokenizer.ggml.pre").unwrap_or("default"))?;
                let inner = Inner::Pieces(Box::new(byte_level(gguf, &vocabulary, &pre)?));
                (inner, pre.bos, (None, None))
            }
            "llama" => {
                let inner = Inner::SentencePiece(Box::new(sentencepiece(gguf, &vocabulary)?));
                (inner, true, (Some(1), Some(2)))
            }
            _ => bail!(
                "model '{model}' is not supported; 'gpt2' (byte-level BPE) and 'llama' (SentencePiece BPE) are"
            ),
        };
        let size = vocabulary.tokens.len();
        let id = |name: &str| {
            let id = gguf.u64(&format!("tokenizer.ggml.{name}_token_id")).ok()?;
            u32::try_from(id).ok().filter(|id| (*id as usize) < size)
        };
        let text = |id: Option<u32>| id.map(|id| vocabulary.tokens[id as usize].clone());
        let bos = id("bos").or(default_ids.0.filter(|_| size > 1));
        let eos = id("eos").or(default_ids.1.filter(|_| size > 2));
        let add_bos = flag(gguf, "tokenizer.ggml.add_bos_token").unwrap_or(asks_for_bos);
        let ends = [eos, id("eot"), id("eom")];
        Ok(Self {
            stops: vocabulary
                .stops()
                .chain(ends.into_iter().flatten())
                .collect(),
            special: vocabulary.special(),
            bos: bos.filter(|_| add_bos),
            bos_token: text(bos).unwrap_or_default(),
            eos_token: text(eos).unwrap_or_default(),
            pad: id("padding"),
            inner,
        })
    }
}

impl Vocabulary {
    fn read(gguf: &Gguf) -> Result<Self> {
        let mut tokens = strings(gguf, "tokenizer.ggml.tokens")?;
        for (id, token) in tokens.iter_mut().enumerate().filter(|(_, t)| t.is_empty()) {
            *token = format!("[EMPTY_{id}]");
        }
        let kinds = match gguf.metadata("tokenizer.ggml.token_type") {
            None => vec![Kind::Normal; tokens.len()],
            Some(_) => column(gguf, "tokenizer.ggml.token_type", tokens.len(), kind)?,
        };
        let name = gguf.string("general.name").unwrap_or("").to_lowercase();
        let phi_3 = name.contains("phi-3") || name.contains("phi3");
        Ok(Self::new(tokens, kinds, phi_3))
    }

    pub fn new(tokens: Vec<String>, mut kinds: Vec<Kind>, swallow_space: bool) -> Self {
        for (token, kind) in tokens.iter().zip(&mut kinds) {
            if THOUGHTS.contains(&token.as_str()) {
                *kind = Kind::UserDefined;
            } else if ENDS.contains(&token.as_str()) {
                // Some converters leave these as ordinary tokens, which would then never be seen as a whole.
                *kind = Kind::Control;
            }
        }
        Self {
            tokens,
            kinds,
            swallow_space,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        let tokens = self.tokens.iter().zip(&self.kinds);
        (0u32..)
            .zip(tokens)
            .map(|(id, (token, kind))| (id, token.as_str(), *kind))
    }

    /// Tokens that are matched in text as a whole.
    pub fn whole(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        self.iter().filter(|(_, _, kind)| {
            matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown)
        })
    }

    /// Whether white space after a token matched as a whole is dropped.
    pub fn swallows(&self, token: &str, kind: Kind) -> bool {
        self.swallow_space && kind != Kind::Unknown && !["<s>", "<|endoftext|>"].contains(&token)
    }

    pub fn special(&self) -> HashSet<u32> {
        self.iter()
            .filter(|(_, _, kind)| matches!(kind, Kind::Control | Kind::Unknown | Kind::Unused))
            .map(|(id, _, _)| id)
            .collect()
    }

    /// End-of-turn tokens. `</s>` is one only as a control token: to Gemma it is HTML.
    fn stops(&self) -> impl Iterator<Item = u32> {
        self.iter()
            .filter(|(_, token, kind)| {
                ENDS.contains(token) || *token == "</s>" && *kind == Kind::Control
            })
            .map(|(id, _, _)| id)
    }
}

/// Byte-level BPE: the alphabet is GPT-2's printable form of the 256 bytes.
fn byte_level(gguf: &Gguf, vocabulary: &Vocabulary, pre: &Pre) -> Result<tokenizers::Tokenizer> {
    let ids = vocabulary
        .iter()
        .map(|(id, token, _)| (token.to_string(), id));
    let ids = ids.collect::<AHashMap<_, _>>();
    ensure!(
        ids.len() == vocabulary.tokens.len(),
        "{} of the {} tokens occur twice",
        vocabulary.tokens.len() - ids.len(),
        vocabulary.tokens.len()
    );
    let merges = merges(strings(gguf, "tokenizer.ggml.merges")?, &ids)?;
    let bpe = BPE::builder()
        .vocab_and_merges(ids, merges)
        .ignore_merges(pre.whole_words)
        .build()
        .map_err(|e| anyhow!("the vocabulary does not load: {e}"))?;
    let mut model = tokenizers::Tokenizer::new(bpe);
    model.with_pre_tokenizer(Some(pre.splits()?));
    model.with_decoder(Some(ByteLevel::new(false, false, false)));
    let whole = vocabulary.whole().map(|(_, token, kind)| {
        AddedToken::from(token, kind != Kind::UserDefined)
            .normalized(false)
            .rstrip(vocabulary.swallows(token, kind))
    });
    model
        .add_tokens(whole)
        .map_err(|e| anyhow!("special tokens: {e}"))?;
    Ok(model)
}

/// The pairs that merges name, in their order. One whose parts or result are no tokens is left out: llama.cpp loads files
/// that have such, where the `tokenizers` crate would refuse them.
fn merges(merges: Vec<String>, ids: &AHashMap<String, u32>) -> Result<Vec<(String, String)>> {
    let known = |(a, b): &(String, String)| {
        ids.contains_key(a) && ids.contains_key(b) && ids.contains_key(&format!("{a}{b}"))
    };
    let pairs = merges.into_iter().map(|merge| match merge.split_once(' ') {
        Some((a, b)) => Ok((a.to_string(), b.to_string())),
        None => Err(anyhow!("'{merge}' in tokenizer.ggml.merges is not a pair")),
    });
    pairs
        .filter(|pair| pair.as_ref().map_or(true, known))
        .collect()
}

fn sentencepiece(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<SentencePiece> {
    let size = vocabulary.tokens.len();
    let scores = column(gguf, "tokenizer.ggml.scores", size, |value| {
        value
            .to_f32()
            .or_else(|_| value.to_i32().map(|v| v as f32))
            .ok()
    })?;
    let prefix = flag(gguf, "tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let unknown = gguf.u64("tokenizer.ggml.unknown_token_id").unwrap_or(0);
    SentencePiece::new(vocabulary, scores, prefix, unknown as u32)
}

fn kind(value: &Value) -> Option<Kind> {
    let number = match value {
        Value::I32(v) => i64::from(*v),
        Value::U32(v) => i64::from(*v),
        _ => return None,
    };
    Some(Kind::numbered(number))
}

fn flag(gguf: &Gguf, key: &str) -> Option<bool> {
    match gguf.metadata(key) {
        Some(Value::Bool(flag)) => Some(*flag),
        _ => None,
    }
}

fn strings(gguf: &Gguf, key: &str) -> Result<Vec<String>> {
    gguf.array(key)?
        .iter()
        .map(|v| Ok(v.to_string().with_context(|| format!("'{key}'"))?.clone()))
        .collect()
}

/// One value for each token.
fn column<T>(
    gguf: &Gguf,
    key: &str,
    tokens: usize,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>> {
    let values = gguf.array(key)?;
    ensure!(
        values.len() == tokens,
        "{tokens} tokens, but {} values in '{key}'; the file is damaged",
        values.len()
    );
    values
        .iter()
        .map(|value| read(value).with_context(|| format!("'{key}' holds {value:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_that_name_no_token_are_left_out() {
        let tokens = ["a", "b", "ab", "c", "cab"];
        let ids = tokens.map(String::from).into_iter().zip(0..).collect();
        let kept = |all: &[&str]| merges(all.iter().map(|m| m.to_string()).collect(), &ids);
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        let found = kept(&["a b", "b c", "x b", "c x", "c ab"]).unwrap();
        assert_eq!(found, [pair("a", "b"), pair("c", "ab")]);
        let error = kept(&["a b", "ab"]).unwrap_err().to_string();
        assert_eq!(error, "'ab' in tokenizer.ggml.merges is not a pair");
    }
}

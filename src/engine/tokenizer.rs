//! Text to token ids and back, from the vocabulary inside a GGUF file.
//!
//! Byte-level BPE (`tokenizer.ggml.model = gpt2`) with the pre-tokenizers of llama.cpp's `llama-vocab.cpp`.
//! candle's own `Tokenizer::from_gguf` is not used: it adds a leading space and does not split digits for
//! SmolLM, so its ids differ from the reference.

use std::collections::HashSet;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::quantized::gguf_file::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::weights::Gguf;

/// How Qwen 2 and Llama 3 split text before BPE: the two differ in how many digits stay together.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tokenizer and the ids that matter to generation.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Ids that end a generated text.
    pub stops: HashSet<u32>,
    /// Put before every prompt where the checkpoint asks for it.
    bos: Option<u32>,
    pub bos_token: String,
    pub eos_token: String,
}

impl Tokenizer {
    /// Reads vocabulary, merges and special tokens from the file's metadata.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let model = gguf.string("tokenizer.ggml.model")?;
        if model != "gpt2" {
            bail!(
                "{}: tokenizer model '{model}' is not supported; byte-level BPE ('gpt2') is",
                gguf.path().display()
            );
        }
        let tokens = strings(gguf, "tokenizer.ggml.tokens")?;
        let merges = strings(gguf, "tokenizer.ggml.merges")?
            .into_iter()
            .map(|merge| match merge.split_once(' ') {
                Some((a, b)) => Ok((a.to_string(), b.to_string())),
                None => Err(anyhow!("'{merge}' in tokenizer.ggml.merges is not a pair")),
            })
            .collect::<Result<Vec<_>>>()?;
        let vocab = tokens.iter().cloned().zip(0u32..).collect::<Vec<_>>();
        let bpe = BPE::builder()
            .vocab_and_merges(vocab.into_iter().collect::<ahash::AHashMap<_, _>>(), merges)
            .build()
            .map_err(|e| anyhow!("the vocabulary does not load: {e}"))?;
        let mut inner = tokenizers::Tokenizer::new(bpe);
        let pre = gguf.string("tokenizer.ggml.pre").unwrap_or("default");
        inner.with_pre_tokenizer(Some(pre_tokenizer(pre)?));
        inner.with_decoder(Some(ByteLevel::new(false, false, false)));
        inner
            .add_special_tokens(special_tokens(gguf, &tokens))
            .map_err(|e| anyhow!("special tokens: {e}"))?;
        let id = |key| gguf.u64(key).ok().map(|id| id as u32);
        let text = |id: Option<u32>| id.and_then(|id| tokens.get(id as usize)).cloned();
        let (bos, eos) = (
            id("tokenizer.ggml.bos_token_id"),
            id("tokenizer.ggml.eos_token_id"),
        );
        let add_bos = matches!(
            gguf.metadata("tokenizer.ggml.add_bos_token"),
            Some(Value::Bool(true))
        );
        Ok(Self {
            stops: stop_tokens(&tokens, eos),
            bos: bos.filter(|_| add_bos),
            bos_token: text(bos).unwrap_or_default(),
            eos_token: text(eos).unwrap_or_default(),
            inner,
        })
    }

    /// Ids of a text in which special tokens may be written out, as chat templates do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| anyhow!("tokenizing: {e}"))?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(bos) = self.bos
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// How many tokens a text takes.
    pub fn count(&self, text: &str) -> usize {
        self.inner
            .encode_fast(text, false)
            .map_or(text.len(), |encoding| encoding.len())
    }

    /// Text of generated ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .decode(ids, true)
            .map_err(|e| anyhow!("decoding: {e}"))
    }
}

fn strings(gguf: &Gguf, key: &str) -> Result<Vec<String>> {
    gguf.array(key)?
        .iter()
        .map(|v| Ok(v.to_string().with_context(|| format!("'{key}'"))?.clone()))
        .collect()
}

fn pre_tokenizer(name: &str) -> Result<PreTokenizerWrapper> {
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
    let split = |pattern: &str| {
        Split::new(
            SplitPattern::Regex(pattern.to_string()),
            SplitDelimiterBehavior::Isolated,
            false,
        )
        .map_err(|e| anyhow!("pre-tokenizer '{name}': {e}"))
    };
    Ok(match name {
        "smollm" | "starcoder" | "refact" | "command-r" => {
            Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into()
        }
        "qwen2" => Sequence::new(vec![split(QWEN2)?.into(), bytes(false)]).into(),
        "llama3" | "llama-bpe" | "llama-v3" | "smaug-bpe" => {
            Sequence::new(vec![split(LLAMA3)?.into(), bytes(false)]).into()
        }
        "default" | "gpt-2" | "gpt2" => bytes(true),
        _ => bail!("pre-tokenizer '{name}' is not supported"),
    })
}

/// Control and user-defined tokens (types 3 and 4 of llama.cpp) are matched in text as a whole.
fn special_tokens(gguf: &Gguf, tokens: &[String]) -> Vec<AddedToken> {
    let types = gguf.array("tokenizer.ggml.token_type").unwrap_or_default();
    tokens
        .iter()
        .zip(types)
        .filter(|(_, kind)| matches!(kind, Value::I32(3 | 4) | Value::U32(3 | 4)))
        .map(|(token, _)| AddedToken::from(token.clone(), true))
        .collect()
}

/// The end-of-sequence id, and end-of-turn tokens by the names the chat formats use.
fn stop_tokens(tokens: &[String], eos: Option<u32>) -> HashSet<u32> {
    const ENDS: [&str; 6] = [
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|end|>",
        "<end_of_turn>",
        "</s>",
    ];
    tokens
        .iter()
        .zip(0u32..)
        .filter(|(token, _)| ENDS.contains(&token.as_str()))
        .map(|(_, id)| id)
        .chain(eos)
        .collect()
}

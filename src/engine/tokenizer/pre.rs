//! How text is split before byte-level BPE, by the names that GGUF files give (`tokenizer.ggml.pre`).
//!
//! Names, what goes with each, and the order of the splits: llama.cpp's `llama-vocab.cpp`. The expressions are those of
//! the families' own `tokenizer.json`, which its comments quote; llama.cpp's own engine knows no `\p{Lu}` and
//! approximates two of them (`tekken`, `gpt-4o`).

use anyhow::{Result, anyhow, bail};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

/// Words with the space before them, numbers, punctuation, white space.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3 and the tokenizer of GPT-4: numbers in groups of three.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with combining marks as parts of words.
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's: words also end where capitals begin.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o's, which Phi-4-mini uses: the same with contractions and numbers in groups of three.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Of files older than the key.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

/// A pre-tokenizer and what llama.cpp sets along with it.
#[derive(Debug)]
pub(super) struct Pre {
    /// Applied in order, each to the parts that those before it left.
    patterns: &'static [&'static str],
    /// A part that is a token needs no merges.
    pub whole_words: bool,
    /// Whether prompts start with the beginning-of-sequence token where the file does not say.
    pub bos: bool,
}

impl Pre {
    pub fn named(name: &str) -> Result<Self> {
        let (patterns, whole_words): (&[&str], bool) = match name {
            "default" => (&DEFAULT, false),
            "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" | "exaone4" | "granite-docling" => {
                (&[GPT2], false)
            }
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" => {
                (&[r"\p{N}", GPT2], false)
            }
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "pixtral" | "lfm2" => {
                (&[LLAMA3], true)
            }
            "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => (&[LLAMA3], false),
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "hunyuan" | "megrez" => (&[QWEN2], false),
            "qwen35" => (&[QWEN35], false),
            "tekken" => (&[TEKKEN], true),
            "gpt-4o" | "llama4" => (&[GPT4O], false),
            _ => bail!(
                "pre-tokenizer '{name}' is not supported; those of Llama 3 (llama-bpe), SmolLM (smollm, smaug-bpe), \
                 Mistral (tekken), Qwen (qwen2, qwen35), Phi-4 (dbrx, gpt-4o), Granite (refact), OLMo 2 (dbrx) and GPT-2 are"
            ),
        };
        Ok(Self {
            patterns,
            whole_words,
            bos: whole_words,
        })
    }

    /// The splits, then bytes to the printable characters that stand for them.
    pub fn splits(&self) -> Result<PreTokenizerWrapper> {
        let mut steps = Vec::with_capacity(self.patterns.len() + 1);
        for pattern in self.patterns {
            let pattern = SplitPattern::Regex((*pattern).to_string());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
            steps.push(split.map_err(|e| anyhow!("pre-tokenizer: {e}"))?.into());
        }
        steps.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(steps).into())
    }
}

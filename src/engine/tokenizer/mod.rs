//! Text to token ids and back.
//!
//! A tokenizer comes from a GGUF file (`gguf`), with byte-level BPE through the `tokenizers` crate (`pre`: how text is
//! split first) or SentencePiece BPE (`sentencepiece`), or from a checkpoint's directory with a `tokenizer.json`
//! (`directory`) or the files that older checkpoints have instead (`slow`).

mod directory;
mod gguf;
mod pre;
mod sentencepiece;
mod slow;

use std::collections::HashSet;

use anyhow::{Result, anyhow};

pub(super) use self::directory::json;
use self::sentencepiece::SentencePiece;

/// Tokens that end a turn, by the names the chat formats use: a checkpoint often names only one of its own as the end
/// of the sequence, and writes another.
const ENDS: [&str; 15] = [
    "<|im_end|>",            // ChatML: Qwen, SmolLM, Phi-4
    "<|endoftext|>",         // Qwen, Phi-3, OLMo 2, SmolLM
    "<|eot_id|>",            // Llama 3
    "<|eom_id|>",            // Llama 3.1, before a tool is called
    "<|eot|>",               // Llama 4
    "<|end_of_text|>",       // Llama 3, Granite 3
    "<|end|>",               // Phi-3, Phi-4-mini
    "<end_of_turn>",         // Gemma 2 and 3
    "<turn|>",               // Gemma 4
    "<eos>",                 // Gemma
    "<|END_OF_TURN_TOKEN|>", // Command R
    "<end_of_utterance>",    // SmolVLM
    "<|endofturn|>",         // EXAONE 4
    "[|endofturn|]",         // EXAONE 3
    "<｜end▁of▁sentence｜>", // DeepSeek
];

/// Marks around a reasoning model's thoughts: text to be seen and removed, whatever a file says of them.
const THOUGHTS: [&str; 2] = ["<think>", "</think>"];

/// A tokenizer and the ids that matter to generation.
pub struct Tokenizer {
    inner: Inner,
    /// Left out of decoded text.
    special: HashSet<u32>,
    /// Ids that end a generated text.
    pub stops: HashSet<u32>,
    /// Put before every prompt where the checkpoint asks for it.
    bos: Option<u32>,
    /// What chat templates write as `bos_token`; empty where there is none.
    pub bos_token: String,
    pub eos_token: String,
    /// Fills the shorter rows of a batch.
    pub pad: Option<u32>,
}

enum Inner {
    Pieces(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Ids of a text in which special tokens may be written out, as chat templates do. None is added but the
    /// beginning-of-sequence token where a GGUF file asks for it and the text does not start with it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.ids(text, false)?;
        if let Some(bos) = self.bos
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// Ids of a text that goes on where another one stopped; special tokens as above.
    pub fn continued(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, false)
    }

    /// Ids of a text as an encoder of a sequence-to-sequence model wants it, with the special tokens that its family or
    /// `tokenizer.json` puts around it: T5 ends with `</s>`, BART has `<s>` and `</s>`, mBART-50 starts with a
    /// language code.
    pub fn encode_source(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, true)
    }

    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        match &self.inner {
            Inner::SentencePiece(model) => Ok(model.encode(text)),
            Inner::Pieces(model) => {
                let encoding = model.encode_fast(text, add_special);
                let encoding = encoding.map_err(|e| anyhow!("tokenizing: {e}"))?;
                Ok(encoding.get_ids().to_vec())
            }
        }
    }

    /// How many tokens a text takes.
    pub fn count(&self, text: &str) -> usize {
        self.ids(text, false).map_or(text.len(), |ids| ids.len())
    }

    /// Text of generated ids, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = ids.iter().filter(|id| !self.special.contains(id)).copied();
        let text = text.collect::<Vec<_>>();
        match &self.inner {
            Inner::SentencePiece(model) => Ok(model.decode(&text)),
            Inner::Pieces(model) => model
                .decode(&text, false)
                .map_err(|e| anyhow!("decoding: {e}")),
        }
    }

    /// The id of a token by its exact text.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        match &self.inner {
            Inner::SentencePiece(model) => model.token_to_id(token),
            Inner::Pieces(model) => model.token_to_id(token),
        }
    }

    /// The first id that tokens added to the vocabulary later may have.
    pub fn base_size(&self) -> usize {
        match &self.inner {
            Inner::SentencePiece(model) => model.len(),
            Inner::Pieces(model) => model.get_vocab_size(false),
        }
    }

    /// How many tokens there are, special ones included.
    pub fn vocab_size(&self) -> usize {
        match &self.inner {
            Inner::SentencePiece(model) => model.len(),
            Inner::Pieces(model) => model.get_vocab_size(true),
        }
    }
}

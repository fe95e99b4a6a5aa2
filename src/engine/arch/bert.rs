//! BERT: an encoder that gives every token a vector.
//!
//! Paper: Devlin et al. 2019. Reference: `modeling_bert.py` of transformers, whose configuration keys and tensor names these are.
//! Texts are packed, not padded: linear layers see the tokens of all of them as one `(T, hidden)` matrix, attention sees each
//! text alone. Between products all that is elementwise is done in one pass where the tensors are on the CPU.

mod attention;
mod elementwise;
mod load;

use std::sync::Arc;

use anyhow::{Result as Loaded, ensure};
use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use self::elementwise::{add_norm, biased};
use super::layers::{Activation, Linear};

/// `config.json`, with the defaults of transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    /// Longest text in tokens.
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
    pub position_embedding_type: String,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".into(),
        }
    }
}

impl BertConfig {
    /// Errors: no JSON, another architecture, sizes that do not fit each other.
    pub fn from_json(config: &str) -> Loaded<Self> {
        let config = serde_json::from_str::<Self>(config)?;
        let Self {
            model_type,
            position_embedding_type: positions,
            hidden_size,
            num_attention_heads: heads,
            ..
        } = &config;
        ensure!(
            model_type == "bert" && positions == "absolute",
            "model_type '{model_type}' with {positions} positions is no BERT"
        );
        ensure!(
            *heads > 0 && hidden_size.is_multiple_of(*heads),
            "'hidden_size' of {hidden_size} is no multiple of 'num_attention_heads', {heads}"
        );
        Ok(config)
    }
}

/// How the weights of linear layers are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As stored.
    Full,
    /// Rounded to 8 bits in blocks of 32, where this machine has a kernel for them; else as stored.
    Eight,
}

/// A loaded model.
pub struct Bert {
    config: BertConfig,
    device: Device,
    /// `(vocab, hidden)`.
    words: Tensor,
    /// `(positions, hidden)`, with what is added to every token of a single text.
    positions: Tensor,
    /// Of the sum of the two.
    norm: AddNorm,
    /// Shared with the same model with an adapter, as far as that leaves them as they are.
    layers: Vec<Arc<Layer>>,
}

struct Layer {
    /// Queries, keys and values of all heads, one behind the other: `(hidden) -> (3 hidden)`.
    qkv: Biased,
    attended: Linear,
    attention_norm: AddNorm,
    inner: Biased,
    output: Linear,
    output_norm: AddNorm,
}

/// A product whose bias is added in the pass over its result that comes anyway.
struct Biased {
    linear: Linear,
    bias: Tensor,
}

/// `norm(x + y + bias)`, where `bias` is that of the product which made `y`.
#[derive(Clone)]
struct AddNorm {
    /// That bias, then weight and bias of the norm: `(3, hidden)`.
    parameters: Tensor,
    eps: f32,
}

impl Bert {
    /// Longest text in tokens.
    pub fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    /// The last layer's vectors of packed texts, none of them longer than the window: `(T, hidden)`.
    pub fn encode(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let lengths = texts.iter().map(|ids| ids.len()).collect::<Vec<_>>();
        let ids = Tensor::new(texts.concat(), &self.device)?;
        let places = lengths.iter().flat_map(|len| 0..*len as u32);
        let places = Tensor::from_iter(places, &self.device)?;
        let words = self.words.index_select(&ids, 0)?;
        let positions = self.positions.index_select(&places, 0)?;
        let mut x = add_norm(words, &positions, &self.norm)?;
        for layer in &self.layers {
            x = self.layer(layer, x, &lengths)?;
        }
        Ok(x)
    }

    fn layer(&self, layer: &Layer, x: Tensor, lengths: &[usize]) -> Result<Tensor> {
        let Biased { linear, bias } = &layer.qkv;
        let heads = self.config.num_attention_heads;
        let attended = attention::within(&linear.forward(&x)?, bias, lengths, heads)?;
        let y = layer.attended.forward(&attended)?;
        let x = add_norm(x, &y, &layer.attention_norm)?;
        let Biased { linear, bias } = &layer.inner;
        let inner = biased(linear.forward(&x)?, bias, self.config.hidden_act)?;
        let y = layer.output.forward(&inner)?;
        add_norm(x, &y, &layer.output_norm)
    }
}

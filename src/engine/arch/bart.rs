//! BART and what is built like it: DistilBART, mBART, mBART-50, Pegasus.
//!
//! Papers: Lewis et al. 2020 (BART), Liu et al. 2020 (mBART), Zhang et al. 2020 (Pegasus). Reference: the modelling files of
//! transformers, whose configuration keys and tensor names these are.

mod load;

use std::sync::Arc;

use anyhow::{Context, Result as Loaded, bail, ensure};
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::layers::{Activation, LayerNorm, Linear, last_rows};
use super::seq2seq::{self, Attention, EncoderDecoder, Shape};
use crate::engine::batch::{Cache, Model, Prompt};

/// `config.json`, with the defaults of transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct BartConfig {
    pub model_type: String,
    pub vocab_size: usize,
    /// Longest source, and longest text written with its start token.
    pub max_position_embeddings: usize,
    pub d_model: usize,
    pub encoder_layers: usize,
    pub encoder_attention_heads: usize,
    pub encoder_ffn_dim: usize,
    pub decoder_layers: usize,
    pub decoder_attention_heads: usize,
    pub decoder_ffn_dim: usize,
    pub activation_function: Activation,
    pub scale_embedding: bool,
    pub tie_word_embeddings: bool,
}

impl Default for BartConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            vocab_size: 50265,
            max_position_embeddings: 1024,
            d_model: 1024,
            encoder_layers: 12,
            encoder_attention_heads: 16,
            encoder_ffn_dim: 4096,
            decoder_layers: 12,
            decoder_attention_heads: 16,
            decoder_ffn_dim: 4096,
            activation_function: Activation::Gelu,
            scale_embedding: false,
            tie_word_embeddings: true,
        }
    }
}

impl BartConfig {
    /// The `model_type` values of these families.
    pub const MODEL_TYPES: [&str; 3] = ["bart", "mbart", "pegasus"];

    pub fn from_json(config: &Value) -> Loaded<Self> {
        let config = Self::deserialize(config).context("a key of it has no usable value")?;
        for (key, heads) in [
            ("encoder_attention_heads", config.encoder_attention_heads),
            ("decoder_attention_heads", config.decoder_attention_heads),
        ] {
            ensure!(
                heads > 0 && config.d_model.is_multiple_of(heads),
                "'d_model' of {} is no multiple of '{key}', {heads}",
                config.d_model
            );
        }
        Ok(config)
    }

    /// What the families differ in: norms before instead of after each part (and one at the end), learned positions
    /// instead of sines and cosines, a norm of the embeddings.
    fn switches(&self) -> Loaded<Switches> {
        let (pre_norm, learned, embedding_norm) = match self.model_type.as_str() {
            "bart" => (false, true, true),
            "mbart" => (true, true, true),
            "pegasus" => (true, false, false),
            other => bail!("model_type '{other}' is none of the BART family"),
        };
        Ok(Switches {
            pre_norm,
            learned,
            embedding_norm,
        })
    }

    fn shape(&self, heads: usize) -> Shape {
        Shape {
            hidden: self.d_model,
            heads,
            head_dim: self.d_model / heads,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Switches {
    pre_norm: bool,
    learned: bool,
    embedding_norm: bool,
}

/// A loaded model. Holds weights only; every sequence's state is in the caller's [`Cache`].
pub struct Bart {
    config: BartConfig,
    pre_norm: bool,
    device: Device,
    start: u32,
    embedding: Arc<QTensor>,
    encoder: Stack,
    decoder: Stack,
    head: Linear,
    /// `(1, vocab)`.
    logits_bias: Option<Tensor>,
}

/// One of the two stacks of layers, with what comes before and after them.
struct Stack {
    /// `(positions, hidden)`, the first of them that of the first token.
    positions: Tensor,
    embedding_norm: Option<LayerNorm>,
    layers: Vec<Layer>,
    norm: Option<LayerNorm>,
}

struct Layer {
    attention: (Attention, LayerNorm),
    /// The decoder's, over the source.
    cross: Option<(Attention, LayerNorm)>,
    fc1: Linear,
    fc2: Linear,
    norm: LayerNorm,
}

impl Bart {
    /// Embedded tokens `(T, hidden)` of rows whose first new token is at `first`.
    fn embed(&self, stack: &Stack, rows: &[&[u32]], first: &[usize]) -> Result<Tensor> {
        let ids = Tensor::new(rows.concat(), &self.device)?;
        let positions = rows.iter().zip(first);
        let positions = positions.flat_map(|(row, first)| (*first as u32..).take(row.len()));
        let positions = Tensor::from_iter(positions, &self.device)?;
        let mut x = self.embedding.embedding(&ids)?;
        if self.config.scale_embedding {
            x = (x * (self.config.d_model as f64).sqrt())?;
        }
        let x = (x + stack.positions.index_select(&positions, 0)?)?;
        normed(stack.embedding_norm.as_ref(), x)
    }

    /// Adds what `part` makes of `x`, with the norm before it or after the sum.
    fn add(
        &self,
        x: &Tensor,
        norm: &LayerNorm,
        part: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match self.pre_norm {
            true => x + part(&norm.forward(x)?)?,
            false => norm.forward(&(x + part(x)?)?),
        }
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        self.add(x, &layer.norm, |x| {
            let activation = self.config.activation_function;
            layer
                .fc2
                .forward(&activation.apply(&layer.fc1.forward(x)?)?)
        })
    }
}

impl Model for Bart {
    fn forward(&self, rows: &[&[u32]], caches: &mut [&mut Cache]) -> Result<Tensor> {
        let lengths = rows.iter().map(|row| row.len()).collect::<Vec<_>>();
        let first = caches.iter().map(|cache| cache.len()).collect::<Vec<_>>();
        let mut x = self.embed(&self.decoder, rows, &first)?;
        for (index, layer) in self.decoder.layers.iter().enumerate() {
            let place = (index, &lengths[..]);
            let (attention, norm) = &layer.attention;
            x = self.add(&x, norm, |x| attention.written(x, place, caches, &[]))?;
            if let Some((attention, norm)) = &layer.cross {
                x = self.add(&x, norm, |x| attention.across(x, place, caches))?;
            }
            x = self.feed_forward(layer, &x)?;
        }
        for (cache, len) in caches.iter_mut().zip(&lengths) {
            cache.advance(*len);
        }
        let last = normed(self.decoder.norm.as_ref(), last_rows(&x, &lengths)?)?;
        let logits = self.head.forward(&last)?;
        match &self.logits_bias {
            Some(bias) => logits.broadcast_add(bias),
            None => Ok(logits),
        }
    }

    fn cache(&self, capacity: usize) -> Result<Cache> {
        let c = &self.config;
        let Shape {
            heads, head_dim, ..
        } = c.shape(c.decoder_attention_heads);
        Cache::new(
            c.decoder_layers,
            (heads, capacity, head_dim),
            DType::F32,
            &self.device,
        )
    }

    fn cache_bytes_per_token(&self) -> usize {
        2 * self.config.decoder_layers * self.config.d_model * size_of::<f32>()
    }

    fn begin(
        &self,
        prompts: &[Prompt],
        passed: &mut dyn FnMut(usize),
    ) -> Result<Vec<(Cache, Vec<f32>)>> {
        seq2seq::begin(self, prompts, passed)
    }
}

impl EncoderDecoder for Bart {
    fn encode(&self, sources: &[&[u32]]) -> Result<Tensor> {
        let lengths = sources.iter().map(|ids| ids.len()).collect::<Vec<_>>();
        let mut x = self.embed(&self.encoder, sources, &vec![0; sources.len()])?;
        for layer in &self.encoder.layers {
            let (attention, norm) = &layer.attention;
            x = self.add(&x, norm, |x| attention.within(x, &lengths, &[]))?;
            x = self.feed_forward(layer, &x)?;
        }
        normed(self.encoder.norm.as_ref(), x)
    }

    fn cross(&self, encoded: &Tensor) -> Result<Vec<(Tensor, Tensor)>> {
        let layers = self.decoder.layers.iter();
        let cross = layers.filter_map(|layer| layer.cross.as_ref());
        cross
            .map(|(attention, _)| attention.keys_values(encoded))
            .collect()
    }

    fn start(&self) -> u32 {
        self.start
    }
}

fn normed(norm: Option<&LayerNorm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

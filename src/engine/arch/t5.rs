//! T5, Flan-T5, mT5 and LongT5.
//!
//! Papers: Raffel et al. 2020 (T5), Shazeer 2020 (the gated feed-forward layer of version 1.1), Guo et al. 2022 (LongT5).
//! Reference: the modelling files of transformers, whose configuration keys and tensor names these are.

mod load;
mod long;
mod relative;

use std::sync::Arc;

use anyhow::{Context, Result as Loaded, bail};
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Result, Tensor};
use serde::Deserialize;
use serde_json::Value;

use self::long::LongPositions;
use self::relative::RelativeBias;
use super::layers::{Activation, Linear, RmsNorm, last_rows};
use super::seq2seq::{self, Attention, EncoderDecoder};
use crate::engine::batch::{Cache, Model, Prompt};

/// `config.json`, with the defaults of transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct T5Config {
    pub model_type: String,
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_kv: usize,
    pub d_ff: usize,
    pub num_layers: usize,
    pub num_decoder_layers: Option<usize>,
    pub num_heads: usize,
    pub relative_attention_num_buckets: usize,
    pub relative_attention_max_distance: usize,
    pub layer_norm_epsilon: f32,
    /// `relu`, `gated-gelu`: the activation, and whether there is a gate.
    pub feed_forward_proj: String,
    /// Says whether the head's input is scaled; whether the head is the embedding is seen in the checkpoint.
    pub tie_word_embeddings: bool,
    /// Longest source that the model was made for; its positions have no end.
    pub n_positions: usize,
    /// LongT5: `local` or `transient-global`.
    pub encoder_attention_type: Option<String>,
    pub local_radius: usize,
    pub global_block_size: usize,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
            tie_word_embeddings: true,
            n_positions: 512,
            encoder_attention_type: None,
            local_radius: 127,
            global_block_size: 16,
        }
    }
}

impl T5Config {
    /// The `model_type` values of these families.
    pub const MODEL_TYPES: [&str; 3] = ["t5", "mt5", "longt5"];

    pub fn from_json(config: &Value) -> Loaded<Self> {
        Self::deserialize(config).context("a key of it has no usable value")
    }

    fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// The activation of the feed-forward layers, and whether they have a gate.
    fn activation(&self) -> Loaded<(Activation, bool)> {
        let name = &self.feed_forward_proj;
        let (name, gated) = match name.strip_prefix("gated-") {
            // The reference's exception: this name means the approximation here.
            Some("gelu") => return Ok((Activation::GeluTanh, true)),
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let activation = Activation::deserialize(Value::from(name))
            .with_context(|| format!("'feed_forward_proj' is '{}'", self.feed_forward_proj))?;
        Ok((activation, gated))
    }

    fn encoder_kind(&self) -> Loaded<EncoderKind> {
        let kind = self.encoder_attention_type.as_deref();
        match (self.model_type.as_str(), kind) {
            ("longt5", Some("local") | None) => Ok(EncoderKind::Local),
            ("longt5", Some("transient-global")) => Ok(EncoderKind::Global),
            ("longt5", Some(other)) => bail!(
                "'encoder_attention_type' is '{other}'; 'local' and 'transient-global' are supported"
            ),
            _ => Ok(EncoderKind::Full),
        }
    }

    /// What the head's input is multiplied with: a part of T5's first version, and of no mT5.
    fn head_scale(&self) -> f64 {
        match self.tie_word_embeddings && self.model_type != "mt5" {
            true => (self.d_model as f64).sqrt().recip(),
            false => 1.,
        }
    }
}

/// What an encoder's tokens see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EncoderKind {
    /// All.
    Full,
    /// Their neighbours.
    Local,
    /// Their neighbours and the sums of blocks.
    Global,
}

enum EncoderPositions {
    Full(RelativeBias),
    Long(LongPositions),
}

/// A loaded model. Holds weights only; every sequence's state is in the caller's [`Cache`].
pub struct T5 {
    config: T5Config,
    device: Device,
    start: u32,
    embedding: Arc<QTensor>,
    encoder: Stack<EncoderPositions>,
    decoder: Stack<RelativeBias>,
    head: Linear,
}

/// One of the two stacks of layers; they share the positions of the first layer.
struct Stack<P> {
    positions: P,
    layers: Vec<Layer>,
    norm: RmsNorm,
}

/// Every part has its norm before it.
struct Layer {
    attention: (Attention, RmsNorm),
    /// Of the sums of blocks (LongT5).
    global_norm: Option<RmsNorm>,
    /// The decoder's, over the source.
    cross: Option<(Attention, RmsNorm)>,
    feed_forward: (FeedForward, RmsNorm),
}

struct FeedForward {
    activation: Activation,
    input: Linear,
    /// What the activated input is multiplied with.
    gate: Option<Linear>,
    output: Linear,
}

impl FeedForward {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut inner = self.activation.apply(&self.input.forward(x)?)?;
        if let Some(gate) = &self.gate {
            inner = (inner * gate.forward(x)?)?;
        }
        self.output.forward(&inner)
    }
}

impl T5 {
    fn embed(&self, rows: &[&[u32]]) -> Result<Tensor> {
        let ids = Tensor::new(rows.concat(), &self.device)?;
        self.embedding.embedding(&ids)
    }
}

impl Model for T5 {
    fn forward(&self, rows: &[&[u32]], caches: &mut [&mut Cache]) -> Result<Tensor> {
        let lengths = rows.iter().map(|row| row.len()).collect::<Vec<_>>();
        let spans = caches.iter().zip(&lengths).map(|(cache, len)| {
            let (held, all) = (cache.len(), cache.len() + len);
            self.decoder.positions.between(held..all, 0..all)
        });
        let biases = spans.collect::<Result<Vec<_>>>()?;
        let mut x = self.embed(rows)?;
        for (index, layer) in self.decoder.layers.iter().enumerate() {
            let place = (index, &lengths[..]);
            let (attention, norm) = &layer.attention;
            x = (&x + attention.written(&norm.forward(&x)?, place, caches, &biases)?)?;
            if let Some((attention, norm)) = &layer.cross {
                x = (&x + attention.across(&norm.forward(&x)?, place, caches)?)?;
            }
            let (feed_forward, norm) = &layer.feed_forward;
            x = (&x + feed_forward.forward(&norm.forward(&x)?)?)?;
        }
        for (cache, len) in caches.iter_mut().zip(&lengths) {
            cache.advance(*len);
        }
        let last = self.decoder.norm.forward(&last_rows(&x, &lengths)?)?;
        self.head.forward(&(last * self.config.head_scale())?)
    }

    fn cache(&self, capacity: usize) -> Result<Cache> {
        let c = &self.config;
        let shape = (c.num_heads, capacity, c.d_kv);
        Cache::new(c.decoder_layers(), shape, DType::F32, &self.device)
    }

    fn cache_bytes_per_token(&self) -> usize {
        let c = &self.config;
        2 * c.decoder_layers() * c.num_heads * c.d_kv * size_of::<f32>()
    }

    fn begin(
        &self,
        prompts: &[Prompt],
        passed: &mut dyn FnMut(usize),
    ) -> Result<Vec<(Cache, Vec<f32>)>> {
        seq2seq::begin(self, prompts, passed)
    }
}

impl EncoderDecoder for T5 {
    fn encode(&self, sources: &[&[u32]]) -> Result<Tensor> {
        let lengths = sources.iter().map(|ids| ids.len()).collect::<Vec<_>>();
        let biases = match &self.encoder.positions {
            EncoderPositions::Full(bias) => {
                let biases = lengths.iter().map(|len| bias.between(0..*len, 0..*len));
                biases.collect::<Result<Vec<_>>>()?
            }
            EncoderPositions::Long(_) => Vec::new(),
        };
        let mut x = self.embed(sources)?;
        for layer in &self.encoder.layers {
            let (attention, norm) = &layer.attention;
            let input = norm.forward(&x)?;
            let seen = match &self.encoder.positions {
                EncoderPositions::Full(_) => attention.within(&input, &lengths, &biases)?,
                EncoderPositions::Long(positions) => {
                    positions.attend(attention, layer.global_norm.as_ref(), &input, &lengths)?
                }
            };
            x = (x + seen)?;
            let (feed_forward, norm) = &layer.feed_forward;
            x = (&x + feed_forward.forward(&norm.forward(&x)?)?)?;
        }
        self.encoder.norm.forward(&x)
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

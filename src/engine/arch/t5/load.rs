//! A T5's parts out of a checkpoint.

use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;

use super::super::layers::{Activation, Linear, RmsNorm};
use super::super::seq2seq::{Attention, Shape};
use super::long::LongPositions;
use super::relative::{Buckets, RelativeBias};
use super::{EncoderKind, EncoderPositions, FeedForward, Layer, Stack, T5, T5Config};
use crate::engine::weights::Weights;

impl T5 {
    /// `start` is the token before every text. Errors: a tensor that is missing or has another shape or type than can be read.
    pub fn load(weights: &Weights, config: T5Config, start: u32, device: &Device) -> Result<Self> {
        let loader = Loader {
            weights,
            config: &config,
            kind: config.encoder_kind()?,
            activation: config.activation()?,
            device,
        };
        let table = [config.vocab_size, config.d_model];
        let names = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];
        let names = names.map(|name| format!("{name}.weight"));
        let stored = names.iter().find(|name| weights.has(name));
        let embedding = weights.tensor(stored.unwrap_or(&names[0]), &table, device)?;
        let embedding = Arc::new(embedding);
        // Published checkpoints say that theirs are not tied where they only lack the scale: what is there decides.
        let head = match weights.has("lm_head.weight") {
            true => weights.linear("lm_head", (config.vocab_size, config.d_model), device)?,
            false => Linear::new(embedding.clone(), None)?,
        };
        Ok(Self {
            encoder: Stack {
                positions: loader.encoder_positions()?,
                layers: loader.layers("encoder", config.num_layers)?,
                norm: loader.norm("encoder.final_layer_norm")?,
            },
            decoder: Stack {
                positions: loader.bias("decoder", "SelfAttention.relative_attention_bias")?,
                layers: loader.layers("decoder", config.decoder_layers())?,
                norm: loader.norm("decoder.final_layer_norm")?,
            },
            head,
            embedding,
            device: device.clone(),
            start,
            config,
        })
    }
}

/// Takes the parts of a model out of a checkpoint.
struct Loader<'a> {
    weights: &'a Weights,
    config: &'a T5Config,
    kind: EncoderKind,
    activation: (Activation, bool),
    device: &'a Device,
}

impl Loader<'_> {
    fn encoder_positions(&self) -> Result<EncoderPositions> {
        let name = self.encoder_attention();
        let bias = |table: &str| self.bias("encoder", &format!("{name}.{table}"));
        let local = bias("relative_attention_bias")?;
        let global = match self.kind {
            EncoderKind::Full => return Ok(EncoderPositions::Full(local)),
            EncoderKind::Local => None,
            EncoderKind::Global => Some((
                self.config.global_block_size,
                bias("global_relative_attention_bias")?,
            )),
        };
        let positions = LongPositions::new(self.config.local_radius, &local, global)?;
        Ok(EncoderPositions::Long(positions))
    }

    fn encoder_attention(&self) -> &'static str {
        match self.kind {
            EncoderKind::Full => "SelfAttention",
            EncoderKind::Local => "LocalSelfAttention",
            EncoderKind::Global => "TransientGlobalSelfAttention",
        }
    }

    /// A table of positions in a stack's first layer.
    fn bias(&self, side: &str, table: &str) -> Result<RelativeBias> {
        let c = self.config;
        let buckets = Buckets {
            count: c.relative_attention_num_buckets,
            max_distance: c.relative_attention_max_distance,
            bidirectional: side == "encoder",
        };
        let name = format!("{side}.block.0.layer.0.{table}.weight");
        let shape = [buckets.count, c.num_heads];
        let table = self.weights.float(&name, &shape, self.device)?;
        Ok(RelativeBias::new(&table, buckets)?)
    }

    fn layers(&self, side: &str, count: usize) -> Result<Vec<Layer>> {
        let layer = |index| self.layer(&format!("{side}.block.{index}.layer"), side == "decoder");
        (0..count).map(layer).collect()
    }

    fn layer(&self, base: &str, decoder: bool) -> Result<Layer> {
        let (name, last) = match decoder {
            true => ("SelfAttention", 2),
            false => (self.encoder_attention(), 1),
        };
        let part = |number: usize| self.norm(&format!("{base}.{number}.layer_norm"));
        let global = || self.norm(&format!("{base}.0.{name}.global_input_layer_norm"));
        let cross = || -> Result<_> {
            let attention = self.attention(&format!("{base}.1.EncDecAttention"))?;
            Ok((attention, part(1)?))
        };
        let has_global = !decoder && self.kind == EncoderKind::Global;
        Ok(Layer {
            attention: (self.attention(&format!("{base}.0.{name}"))?, part(0)?),
            global_norm: has_global.then(global).transpose()?,
            cross: decoder.then(cross).transpose()?,
            feed_forward: (
                self.feed_forward(&format!("{base}.{last}.DenseReluDense"))?,
                part(last)?,
            ),
        })
    }

    fn attention(&self, prefix: &str) -> Result<Attention> {
        let c = self.config;
        let shape = Shape {
            hidden: c.d_model,
            heads: c.num_heads,
            head_dim: c.d_kv,
        };
        // Products are not scaled: the initial weights of queries were small in its place.
        Attention::load(
            self.weights,
            prefix,
            ["q", "k", "v", "o"],
            shape,
            1.,
            self.device,
        )
    }

    fn feed_forward(&self, prefix: &str) -> Result<FeedForward> {
        let c = self.config;
        let (activation, gated) = self.activation;
        let linear = |name: &str, size| {
            self.weights
                .linear(&format!("{prefix}.{name}"), size, self.device)
        };
        let inner = (c.d_ff, c.d_model);
        Ok(FeedForward {
            activation,
            input: linear(if gated { "wi_0" } else { "wi" }, inner)?,
            gate: gated.then(|| linear("wi_1", inner)).transpose()?,
            output: linear("wo", (c.d_model, c.d_ff))?,
        })
    }

    fn norm(&self, name: &str) -> Result<RmsNorm> {
        let c = self.config;
        self.weights
            .rms_norm(name, c.d_model, c.layer_norm_epsilon, self.device)
    }
}

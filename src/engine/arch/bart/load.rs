//! A BART's parts out of a checkpoint.

use std::sync::Arc;

use anyhow::Result;
use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::super::layers::{LayerNorm, Linear};
use super::super::seq2seq::Attention;
use super::{Bart, BartConfig, Layer, Stack, Switches};
use crate::engine::weights::Weights;

/// Learned positions are stored from this row on.
const POSITION_OFFSET: usize = 2;

impl Bart {
    /// `start` is the token before every text. Errors: a tensor that is missing or has another shape or type than can be read.
    pub fn load(
        weights: &Weights,
        config: BartConfig,
        start: u32,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            weights,
            // Some checkpoints were saved from the model inside, whose names lack the prefix.
            prefix: match weights.has("model.encoder.layers.0.fc1.weight") {
                true => "model.",
                false => "",
            },
            config: &config,
            switches: config.switches()?,
            device,
        };
        let embedding = Arc::new(loader.embedding()?);
        // Many checkpoints hold the tied matrix twice.
        let head = match config.tie_word_embeddings || !weights.has("lm_head.weight") {
            true => Linear::new(embedding.clone(), None)?,
            false => weights.linear("lm_head", (config.vocab_size, config.d_model), device)?,
        };
        let bias = "final_logits_bias";
        let bias = weights
            .has(bias)
            .then(|| weights.float(bias, &[1, config.vocab_size], device));
        Ok(Self {
            pre_norm: loader.switches.pre_norm,
            encoder: loader.stack("encoder", config.encoder_layers)?,
            decoder: loader.stack("decoder", config.decoder_layers)?,
            head,
            logits_bias: bias.transpose()?,
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
    prefix: &'a str,
    config: &'a BartConfig,
    switches: Switches,
    device: &'a Device,
}

impl Loader<'_> {
    /// The one matrix that embeds for both stacks and is the head, under whichever of its names it is stored.
    fn embedding(&self) -> Result<QTensor> {
        let names = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];
        let names = names.map(|name| format!("{}{name}.weight", self.prefix));
        let stored = names.iter().find(|name| self.weights.has(name));
        let shape = [self.config.vocab_size, self.config.d_model];
        self.weights
            .tensor(stored.unwrap_or(&names[0]), &shape, self.device)
    }

    fn stack(&self, side: &str, layers: usize) -> Result<Stack> {
        let c = self.config;
        let base = format!("{}{side}", self.prefix);
        let positions = match self.switches.learned {
            true => {
                let name = format!("{base}.embed_positions.weight");
                let stored = [c.max_position_embeddings + POSITION_OFFSET, c.d_model];
                let table = self.weights.float(&name, &stored, self.device)?;
                table.narrow(0, POSITION_OFFSET, c.max_position_embeddings)?
            }
            false => sinusoidal(c.max_position_embeddings, c.d_model, self.device)?,
        };
        let norm = |there: bool, name: &str| {
            let load = || self.norm(&format!("{base}.{name}"));
            there.then(load).transpose()
        };
        Ok(Stack {
            positions,
            embedding_norm: norm(self.switches.embedding_norm, "layernorm_embedding")?,
            layers: (0..layers)
                .map(|index| self.layer(&format!("{base}.layers.{index}"), side == "decoder"))
                .collect::<Result<_>>()?,
            norm: norm(self.switches.pre_norm, "layer_norm")?,
        })
    }

    fn layer(&self, base: &str, decoder: bool) -> Result<Layer> {
        let c = self.config;
        let (heads, inner) = match decoder {
            true => (c.decoder_attention_heads, c.decoder_ffn_dim),
            false => (c.encoder_attention_heads, c.encoder_ffn_dim),
        };
        let attention = |name: &str| -> Result<_> {
            let shape = c.shape(heads);
            let scale = (shape.head_dim as f32).sqrt().recip();
            let names = ["q_proj", "k_proj", "v_proj", "out_proj"];
            let prefix = format!("{base}.{name}");
            let norm = self.norm(&format!("{prefix}_layer_norm"))?;
            let attention =
                Attention::load(self.weights, &prefix, names, shape, scale, self.device)?;
            Ok((attention, norm))
        };
        let linear = |name: &str, size| {
            self.weights
                .linear(&format!("{base}.{name}"), size, self.device)
        };
        Ok(Layer {
            attention: attention("self_attn")?,
            cross: decoder.then(|| attention("encoder_attn")).transpose()?,
            fc1: linear("fc1", (inner, c.d_model))?,
            fc2: linear("fc2", (c.d_model, inner))?,
            norm: self.norm(&format!("{base}.final_layer_norm"))?,
        })
    }

    fn norm(&self, name: &str) -> Result<LayerNorm> {
        // The epsilon of PyTorch, which the configuration does not name.
        self.weights
            .layer_norm(name, self.config.d_model, 1e-5, self.device)
    }
}

/// Pegasus' positions `(positions, hidden)`: sines in the first half, cosines in the second, not interleaved as in the paper.
fn sinusoidal(positions: usize, hidden: usize, device: &Device) -> candle_core::Result<Tensor> {
    let sines = hidden.div_ceil(2);
    let angle = |position: usize, pair: usize| {
        position as f64 / 10000f64.powf((2 * pair) as f64 / hidden as f64)
    };
    let mut table = Vec::with_capacity(positions * hidden);
    for position in 0..positions {
        table.extend((0..sines).map(|pair| angle(position, pair).sin() as f32));
        table.extend((0..hidden - sines).map(|pair| angle(position, pair).cos() as f32));
    }
    Tensor::from_vec(table, (positions, hidden), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_come_first_and_cosines_second() {
        let table = sinusoidal(3, 4, &Device::Cpu).unwrap();
        let table = table.to_vec2::<f32>().unwrap();
        assert_eq!(table[0], [0., 0., 1., 1.]);
        let expected = [2f32.sin(), 0.02f32.sin(), 2f32.cos(), 0.02f32.cos()];
        for (a, b) in table[2].iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}

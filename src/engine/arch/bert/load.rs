//! A BERT's parts out of a checkpoint.

use std::sync::Arc;

use anyhow::Result;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::layers::Linear;
use super::{AddNorm, Bert, BertConfig, Biased, Layer, Precision};
use crate::engine::weights::Weights;

impl Bert {
    /// Errors: a tensor that is missing or has another shape or type than can be read.
    pub fn load(
        weights: &Weights,
        config: BertConfig,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            weights,
            // Some checkpoints were saved with a head beside the model, whose names have the prefix.
            prefix: match weights.has("bert.embeddings.word_embeddings.weight") {
                true => "bert.",
                false => "",
            },
            config: &config,
            precision,
            device,
        };
        let c = &config;
        let hidden = c.hidden_size;
        let table =
            |name: &str, rows| loader.float(&format!("embeddings.{name}.weight"), &[rows, hidden]);
        let types = table("token_type_embeddings", c.type_vocab_size)?;
        let positions = table("position_embeddings", c.max_position_embeddings)?;
        let nothing = Tensor::zeros_like(&types.get(0)?)?;
        Ok(Self {
            words: table("word_embeddings", c.vocab_size)?,
            positions: positions.broadcast_add(&types.get(0)?)?,
            norm: loader.norm("embeddings.LayerNorm", &nothing)?,
            layers: (0..c.num_hidden_layers)
                .map(|index| loader.layer(&format!("encoder.layer.{index}")))
                .collect::<Result<_>>()?,
            device: device.clone(),
            config,
        })
    }
}

/// Takes the parts of a model out of a checkpoint.
struct Loader<'a> {
    weights: &'a Weights,
    prefix: &'a str,
    config: &'a BertConfig,
    precision: Precision,
    device: &'a Device,
}

impl Loader<'_> {
    fn float(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        self.weights.float(&name, shape, self.device)
    }

    fn layer(&self, base: &str) -> Result<Layer> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let of = |name: &str| format!("{base}.{name}");
        let qkv = ["query", "key", "value"].map(|name| of(&format!("attention.self.{name}")));
        let attended = self.linear(&[of("attention.output.dense")], (hidden, hidden))?;
        let output = self.linear(&[of("output.dense")], (hidden, inner))?;
        Ok(Layer {
            qkv: self.linear(&qkv, (hidden, hidden))?,
            attention_norm: self.norm(&of("attention.output.LayerNorm"), &attended.bias)?,
            attended: attended.linear,
            inner: self.linear(&[of("intermediate.dense")], (inner, hidden))?,
            output_norm: self.norm(&of("output.LayerNorm"), &output.bias)?,
            output: output.linear,
        })
    }

    /// Products of the same input `(out, in)` each, as one.
    fn linear(&self, names: &[String], (out, input): (usize, usize)) -> Result<Biased> {
        let parts = |part: &str, shape: &[usize]| -> Result<Tensor> {
            let parts = names.iter();
            let parts = parts.map(|name| self.float(&format!("{name}.{part}"), shape));
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
        };
        let weight = parts("weight", &[out, input])?;
        let linear = match self.precision {
            Precision::Eight => Linear::rounded(&weight, None)?,
            Precision::Full => {
                let weight = QTensor::quantize(&weight, GgmlDType::F32)?;
                Linear::new(Arc::new(weight), None)?
            }
        };
        Ok(Biased {
            linear,
            bias: parts("bias", &[out])?,
        })
    }

    /// The norm of a sum that lacks a `bias` yet.
    fn norm(&self, name: &str, bias: &Tensor) -> Result<AddNorm> {
        let part = |part: &str| self.float(&format!("{name}.{part}"), &[self.config.hidden_size]);
        Ok(AddNorm {
            parameters: Tensor::stack(&[bias, &part("weight")?, &part("bias")?], 0)?,
            eps: self.config.layer_norm_eps,
        })
    }
}

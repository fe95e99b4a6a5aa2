//! A BERT's parts out of a checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::layers::Linear;
use super::{AddNorm, Bert, BertConfig, Biased, Layer, Precision};
use crate::engine::adapter::Adapter;
use crate::engine::weights::Weights;

impl Bert {
    /// Errors: a tensor that is missing or has another shape or type than can be read.
    pub fn load(
        weights: &Weights,
        config: BertConfig,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader::new(weights, &config, precision, device);
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
                .map(|index| Ok(Arc::new(loader.layer(&name_of(index))?)))
                .collect::<Result<_>>()?,
            device: device.clone(),
            config,
        })
    }

    /// The same model with an adapter in some of its layers; `weights` and `precision` are those it was loaded from and with.
    /// Errors: an adapter of another model.
    pub fn adapted(
        &self,
        weights: &Weights,
        precision: Precision,
        adapter: &Adapter,
    ) -> Result<Self> {
        let mut loader = Loader::new(weights, &self.config, precision, &self.device);
        loader.adapter = Some(adapter);
        let mut used = BTreeSet::new();
        let layers = self.layers.iter().enumerate().map(|(index, layer)| {
            let name = name_of(index);
            let modules = MODULES.iter().map(|module| format!("{name}.{module}"));
            let changed = modules.filter(|module| adapter.has(module));
            let changed = changed.collect::<Vec<_>>();
            let layer = match changed.is_empty() {
                true => layer.clone(),
                false => Arc::new(loader.layer(&name)?),
            };
            used.extend(changed);
            Ok(layer)
        });
        let layers = layers.collect::<Result<_>>()?;
        adapter.all_used(&used)?;
        Ok(Self {
            layers,
            config: self.config.clone(),
            device: self.device.clone(),
            words: self.words.clone(),
            positions: self.positions.clone(),
            norm: self.norm.clone(),
        })
    }
}

/// The linear layers of a layer.
const MODULES: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];

fn name_of(layer: usize) -> String {
    format!("encoder.layer.{layer}")
}

/// Takes the parts of a model out of a checkpoint.
struct Loader<'a> {
    weights: &'a Weights,
    prefix: &'a str,
    config: &'a BertConfig,
    precision: Precision,
    device: &'a Device,
    /// Added to linear layers, where there is one.
    adapter: Option<&'a Adapter>,
}

impl<'a> Loader<'a> {
    fn new(
        weights: &'a Weights,
        config: &'a BertConfig,
        precision: Precision,
        device: &'a Device,
    ) -> Self {
        Self {
            weights,
            // Some checkpoints were saved with a head beside the model, whose names have the prefix.
            prefix: match weights.has("bert.embeddings.word_embeddings.weight") {
                true => "bert.",
                false => "",
            },
            config,
            precision,
            device,
            adapter: None,
        }
    }

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
        let weight = |name: &String| -> Result<Tensor> {
            let weight = self.float(&format!("{name}.weight"), &[out, input])?;
            let delta = self.adapter.map(|own| own.delta(name, (out, input)));
            Ok(match delta.transpose()?.flatten() {
                Some(delta) => (weight + delta.to_device(self.device)?)?,
                None => weight,
            })
        };
        let bias = |name: &String| self.float(&format!("{name}.bias"), &[out]);
        let weights = names.iter().map(weight).collect::<Result<Vec<_>>>()?;
        let biases = names.iter().map(bias).collect::<Result<Vec<_>>>()?;
        let weight = Tensor::cat(&weights, 0)?;
        let linear = match self.precision {
            Precision::Eight => Linear::rounded(&weight, None)?,
            Precision::Full => {
                let weight = QTensor::quantize(&weight, GgmlDType::F32)?;
                Linear::new(Arc::new(weight), None)?
            }
        };
        Ok(Biased {
            linear,
            bias: Tensor::cat(&biases, 0)?,
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

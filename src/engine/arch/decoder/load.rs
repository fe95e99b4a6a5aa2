//! A decoder's parts out of a checkpoint: names, norms, fused and reordered matrices.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Result;
use candle_core::{Device, Tensor};

use super::super::config::{Config, Norms, QkNorm};
use super::super::layers::{Linear, RmsNorm};
use super::super::rope::Rope;
use super::{Decoder, Layer};
use crate::engine::adapter::Adapter;
use crate::engine::weights::Weights;

impl Decoder {
    /// Errors: a tensor that is missing, has another shape or another type than can be read; an adapter of another model.
    pub fn load(
        weights: &Weights,
        config: Config,
        adapter: Option<&Adapter>,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            weights,
            config: &config,
            adapter,
            adapted: RefCell::default(),
            device,
        };
        let table = loader.name("token_embd");
        let head = loader.name("output");
        // Some files leave the head out and do not say that it is tied.
        let tied = config.tied || !weights.has(&format!("{head}.weight"));
        let shape = (config.vocab, config.hidden);
        let head = weights.linear(if tied { &table } else { &head }, shape, device)?;
        let embedding = match tied {
            true => None,
            false => {
                let table = format!("{table}.weight");
                Some(weights.tensor(&table, &[shape.0, shape.1], device)?)
            }
        };
        let ropes = config.ropes.iter().map(|rope| Rope::new(rope, device));
        let layers = (0..config.layers.len()).map(|i| loader.layer(i));
        let layers = layers.collect::<Result<_>>()?;
        if let Some(adapter) = adapter {
            adapter.all_used(&loader.adapted.borrow())?;
        }
        Ok(Self {
            layers,
            norm: loader.norm("output_norm", config.hidden)?,
            head,
            ropes: ropes.collect::<candle_core::Result<_>>()?,
            embedding,
            device: device.clone(),
            config,
        })
    }
}

/// Takes the parts of a decoder out of a checkpoint.
struct Loader<'a> {
    weights: &'a Weights,
    config: &'a Config,
    adapter: Option<&'a Adapter>,
    /// Modules to which the adapter has added something.
    adapted: RefCell<BTreeSet<String>>,
    device: &'a Device,
}

impl Loader<'_> {
    fn layer(&self, index: usize) -> Result<Layer> {
        let c = self.config;
        let part = |part: &str| format!("blk.{index}.{part}");
        let norm = |name: &str, there: bool| -> Result<Option<RmsNorm>> {
            let load = |()| self.norm(&format!("blk.{index}.{name}"), c.hidden);
            there.then_some(()).map(load).transpose()
        };
        let (before, after) = (c.norms != Norms::After, c.norms != Norms::Before);
        let linear = |name: &str, out, input| self.linear(&part(name), (out, input), None);
        let (q_rows, kv_rows) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let (q, k, v) = match c.fused {
            true => {
                let fused = part("attn_qkv");
                let all = q_rows + 2 * kv_rows;
                let rows = |from, count| self.some_rows(&fused, all, c.hidden, from..from + count);
                (
                    rows(0, q_rows)?,
                    rows(q_rows, kv_rows)?,
                    rows(q_rows + kv_rows, kv_rows)?,
                )
            }
            false => (
                self.rotated(&part("attn_q"), c.heads)?,
                self.rotated(&part("attn_k"), c.kv_heads)?,
                linear("attn_v", kv_rows, c.hidden)?,
            ),
        };
        let (gate, up) = match c.fused {
            true => {
                let fused = part("ffn_gate_up");
                let rows = |from| {
                    let range = from..from + c.feed_forward;
                    self.some_rows(&fused, 2 * c.feed_forward, c.hidden, range)
                };
                (rows(0)?, rows(c.feed_forward)?)
            }
            false => (
                linear("ffn_gate", c.feed_forward, c.hidden)?,
                linear("ffn_up", c.feed_forward, c.hidden)?,
            ),
        };
        let qk_norms = match c.qk_norm {
            QkNorm::None => None,
            QkNorm::Head => Some((c.head_dim, c.head_dim)),
            QkNorm::Row => Some((q_rows, kv_rows)),
        };
        let qk_norms = qk_norms.map(|(q, k)| -> Result<_> {
            let norm = |name: &str, size| self.norm(&format!("blk.{index}.{name}"), size);
            Ok((norm("attn_q_norm", q)?, norm("attn_k_norm", k)?))
        });
        Ok(Layer {
            config: c.layers[index],
            norms: [
                norm("attn_norm", before)?,
                norm("post_attention_norm", after)?,
                norm("ffn_norm", before)?,
                norm("post_ffw_norm", after)?,
            ],
            q,
            k,
            v,
            qk_norms: qk_norms.transpose()?,
            output: linear("attn_output", c.hidden, q_rows)?,
            gate,
            up,
            down: linear("ffn_down", c.hidden, c.feed_forward)?,
        })
    }

    fn norm(&self, part: &str, size: usize) -> Result<RmsNorm> {
        let name = format!("{}.weight", self.name(part));
        let weight = self.weights.float(&name, &[size], self.device)?;
        let weight = match self.config.norm_offset {
            true => (weight + 1.)?,
            false => weight,
        };
        Ok(RmsNorm::new(weight, self.config.norm_eps))
    }

    /// A part, named as in GGUF files, with its rows in the order given and what the adapter adds to them in theirs.
    fn linear(&self, part: &str, shape: (usize, usize), order: Option<&[usize]>) -> Result<Linear> {
        let delta = self.delta(part, shape)?;
        let name = self.name(part);
        self.weights
            .linear_of(&name, shape, order, delta.as_ref(), self.device)
    }

    /// What the adapter adds to a part, whose rows are in the order of the original checkpoints.
    fn delta(&self, part: &str, shape: (usize, usize)) -> Result<Option<Tensor>> {
        let Some(adapter) = self.adapter else {
            return Ok(None);
        };
        let module = original_name(part, self.config.norms);
        let delta = adapter.delta(&module, shape)?;
        if delta.is_some() {
            self.adapted.borrow_mut().insert(module);
        }
        Ok(delta)
    }

    /// A part of a matrix that holds several.
    fn some_rows(
        &self,
        part: &str,
        all: usize,
        input: usize,
        range: Range<usize>,
    ) -> Result<Linear> {
        let shape = (all, input);
        let delta = self.delta(part, shape)?;
        let delta = delta.map(|delta| delta.narrow(0, range.start, range.len()));
        let order = range.collect::<Vec<_>>();
        let name = self.name(part);
        self.weights.linear_of(
            &name,
            shape,
            Some(&order),
            delta.transpose()?.as_ref(),
            self.device,
        )
    }

    /// Queries or keys with their rows in the order of the original checkpoints.
    ///
    /// llama.cpp's converter interleaves the two halves of each head of the Llama family, `(heads, 2, d/2) -> (heads, d/2, 2)`,
    /// for a RoPE that rotates neighbours. Moved back, one RoPE (rotating halves) serves every family.
    fn rotated(&self, part: &str, heads: usize) -> Result<Linear> {
        let c = self.config;
        let order = c.interleaved.then(|| halves(heads, c.head_dim));
        self.linear(part, (heads * c.head_dim, c.hidden), order.as_deref())
    }

    /// The checkpoint's own name of a part that is named as in GGUF files.
    fn name(&self, part: &str) -> String {
        match self.weights {
            Weights::Gguf(_) => part.replace("gate_up", "up"),
            Weights::Folder(_) => original_name(part, self.config.norms),
        }
    }
}

/// Where each row of a head's two halves lies when they are interleaved.
fn halves(heads: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    (0..heads * head_dim)
        .map(|row| {
            let (head, row) = (row / head_dim, row % head_dim);
            head * head_dim + 2 * (row % half) + row / half
        })
        .collect()
}

fn original_name(part: &str, norms: Norms) -> String {
    let Some((layer, part)) = part
        .strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return match part {
            "token_embd" => "model.embed_tokens",
            "output_norm" => "model.norm",
            _ => "lm_head",
        }
        .into();
    };
    let part = match (part, norms) {
        ("attn_norm", _) => "input_layernorm",
        ("attn_q", _) => "self_attn.q_proj",
        ("attn_k", _) => "self_attn.k_proj",
        ("attn_v", _) => "self_attn.v_proj",
        ("attn_qkv", _) => "self_attn.qkv_proj",
        ("attn_q_norm", _) => "self_attn.q_norm",
        ("attn_k_norm", _) => "self_attn.k_norm",
        ("attn_output", _) => "self_attn.o_proj",
        ("ffn_norm", Norms::Around) => "pre_feedforward_layernorm",
        ("ffn_norm" | "post_attention_norm", _) => "post_attention_layernorm",
        ("post_ffw_norm", _) => "post_feedforward_layernorm",
        ("ffn_gate", _) => "mlp.gate_proj",
        ("ffn_gate_up", _) => "mlp.gate_up_proj",
        ("ffn_up", _) => "mlp.up_proj",
        ("ffn_down", _) => "mlp.down_proj",
        (other, _) => other,
    };
    format!("model.layers.{layer}.{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_go_back_to_halves() {
        // Two heads of size 4, whose rows llama.cpp stores as (head, i, side).
        assert_eq!(halves(2, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}

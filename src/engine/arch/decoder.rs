//! Decoder-only transformers: one forward pass for all families, whose differences are switches of [`Config`].
//!
//! References: the modelling files of transformers, and `llama-model.cpp` of llama.cpp for GGUF files. Llama: Touvron et
//! al. 2023, Grattafiori et al. 2024. Sliding windows: Jiang et al. 2023. Norms of queries and keys: Henry et al. 2020.

mod load;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use super::attention::{Mask, Scores, attend_rows, attention};
use super::config::{Config, LayerConfig, QkNorm};
use super::cpu;
use super::layers::{Linear, RmsNorm, last_rows, residual, scaled};
use super::rope::{Angles, Rope, Span};
use crate::engine::batch::{Cache, Model};
use crate::engine::probe::Trace;

struct Layer {
    config: LayerConfig,
    /// Before and after attention, before and after the feed-forward layer; where they are.
    norms: [Option<RmsNorm>; 4],
    q: Linear,
    k: Linear,
    v: Linear,
    /// Of queries and keys.
    qk_norms: Option<(RmsNorm, RmsNorm)>,
    output: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A loaded decoder. Holds weights only; every sequence's state is in the caller's [`Cache`].
pub struct Decoder {
    config: Config,
    device: Device,
    /// Where the head is not tied to it.
    embedding: Option<QTensor>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    ropes: Vec<Rope>,
}

impl Decoder {
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn embed(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        match &self.embedding {
            Some(table) => table.embedding(&Tensor::new(ids, &self.device)?),
            None => self.head.rows(ids, &self.device),
        }
    }

    /// The type of keys and values. Beside quantised weights 16 bits lose nothing that shows (it is llama.cpp's default too)
    /// and halve what a decode step reads of long texts; where weights are float, results are those of the reference.
    fn cache_dtype(&self) -> DType {
        let quantised = self.layers.iter().any(|layer| layer.down.is_quantised());
        match quantised && self.device.is_cpu() {
            true => DType::F16,
            false => DType::F32,
        }
    }

    /// `x` is `(T, hidden)`; the rows' spans of T follow one another.
    fn attend(
        &self,
        index: usize,
        x: &Tensor,
        (angles, spans): (&[Angles], &[Span]),
        caches: &[&mut Cache],
    ) -> candle_core::Result<Tensor> {
        let layer = &self.layers[index];
        let (q, k, v) = self.heads(layer, x, angles)?;
        let mut held = Vec::with_capacity(spans.len());
        let mut start = 0;
        for (span, cache) in spans.iter().zip(caches) {
            // (T, KV, d) -> (KV, t, d)
            let of = |x: &Tensor| x.narrow(0, start, span.len)?.transpose(0, 1);
            let (keys, values) = cache.append(index, &of(&k)?, &of(&v)?)?;
            held.push(match layer.config.window {
                // Nothing older is seen by any of the new tokens.
                Some(window) => (
                    newest(&keys, window + span.len - 1)?,
                    newest(&values, window + span.len - 1)?,
                ),
                None => (keys, values),
            });
            start += span.len;
        }
        let scale = self.config.attention_scale;
        if self.device.is_cpu() && spans.iter().all(|span| span.len == 1) {
            return layer.output.forward(&attend_rows(&q, &held, scale)?);
        }
        let scores = Scores {
            scale,
            mask: layer.config.window.map_or(Mask::Causal, Mask::Window),
            bias: None,
        };
        let mut rows = Vec::with_capacity(spans.len());
        let mut start = 0;
        for (span, (keys, values)) in spans.iter().zip(&held) {
            let q = q.narrow(0, start, span.len)?;
            rows.push(attention(&q, keys, values, scores)?);
            start += span.len;
        }
        layer.output.forward(&Tensor::cat(&rows, 0)?)
    }

    /// Queries `(T, H, d)`, keys and values `(T, KV, d)`, normalised and rotated.
    fn heads(
        &self,
        layer: &Layer,
        x: &Tensor,
        angles: &[Angles],
    ) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        let c = &self.config;
        let t = x.dim(0)?;
        let norms = layer.qk_norms.as_ref();
        let norms = (norms.map(|(q, _)| q), norms.map(|(_, k)| k));
        let place = |mut x: Tensor, heads: usize, norm: Option<&RmsNorm>| {
            if let (Some(norm), QkNorm::Row) = (norm, c.qk_norm) {
                x = norm.forward(&x)?;
            }
            let x = x.reshape((t, heads, c.head_dim))?;
            let norm = norm.filter(|_| c.qk_norm == QkNorm::Head);
            let rope = layer.config.rope;
            placed(x, norm, rope.map(|rope| (&self.ropes[rope], &angles[rope])))
        };
        let [q, k, v] = Linear::forward_all([&layer.q, &layer.k, &layer.v], x)?;
        let q = place(q, c.heads, norms.0)?;
        let k = place(k, c.kv_heads, norms.1)?;
        Ok((q, k, v.reshape((t, c.kv_heads, c.head_dim))?))
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> candle_core::Result<Tensor> {
        let [gate, up] = Linear::forward_all([&layer.gate, &layer.up], x)?;
        layer
            .down
            .forward(&self.config.activation.times(&gate, &up)?)
    }
}

impl Model for Decoder {
    fn forward(&self, rows: &[&[u32]], caches: &mut [&mut Cache]) -> candle_core::Result<Tensor> {
        let spans = rows.iter().zip(&*caches).map(|(row, cache)| Span {
            start: cache.len(),
            len: row.len(),
            capacity: cache.capacity(),
        });
        let spans = spans.collect::<Vec<_>>();
        let lengths = spans.iter().map(|span| span.len).collect::<Vec<_>>();
        let angles = self.ropes.iter().map(|rope| rope.at(&spans));
        let angles = angles.collect::<candle_core::Result<Vec<_>>>()?;
        let mut x = scaled(self.embed(&rows.concat())?, self.config.embedding_scale)?;
        let scale = self.config.residual_scale;
        for (index, layer) in self.layers.iter().enumerate() {
            let [before, after, before_ffn, after_ffn] = layer.norms.each_ref().map(Option::as_ref);
            let mut added = self.attend(index, &normed(before, &x)?, (&angles, &spans), caches)?;
            if index + 1 == self.layers.len() {
                // Only the last token of each row is asked for its successor.
                (x, added) = (last_rows(&x, &lengths)?, last_rows(&added, &lengths)?);
            }
            x = residual(x, &added, after, scale)?;
            let added = self.feed_forward(layer, &normed(before_ffn, &x)?)?;
            x = residual(x, &added, after_ffn, scale)?;
            trace(index, &x, &lengths, caches)?;
        }
        for (cache, span) in caches.iter_mut().zip(&spans) {
            cache.advance(span.len);
        }
        let last = self.norm.forward(&x)?;
        scaled(self.head.forward(&last)?, self.config.logit_scale)
    }

    fn cache(&self, capacity: usize) -> candle_core::Result<Cache> {
        let shape = (self.config.kv_heads, capacity, self.config.head_dim);
        Cache::new(
            self.config.layers.len(),
            shape,
            self.cache_dtype(),
            &self.device,
        )
    }

    fn cache_bytes_per_token(&self) -> usize {
        let c = &self.config;
        2 * c.layers.len() * c.kv_heads * c.head_dim * self.cache_dtype().size_in_bytes()
    }
}

/// Notes the states `(T, hidden)` behind a layer of the last token of each row that wants them.
fn trace(
    layer: usize,
    x: &Tensor,
    lengths: &[usize],
    caches: &mut [&mut Cache],
) -> candle_core::Result<()> {
    let reads = |trace: &&mut Trace| trace.layer == layer;
    let traces = caches.iter_mut().map(|cache| cache.trace.as_mut());
    let mut traces = traces.map(|trace| trace.filter(reads)).collect::<Vec<_>>();
    if traces.iter().all(Option::is_none) {
        return Ok(());
    }
    let states = last_rows(x, lengths)?.to_vec2::<f32>()?;
    for (trace, state) in traces.iter_mut().zip(states) {
        if let Some(trace) = trace {
            trace.add(&state);
        }
    }
    Ok(())
}

fn normed(norm: Option<&RmsNorm>, x: &Tensor) -> candle_core::Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(x),
        None => Ok(x.clone()),
    }
}

/// Heads `(T, heads, d)` normalised each and rotated. On the CPU `x` itself is changed.
fn placed(
    x: Tensor,
    norm: Option<&RmsNorm>,
    rope: Option<(&Rope, &Angles)>,
) -> candle_core::Result<Tensor> {
    if x.device().is_cpu() {
        let angles = rope.map(|(_, (cos, sin))| (cos, sin));
        match norm {
            Some(norm) => norm.on_cpu(|norm| cpu::place(&x, Some(norm), angles))?,
            None => cpu::place(&x, None, angles)?,
        }
        return Ok(x);
    }
    let x = normed(norm, &x)?;
    match rope {
        Some((rope, angles)) => rope.rotate(&x, angles),
        None => Ok(x),
    }
}

/// The last tokens of keys or values `(KV, len, d)`.
fn newest(x: &Tensor, count: usize) -> candle_core::Result<Tensor> {
    let len = x.dim(1)?;
    x.narrow(1, len.saturating_sub(count), count.min(len))
}

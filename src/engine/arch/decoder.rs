//! Decoder-only transformers of the Llama family (Touvron et al. 2023; reference: `modeling_llama.py` of
//! transformers and `llama-model.cpp` of llama.cpp, whose tensor names GGUF files use).

use std::sync::Arc;

use anyhow::{Result, bail};
use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::attention::{attend_rows, attention};
use super::layers::{Linear, RmsNorm, Rope, last_rows, swiglu};
use crate::engine::batch::{Cache, Model};
use crate::engine::weights::{Gguf, rotate_halves};

/// Sizes, as the GGUF metadata gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocab: usize,
    pub window: usize,
    pub rope_base: f32,
    pub norm_eps: f32,
}

impl Config {
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let arch = gguf.string("general.architecture")?;
        if arch != "llama" {
            bail!(
                "{}: architecture '{arch}' is not supported; supported: llama",
                gguf.path().display()
            );
        }
        let key = |name: &str| format!("{arch}.{name}");
        let hidden = gguf.usize(&key("embedding_length"))?;
        let heads = gguf.usize(&key("attention.head_count"))?;
        Ok(Self {
            hidden,
            heads,
            layers: gguf.usize(&key("block_count"))?,
            kv_heads: gguf.usize(&key("attention.head_count_kv")).unwrap_or(heads),
            head_dim: gguf
                .usize(&key("attention.key_length"))
                .unwrap_or(hidden / heads),
            feed_forward: gguf.usize(&key("feed_forward_length"))?,
            vocab: gguf.array("tokenizer.ggml.tokens")?.len(),
            window: gguf.usize(&key("context_length"))?,
            rope_base: gguf.f32(&key("rope.freq_base")).unwrap_or(10_000.),
            norm_eps: gguf.f32(&key("attention.layer_norm_rms_epsilon"))?,
        })
    }
}

struct Layer {
    attn_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    ffn_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    fn load(gguf: &Gguf, index: usize, c: &Config, device: &Device) -> Result<Self> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let norm = |part: &str| -> Result<RmsNorm> {
            let weight = gguf.float(&name(part), &[c.hidden], device)?;
            Ok(RmsNorm::new(weight, c.norm_eps))
        };
        let linear = |part: &str, out: usize, input: usize| -> Result<Linear> {
            let weight = gguf.quantized(&name(part), &[out, input], device)?;
            Ok(Linear::new(Arc::new(weight))?)
        };
        let rotated = |part: &str, heads: usize| -> Result<Linear> {
            let stored = gguf.quantized(&name(part), &[heads * c.head_dim, c.hidden], device)?;
            Ok(Linear::new(Arc::new(rotate_halves(
                &stored, heads, device,
            )?))?)
        };
        Ok(Self {
            attn_norm: norm("attn_norm")?,
            q: rotated("attn_q", c.heads)?,
            k: rotated("attn_k", c.kv_heads)?,
            v: linear("attn_v", c.kv_heads * c.head_dim, c.hidden)?,
            output: linear("attn_output", c.hidden, c.heads * c.head_dim)?,
            ffn_norm: norm("ffn_norm")?,
            gate: linear("ffn_gate", c.feed_forward, c.hidden)?,
            up: linear("ffn_up", c.feed_forward, c.hidden)?,
            down: linear("ffn_down", c.hidden, c.feed_forward)?,
        })
    }
}

/// A loaded decoder. Holds weights only; every sequence's state is in the caller's [`Cache`].
pub struct Decoder {
    config: Config,
    device: Device,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    rope: Rope,
}

impl Decoder {
    pub fn load(gguf: &Gguf, device: &Device) -> Result<Self> {
        let config = Config::from_gguf(gguf)?;
        let table = [config.vocab, config.hidden];
        let embedding = Arc::new(gguf.quantized("token_embd.weight", &table, device)?);
        // Where there is no output matrix, the embedding is tied to it.
        let head = match gguf.has("output.weight") {
            true => Arc::new(gguf.quantized("output.weight", &table, device)?),
            false => embedding.clone(),
        };
        let norm = gguf.float("output_norm.weight", &[config.hidden], device)?;
        Ok(Self {
            layers: (0..config.layers)
                .map(|i| Layer::load(gguf, i, &config, device))
                .collect::<Result<_>>()?,
            norm: RmsNorm::new(norm, config.norm_eps),
            head: Linear::new(head)?,
            rope: Rope::new(config.head_dim, config.rope_base, config.window, device)?,
            embedding,
            device: device.clone(),
            config,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `x` is `(T, hidden)`; the rows' spans of T follow one another.
    fn attend(
        &self,
        index: usize,
        x: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        lengths: &[usize],
        caches: &[&mut Cache],
    ) -> candle_core::Result<Tensor> {
        let (c, layer) = (&self.config, &self.layers[index]);
        let t = x.dim(0)?;
        // (T, H * d) -> (1, T, H, d) -> rotated -> (T, H, d)
        let rotate = |x: Tensor, heads: usize| {
            let x = x.reshape((1, t, heads, c.head_dim))?;
            candle_nn::rotary_emb::rope_thd(&x, cos, sin)?.squeeze(0)
        };
        let q = rotate(layer.q.forward(x)?, c.heads)?;
        let k = rotate(layer.k.forward(x)?, c.kv_heads)?;
        let v = layer.v.forward(x)?.reshape((t, c.kv_heads, c.head_dim))?;
        let mut held = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for (len, cache) in lengths.iter().zip(caches) {
            // (T, KV, d) -> (KV, t, d)
            let span = |x: &Tensor| x.narrow(0, start, *len)?.transpose(0, 1)?.contiguous();
            held.push(cache.append(index, &span(&k)?, &span(&v)?)?);
            start += len;
        }
        if self.device.is_cpu() && lengths.iter().all(|len| *len == 1) {
            return layer.output.forward(&attend_rows(&q, &held)?);
        }
        let mut rows = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for (len, (keys, values)) in lengths.iter().zip(&held) {
            rows.push(attention(&q.narrow(0, start, *len)?, keys, values)?);
            start += len;
        }
        layer.output.forward(&Tensor::cat(&rows, 0)?)
    }
}

impl Model for Decoder {
    fn forward(&self, rows: &[&[u32]], caches: &mut [&mut Cache]) -> candle_core::Result<Tensor> {
        let lengths = rows.iter().map(|row| row.len()).collect::<Vec<_>>();
        let positions = caches
            .iter()
            .zip(&lengths)
            .flat_map(|(cache, len)| cache.len() as u32..(cache.len() + len) as u32)
            .collect::<Vec<_>>();
        let rope = self.rope.at(&Tensor::new(positions, &self.device)?)?;
        let mut x = self
            .embedding
            .embedding(&Tensor::new(rows.concat(), &self.device)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = layer.attn_norm.forward(&x)?;
            x = (x + self.attend(index, &normed, &rope, &lengths, caches)?)?;
            let normed = layer.ffn_norm.forward(&x)?;
            let inner = swiglu(&layer.gate.forward(&normed)?, &layer.up.forward(&normed)?)?;
            x = (x + layer.down.forward(&inner)?)?;
        }
        for (cache, len) in caches.iter_mut().zip(&lengths) {
            cache.advance(*len);
        }
        // Only the last token of each row is asked for its successor.
        self.head
            .forward(&self.norm.forward(&last_rows(&x, &lengths)?)?)
    }

    fn cache(&self, capacity: usize) -> candle_core::Result<Cache> {
        let shape = (self.config.kv_heads, capacity, self.config.head_dim);
        Cache::new(self.config.layers, shape, &self.device)
    }

    fn cache_bytes_per_token(&self) -> usize {
        2 * self.config.layers * self.config.kv_heads * self.config.head_dim * size_of::<f32>()
    }
}

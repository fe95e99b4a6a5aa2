//! The same from GGUF metadata, whose keys and silent defaults are those of `llama-model.cpp`.

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::{Config, FAMILIES, Family, LayerConfig, long_attention};
use crate::engine::arch::layers::Activation;
use crate::engine::arch::rope::{RopeConfig, Scaling};
use crate::engine::gguf::Gguf;

/// Every so many layers llama.cpp lets one of Gemma 3 see everything, and one of SmolLM3 turn nothing.
const GEMMA3_PATTERN: usize = 6;
const SMOLLM3_PATTERN: usize = 4;
/// Layers of Gemma 3 27B, the one size whose attention is not scaled by the head's.
const GEMMA3_27B_LAYERS: usize = 62;

impl Family {
    /// The `general.architecture` values that are understood, for messages.
    pub fn architectures() -> impl Iterator<Item = &'static str> {
        let families = FAMILIES
            .iter()
            .filter(|(family, ..)| *family != Family::Mistral);
        families.map(|(_, _, architecture)| *architecture)
    }
}

impl Config {
    /// Reads the metadata of a file. Errors: an architecture that is not known, a key that is missing.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let arch = gguf.string("general.architecture")?;
        let mut families = FAMILIES.iter();
        let Some((family, ..)) = families.find(|(.., known)| *known == arch) else {
            let known = Family::architectures().collect::<Vec<_>>().join(", ");
            bail!(
                "{}: architecture '{arch}' is not supported; supported in GGUF files: {known}",
                gguf.path().display()
            );
        };
        let config = Reader { gguf, arch }.read(*family)?;
        config
            .check()
            .with_context(|| gguf.path().display().to_string())?;
        Ok(config)
    }
}

/// Reads keys below the architecture's name.
struct Reader<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn count(&self, name: &str) -> Result<usize> {
        self.gguf.usize(&self.key(name))
    }

    fn number(&self, name: &str) -> Result<f32> {
        self.gguf.f32(&self.key(name))
    }

    fn read(&self, family: Family) -> Result<Config> {
        let hidden = self.count("embedding_length")?;
        let heads = self.count("attention.head_count")?;
        let layers = self.count("block_count")?;
        let head_dim = self
            .count("attention.key_length")
            .unwrap_or(hidden / heads.max(1));
        let (norms, qk_norm, fused) = Config::switches(family);
        let own_scale = 1. / (head_dim as f32).sqrt();
        Ok(Config {
            family,
            hidden,
            heads,
            kv_heads: self.count("attention.head_count_kv").unwrap_or(heads),
            head_dim,
            feed_forward: self.count("feed_forward_length")?,
            vocab: self.gguf.array("tokenizer.ggml.tokens")?.len(),
            window: self.count("context_length")?,
            layers: (0..layers).map(|i| self.layer(family, i)).collect(),
            ropes: self.ropes(family, head_dim)?,
            norm_eps: self.number("attention.layer_norm_rms_epsilon")?,
            norms,
            qk_norm,
            // The converter adds Gemma's 1 and reorders the rows of those that come from the Llama code.
            norm_offset: false,
            interleaved: matches!(family, Family::Llama | Family::SmolLm3 | Family::Granite),
            fused,
            activation: match family {
                Family::Gemma3 => Activation::GeluTanh,
                _ => Activation::Silu,
            },
            // Where there is no output matrix, it is the embedding.
            tied: false,
            embedding_scale: match family {
                Family::Gemma3 => (hidden as f32).sqrt(),
                _ => self.number("embedding_scale").unwrap_or(1.),
            },
            attention_scale: match family {
                Family::Gemma3 if layers == GEMMA3_27B_LAYERS => {
                    1. / ((hidden / heads) as f32).sqrt()
                }
                _ => self.number("attention.scale").unwrap_or(own_scale),
            },
            residual_scale: self.number("residual_scale").unwrap_or(1.),
            logit_scale: 1. / self.number("logit_scale").unwrap_or(1.),
        })
    }

    fn layer(&self, family: Family, i: usize) -> LayerConfig {
        let slides = match family {
            Family::Gemma3 => !(i + 1).is_multiple_of(GEMMA3_PATTERN),
            Family::Phi3 => true,
            _ => false,
        };
        let window = self.count("attention.sliding_window");
        let turns = family != Family::SmolLm3 || !(i + 1).is_multiple_of(SMOLLM3_PATTERN);
        let rope = usize::from(family == Family::Gemma3 && slides);
        LayerConfig {
            window: window.ok().filter(|window| slides && *window > 0),
            rope: turns.then_some(rope),
        }
    }

    fn ropes(&self, family: Family, head_dim: usize) -> Result<Vec<RopeConfig>> {
        let dim = self.count("rope.dimension_count").unwrap_or(head_dim);
        let rope = |base: f32, scaling| RopeConfig {
            base: f64::from(base),
            dim,
            scaling,
        };
        let base = self.number("rope.freq_base").unwrap_or(10_000.);
        let mut ropes = vec![rope(base, self.scaling(dim)?)];
        if family == Family::Gemma3 {
            let local = self.number("rope.freq_base_swa").unwrap_or(10_000.);
            ropes.push(rope(local, Scaling::None));
        }
        Ok(ropes)
    }

    fn scaling(&self, dim: usize) -> Result<Scaling> {
        let divisors = |tensor: &str| -> Result<Vec<f32>> {
            let tensor = self.gguf.tensor(tensor, &Device::Cpu)?;
            Ok(tensor.dequantize(&Device::Cpu)?.to_vec1()?)
        };
        let has = |tensor: &str| self.gguf.shape(tensor) == Some(vec![dim / 2]);
        if has("rope_factors_long.weight") && has("rope_factors_short.weight") {
            let original = self.count("rope.scaling.original_context_length")?;
            let stretch = self.count("context_length")? as f64 / original as f64;
            let attention = self.number("rope.scaling.attn_factor");
            return Ok(Scaling::Long {
                short: divisors("rope_factors_short.weight")?,
                long: divisors("rope_factors_long.weight")?,
                original,
                attention: attention
                    .unwrap_or_else(|_| long_attention(stretch, original as f64) as f32),
            });
        }
        if has("rope_freqs.weight") {
            return Ok(Scaling::Divisors(divisors("rope_freqs.weight")?));
        }
        let kind = self.gguf.string(&self.key("rope.scaling.type"));
        Ok(match kind.unwrap_or("none") {
            "none" => Scaling::None,
            "linear" => Scaling::Linear(f64::from(self.number("rope.scaling.factor")?)),
            other => bail!(
                "{}: rope scaling '{other}' is not supported; linear, llama3 and longrope are",
                self.gguf.path().display()
            ),
        })
    }
}

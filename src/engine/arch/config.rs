//! What sets one family of decoders apart from another, read from `config.json` here and from GGUF metadata in `gguf`.
//!
//! Reference: the configuration and modelling files of transformers, whose keys these are; where a published `config.json`
//! leaves a key out, the family's default there holds.

mod gguf;

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::layers::Activation;
use super::rope::{RopeConfig, Scaling};

/// A family of decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Llama,
    SmolLm3,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma3,
    Phi3,
    Granite,
    Olmo2,
}

/// Each family with its `model_type` in `config.json` and its `general.architecture` in GGUF.
const FAMILIES: [(Family, &str, &str); 9] = [
    (Family::Llama, "llama", "llama"),
    (Family::SmolLm3, "smollm3", "smollm3"),
    (Family::Mistral, "mistral", "llama"),
    (Family::Qwen2, "qwen2", "qwen2"),
    (Family::Qwen3, "qwen3", "qwen3"),
    (Family::Gemma3, "gemma3_text", "gemma3"),
    (Family::Phi3, "phi3", "phi3"),
    (Family::Granite, "granite", "granite"),
    (Family::Olmo2, "olmo2", "olmo2"),
];

impl Family {
    /// The `model_type` values that are understood, for messages.
    pub fn model_types() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|(_, model_type, _)| *model_type)
    }

    pub fn from_model_type(model_type: &str) -> Option<Self> {
        let mut families = FAMILIES.iter();
        let found = families.find(|(_, known, _)| *known == model_type);
        found.map(|(family, ..)| *family)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut families = FAMILIES.iter();
        let found = families.find(|(family, ..)| family == self);
        f.write_str(found.map_or("", |(_, name, _)| name))
    }
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the feed-forward layer.
    Before,
    /// After each of them, before the sum (OLMo 2).
    After,
    /// Before and after (Gemma).
    Around,
}

/// What queries and keys are normalised over, where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    None,
    Head,
    /// All heads together.
    Row,
}

/// Sizes and switches of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub family: Family,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocab: usize,
    /// Longest text in tokens.
    pub window: usize,
    pub layers: Vec<LayerConfig>,
    pub ropes: Vec<RopeConfig>,
    pub norm_eps: f32,
    pub norms: Norms,
    pub qk_norm: QkNorm,
    /// Norm weights are stored less 1.
    pub norm_offset: bool,
    /// The rows of queries and keys are stored for a RoPE that rotates neighbours.
    pub interleaved: bool,
    /// Query, key and value are one matrix, gate and up another.
    pub fused: bool,
    pub activation: Activation,
    pub tied: bool,
    /// Embeddings are multiplied with this.
    pub embedding_scale: f32,
    /// Products of queries and keys are.
    pub attention_scale: f32,
    /// What a layer adds is.
    pub residual_scale: f32,
    /// Logits are.
    pub logit_scale: f32,
}

/// What differs between the layers of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// A token sees so many up to itself, or all.
    pub window: Option<usize>,
    /// Which of [`Config::ropes`], or none.
    pub rope: Option<usize>,
}

impl Config {
    /// The switches that depend on the family alone.
    fn switches(family: Family) -> (Norms, QkNorm, bool) {
        let norms = match family {
            Family::Gemma3 => Norms::Around,
            Family::Olmo2 => Norms::After,
            _ => Norms::Before,
        };
        let qk_norm = match family {
            Family::Gemma3 | Family::Qwen3 => QkNorm::Head,
            Family::Olmo2 => QkNorm::Row,
            _ => QkNorm::None,
        };
        (norms, qk_norm, family == Family::Phi3)
    }

    /// Reads the content of a `config.json`. Errors: a family that is not known, a key that is missing or makes no sense.
    pub fn from_json(config: &Value) -> Result<Self> {
        // A checkpoint that also sees pictures keeps the language model's part apart.
        let config = config.get("text_config").unwrap_or(config);
        let model_type = config["model_type"].as_str().unwrap_or_default();
        let family = Family::from_model_type(model_type)
            .with_context(|| format!("model_type '{model_type}' is no decoder known here"))?;
        let mut merged = defaults(family);
        for (key, value) in config.as_object().into_iter().flatten() {
            merged.insert(key.clone(), value.clone());
        }
        let raw: Raw = serde_json::from_value(Value::Object(merged))?;
        let head_dim = raw
            .head_dim
            .unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1));
        let (norms, qk_norm, fused) = Self::switches(family);
        let config = Self {
            family,
            hidden: raw.hidden_size,
            heads: raw.num_attention_heads,
            kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim,
            feed_forward: raw.intermediate_size,
            vocab: raw.vocab_size,
            window: raw.max_position_embeddings,
            layers: raw.layers(family),
            ropes: raw.ropes(family, head_dim)?,
            norm_eps: raw.rms_norm_eps,
            norms,
            qk_norm,
            norm_offset: family == Family::Gemma3,
            interleaved: false,
            fused,
            activation: raw.hidden_activation.unwrap_or(raw.hidden_act),
            tied: raw.tie_word_embeddings,
            embedding_scale: match family {
                Family::Gemma3 => (raw.hidden_size as f32).sqrt(),
                _ => raw.embedding_multiplier,
            },
            attention_scale: match (raw.query_pre_attn_scalar, raw.attention_multiplier) {
                (Some(scalar), _) => 1. / scalar.sqrt(),
                (_, Some(multiplier)) => multiplier,
                _ => 1. / (head_dim as f32).sqrt(),
            },
            residual_scale: raw.residual_multiplier,
            logit_scale: 1. / raw.logits_scaling,
        };
        config.check()?;
        Ok(config)
    }

    /// What would else end in a panic far from here.
    fn check(&self) -> Result<()> {
        let sizes = [self.hidden, self.heads, self.kv_heads, self.head_dim];
        ensure!(
            sizes.iter().all(|size| *size > 0) && self.window > 0 && !self.layers.is_empty(),
            "a size is 0"
        );
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "{} heads cannot share {} of keys and values",
            self.heads,
            self.kv_heads
        );
        for rope in &self.ropes {
            ensure!(
                rope.dim % 2 == 0 && rope.dim <= self.head_dim,
                "{} of {} elements of a head cannot be rotated",
                rope.dim,
                self.head_dim
            );
            if let Scaling::Long { short, long, .. } = &rope.scaling {
                ensure!(
                    short.len() == rope.dim / 2 && long.len() == rope.dim / 2,
                    "{} and {} RoPE factors for {} elements",
                    short.len(),
                    long.len(),
                    rope.dim
                );
            }
        }
        Ok(())
    }
}

/// `config.json` as far as it matters, in either of the styles transformers has written RoPE settings.
#[derive(Deserialize)]
struct Raw {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    hidden_act: Activation,
    hidden_activation: Option<Activation>,
    tie_word_embeddings: bool,
    rope_theta: f64,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    sliding_window: Option<usize>,
    use_sliding_window: bool,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    no_rope_layers: Option<Vec<u8>>,
    no_rope_layer_interval: usize,
    query_pre_attn_scalar: Option<f32>,
    attention_multiplier: Option<f32>,
    embedding_multiplier: f32,
    residual_multiplier: f32,
    logits_scaling: f32,
}

/// What the classes of transformers assume where a file is silent.
fn defaults(family: Family) -> Map<String, Value> {
    let mut all = json!({
        "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10_000., "tie_word_embeddings": false,
        "use_sliding_window": true, "no_rope_layer_interval": 4, "embedding_multiplier": 1.,
        "residual_multiplier": 1., "logits_scaling": 1.,
    });
    let own = match family {
        Family::Gemma3 => json!({
            "vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
            "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131_072, "rope_theta": 1e6,
            "rope_local_base_freq": 1e4, "query_pre_attn_scalar": 256., "sliding_window": 4096,
            "sliding_window_pattern": 6, "tie_word_embeddings": true,
        }),
        Family::Qwen2 | Family::Qwen3 => json!({"use_sliding_window": false}),
        Family::SmolLm3 => json!({"use_sliding_window": false, "tie_word_embeddings": true}),
        _ => json!({}),
    };
    let mut merged = all.as_object_mut().map(std::mem::take).unwrap_or_default();
    merged.extend(own.as_object().cloned().into_iter().flatten());
    merged
}

impl Raw {
    fn layers(&self, family: Family) -> Vec<LayerConfig> {
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let layer = |i: usize| {
            let slides = match (&self.layer_types, self.sliding_window_pattern) {
                (Some(types), _) => types.get(i).is_some_and(|kind| kind == "sliding_attention"),
                (None, Some(pattern)) => !(i + 1).is_multiple_of(pattern),
                (None, None) => true,
            };
            let window = window.filter(|_| slides);
            let turns = match &self.no_rope_layers {
                _ if family != Family::SmolLm3 => true,
                Some(layers) => layers.get(i).is_none_or(|turns| *turns != 0),
                None => !(i + 1).is_multiple_of(self.no_rope_layer_interval),
            };
            // Gemma's sliding layers have a RoPE of their own, the second one.
            let rope = usize::from(family == Family::Gemma3 && slides);
            LayerConfig {
                window,
                rope: turns.then_some(rope),
            }
        };
        (0..self.num_hidden_layers).map(layer).collect()
    }

    fn ropes(&self, family: Family, head_dim: usize) -> Result<Vec<RopeConfig>> {
        let settings = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        if family != Family::Gemma3 {
            return Ok(vec![self.rope(settings, self.rope_theta, head_dim)?]);
        }
        // By kind of layer in the newer style.
        let of = |kind: &str| settings.and_then(|s| s.get(kind)?.as_object());
        let local = self.rope_local_base_freq.unwrap_or(self.rope_theta);
        let global = of("full_attention").or(settings);
        Ok(vec![
            self.rope(global, self.rope_theta, head_dim)?,
            self.rope(of("sliding_attention"), local, head_dim)?,
        ])
    }

    fn rope(
        &self,
        settings: Option<&Map<String, Value>>,
        base: f64,
        head_dim: usize,
    ) -> Result<RopeConfig> {
        let setting = |key: &str| settings.and_then(|s| s.get(key));
        let number = |key: &str| setting(key).and_then(Value::as_f64);
        let needed = |key: &str| number(key).with_context(|| format!("rope setting '{key}'"));
        let list = |key: &str| -> Result<Vec<f32>> {
            let list = setting(key).with_context(|| format!("rope setting '{key}'"))?;
            Ok(serde_json::from_value(list.clone())?)
        };
        let part = number("partial_rotary_factor").or(self.partial_rotary_factor);
        let kind = setting("rope_type")
            .or_else(|| setting("type"))
            .and_then(Value::as_str);
        let original = number("original_max_position_embeddings")
            .or(self.original_max_position_embeddings.map(|n| n as f64));
        let scaling = match kind.unwrap_or("default") {
            "default" => Scaling::None,
            "linear" => Scaling::Linear(needed("factor")?),
            "llama3" => Scaling::Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original: original.context("rope setting 'original_max_position_embeddings'")?,
            },
            "longrope" | "su" => {
                let window = self.max_position_embeddings as f64;
                let stretch = match original {
                    Some(original) => window / original,
                    None => number("factor").unwrap_or(1.),
                };
                let original = original.unwrap_or(window);
                Scaling::Long {
                    short: list("short_factor")?,
                    long: list("long_factor")?,
                    original: original as usize,
                    attention: number("attention_factor")
                        .unwrap_or_else(|| long_attention(stretch, original))
                        as f32,
                }
            }
            other => {
                bail!("rope scaling '{other}' is not supported; linear, llama3 and longrope are")
            }
        };
        Ok(RopeConfig {
            base: number("rope_theta").unwrap_or(base),
            dim: part.map_or(head_dim, |part| (head_dim as f64 * part) as usize),
            scaling,
        })
    }
}

/// How much LongRoPE sharpens attention in a window `stretch` times the original.
fn long_attention(stretch: f64, original: f64) -> f64 {
    match stretch > 1. {
        true => (1. + stretch.ln() / original.ln()).sqrt(),
        false => 1.,
    }
}

//! A low-rank adapter (LoRA, Hu et al. 2022): small matrices that are added to a checkpoint's weights while they are loaded.
//!
//! Layout: that of PEFT, `adapter_config.json` and `adapter_model.safetensors`, where a module's weight `(out, in)` becomes
//! `W + scale * B A` with `lora_A` `(r, in)` and `lora_B` `(out, r)`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::probe::Probes;
use crate::hash::sha256_of;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What may be beside them: see [`Probes`].
const PROBES: &str = "probes.safetensors";
/// What PEFT puts before a module's own name.
const PREFIX: &str = "base_model.model.";

/// A loaded adapter.
pub struct Adapter {
    origin: String,
    sha256: String,
    scale: f64,
    /// By the names of the modules they belong to, as transformers names them.
    factors: HashMap<String, Factors>,
    probes: Option<Probes>,
}

struct Factors {
    /// `(r, in)`, f32 on the CPU.
    a: Tensor,
    /// `(out, r)`, the same.
    b: Tensor,
}

/// What of PEFT's configuration changes the result; the rest is about training.
#[derive(Deserialize)]
struct Config {
    peft_type: String,
    r: f64,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    other: HashMap<String, Value>,
}

/// Settings that would need more than `W + scale * B A`, and the values at which they do not.
const PLAIN: [&str; 12] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "bias",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
];

impl Adapter {
    /// Opens a folder as PEFT writes it. Errors: a file that is missing or damaged, an adapter of another kind than LoRA.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = |name| folder.join(name);
        let read = |name| {
            fs::read(path(name)).with_context(|| {
                format!(
                    "{}: cannot read; an adapter is a folder with {CONFIG} and {WEIGHTS}",
                    path(name).display()
                )
            })
        };
        let origin = folder.display().to_string();
        let adapter = Self::from_bytes(&origin, &read(CONFIG)?, &read(WEIGHTS)?)?;
        match path(PROBES).exists() {
            true => adapter.with_probes(&read(PROBES)?),
            false => Ok(adapter),
        }
    }

    /// The same from the contents of the two files; `origin` is for messages.
    pub fn from_bytes(origin: &str, config: &[u8], weights: &[u8]) -> Result<Self> {
        let scale =
            Config::scale(config).with_context(|| format!("{origin}: adapter_config.json"))?;
        let damaged = |error| anyhow!("{origin}: {WEIGHTS} cannot be read ({error})");
        let tensors =
            candle_core::safetensors::load_buffer(weights, &Device::Cpu).map_err(damaged)?;
        let mut factors = HashMap::new();
        for (name, a) in &tensors {
            if name.ends_with(".lora_B.weight") {
                continue;
            }
            let module = name
                .strip_prefix(PREFIX)
                .and_then(|name| name.strip_suffix(".lora_A.weight"))
                .with_context(|| {
                    format!("{origin}: '{name}' is no part of a LoRA adapter of linear layers")
                })?;
            let b = format!("{PREFIX}{module}.lora_B.weight");
            let b = tensors
                .get(&b)
                .with_context(|| format!("{origin}: tensor '{b}' is missing"))?;
            let (a, b) = (a.to_dtype(DType::F32)?, b.to_dtype(DType::F32)?);
            ensure!(
                a.rank() == 2 && b.rank() == 2 && a.dim(0)? == b.dim(1)?,
                "{origin}: the factors of '{module}' have shapes {:?} and {:?}, which do not fit",
                a.dims(),
                b.dims()
            );
            factors.insert(module.to_string(), Factors { a, b });
        }
        ensure!(!factors.is_empty(), "{origin}: {WEIGHTS} holds nothing");
        Ok(Self {
            origin: origin.into(),
            sha256: sha256_of(weights),
            scale,
            factors,
            probes: None,
        })
    }

    /// With the contents of a file of probes, which were fitted on what the model writes with the adapter.
    pub fn with_probes(self, probes: &[u8]) -> Result<Self> {
        let probes = Probes::from_bytes(probes);
        let probes = probes.with_context(|| format!("{}: {PROBES}", self.origin))?;
        Ok(Self {
            probes: Some(probes),
            ..self
        })
    }

    pub fn probes(&self) -> Option<&Probes> {
        self.probes.as_ref()
    }

    /// Where it comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Of its weights.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether it changes the weight of a module.
    pub fn has(&self, module: &str) -> bool {
        self.factors.contains_key(module)
    }

    /// What is added to the weight `shape` `(out, in)` of a module; `None` where that stays as it is. F32 on the CPU.
    pub fn delta(&self, module: &str, shape: (usize, usize)) -> Result<Option<Tensor>> {
        let Some(Factors { a, b }) = self.factors.get(module) else {
            return Ok(None);
        };
        let found = (b.dim(0)?, a.dim(1)?);
        ensure!(
            found == shape,
            "{}: '{module}' is for a weight of {found:?}, and the model's is {shape:?}; the adapter belongs to another model",
            self.origin
        );
        Ok(Some((b.matmul(a)? * self.scale)?))
    }

    /// Errors: a module that the model does not have.
    pub fn all_used(&self, used: &BTreeSet<String>) -> Result<()> {
        let mut unused = self.factors.keys().filter(|name| !used.contains(*name));
        match unused.next() {
            None => Ok(()),
            Some(name) => bail!(
                "{}: the model has no linear layer '{name}'; the adapter belongs to another model",
                self.origin
            ),
        }
    }
}

impl Config {
    /// What `B A` is multiplied with.
    fn scale(config: &[u8]) -> Result<f64> {
        let config = serde_json::from_slice::<Self>(config)?;
        ensure!(
            config.peft_type == "LORA",
            "peft_type '{}' is not supported; LORA is",
            config.peft_type
        );
        let plain = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text == "none",
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        for name in PLAIN {
            let value = config.other.get(name).unwrap_or(&Value::Null);
            ensure!(plain(value), "'{name}' of {value} is not supported");
        }
        ensure!(
            config.r >= 1.,
            "a rank 'r' of {} makes no adapter",
            config.r
        );
        Ok(match config.use_rslora {
            true => config.lora_alpha / config.r.sqrt(),
            false => config.lora_alpha / config.r,
        })
    }
}

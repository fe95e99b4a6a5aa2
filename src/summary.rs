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
    pub evidence: Vec<Evidence>,
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

/// A sentence of the transcript on which a summary rests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Counts the sentences of the document from 0.
    pub sentence: usize,
    pub first_cue: usize,
    pub last_cue: usize,
    pub start: Option<f64>,
    /// Cosine of the embeddings of this sentence and what it supports; 1 for a quote.
    pub score: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Coverage {
    pub cues: usize,
    /// Cues that lie in a chapter: all of them.
    pub covered: usize,
}

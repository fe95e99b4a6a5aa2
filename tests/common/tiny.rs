//! The tiny checkpoints of `fixtures/models` and what the reference implementations made of them.
#![allow(dead_code)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::Device;
use chapterize::engine::batch::Model;
use chapterize::engine::checkpoint::Checkpoint;
use chapterize::engine::generate::{Row, generate};
use chapterize::engine::sampler::Sampling;
use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What transformers makes of a checkpoint.
#[derive(Deserialize)]
pub struct Reference {
    pub input: Vec<u32>,
    pub greedy: Vec<u32>,
    pub second_input: Vec<u32>,
    pub second_greedy: Vec<u32>,
}

/// What llama.cpp makes of it.
#[derive(Deserialize)]
pub struct Gguf {
    pub steps: Vec<Step>,
    /// After the last token of the input.
    pub last_logits: Vec<f32>,
}

/// The two best tokens of a step, best first, and their logits.
#[derive(Deserialize)]
pub struct Step {
    pub ids: [u32; 2],
    pub logits: [f32; 2],
}

impl Reference {
    pub fn of(family: &str) -> Self {
        json(&folder(family).join("reference.json"))
    }
}

impl Gguf {
    pub fn of(family: &str) -> Self {
        json(&folder(family).join("gguf.json"))
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(family)
}

/// A matrix of a family's `reference.safetensors`, by rows.
pub fn values(family: &str, name: &str) -> Vec<Vec<f32>> {
    try_values(family, name).unwrap_or_else(|| panic!("{family}: no reference '{name}'"))
}

/// The same where there is such a matrix.
pub fn try_values(family: &str, name: &str) -> Option<Vec<Vec<f32>>> {
    let bytes = fs::read(folder(family).join("reference.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).ok()?;
    let (floats, _) = view.data().as_chunks::<4>();
    let floats = floats.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let floats = floats.collect::<Vec<_>>();
    let rows = floats.chunks(view.shape()[1]).map(<[f32]>::to_vec);
    Some(rows.collect())
}

pub fn load(path: &Path) -> Box<dyn Model> {
    let loaded = Checkpoint::open(path).and_then(|checkpoint| checkpoint.model(&Device::Cpu));
    loaded
        .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
        .0
}

/// Greedy texts of so many tokens, all in one batch.
pub fn generate_all(model: &dyn Model, prompts: &[&Vec<u32>], tokens: usize) -> Vec<Vec<u32>> {
    let row = |prompt: &&Vec<u32>| Row {
        prompt: Rc::new((*prompt).clone()),
        max_tokens: tokens,
        sampling: Sampling::greedy(),
        dictated: None,
        traced: None,
    };
    let rows = prompts.iter().map(row).collect::<Vec<_>>();
    generate(model, &rows, &HashSet::new(), &mut |_, _| {}).unwrap()
}

/// The largest difference, relative to the largest value of the reference.
pub fn relative(found: &[f32], reference: &[f32]) -> f32 {
    assert_eq!(found.len(), reference.len());
    let largest = reference.iter().fold(0f32, |m, x| m.max(x.abs()));
    let differences = found.iter().zip(reference).map(|(a, b)| (a - b).abs());
    differences.fold(0., f32::max) / largest
}

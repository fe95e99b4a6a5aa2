//! Sentence embeddings by a BERT encoder (all-MiniLM-L6-v2): mean of the last layer over the tokens, unit length,
//! as sentence-transformers computes them (Reimers and Gurevych 2019).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::Device;
use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

use super::reread::Reader;
use crate::engine::adapter::Adapter;
use crate::engine::arch::bert::{Bert, BertConfig, Precision};
use crate::engine::folder::Folder;
use crate::engine::weights::Weights;

/// One vector of unit length per sentence.
pub type Embedding = Vec<f32>;

/// The files of an encoder, as they come from the hub.
pub const ENCODER_FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// What the pipeline needs of a sentence encoder.
pub trait Encode {
    /// One embedding per text, in order. `progress` is called with the texts done so far.
    fn encode(&self, texts: &[&str], progress: &mut dyn FnMut(usize)) -> Result<Vec<Embedding>>;
}

/// Tokens in one pass of the encoder: few enough for what lies between two layers to stay in a core's cache, and enough to be
/// bound by arithmetic. Passes run side by side, one a thread: no thread waits for another between two products.
const BATCH_TOKENS: usize = 256;

/// Passes of each thread until progress is told.
const BETWEEN_REPORTS: usize = 4;

/// Tokens that an encoder of which nothing is known reads of a sentence, if it can: no sentence has more than 60 words.
const WINDOW: usize = 128;

/// all-MiniLM-L6-v2, or another BERT encoder with mean pooling.
pub struct MiniLm {
    model: Bert,
    tokenizer: Tokenizer,
    /// What the model was loaded from, and how. The file is not kept open: what was read of it would count as memory.
    folder: PathBuf,
    precision: Precision,
}

impl MiniLm {
    /// Loads from [`ENCODER_FILES`]. `window` is the longest input in tokens.
    pub fn load(files: &[PathBuf], window: usize, device: &Device) -> Result<Self> {
        Self::load_as(files, window, Precision::Eight, device)
    }

    /// The same, with the weights held as told.
    pub fn load_as(
        files: &[PathBuf],
        window: usize,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let encoder = Self::open(files, precision, device)?;
        let most = encoder.model.window();
        ensure!(
            window <= most,
            "config.json: the sentence encoder reads {most} tokens, not {window}"
        );
        encoder.with_window(window)
    }

    /// Loads an encoder of which nothing else is known from a folder. Errors: a file that is not there or is no BERT's.
    pub fn load_folder(folder: &Path, device: &Device) -> Result<Self> {
        let files = ENCODER_FILES.map(|name| folder.join(name));
        for (file, name) in files.iter().zip(ENCODER_FILES) {
            ensure!(file.is_file(), "has no {name}, as a sentence encoder has");
        }
        let encoder = Self::open(&files, Precision::Eight, device)?;
        let window = WINDOW.min(encoder.model.window());
        encoder.with_window(window)
    }

    /// What reads places again ([`super::reread`]), with this model's layers as far as they are the same.
    pub fn reader(&self) -> Result<Reader> {
        let weights = Weights::Folder(Folder::open(&self.folder)?);
        let adapted = |adapter: &Adapter| self.model.adapted(&weights, self.precision, adapter);
        Reader::new(adapted, self.tokenizer.clone())
    }

    /// Reads texts of any length.
    fn open(files: &[PathBuf], precision: Precision, device: &Device) -> Result<Self> {
        let file = |name: &str| -> Result<&Path> {
            files
                .iter()
                .find(|path| path.file_name().is_some_and(|file| file == name))
                .map(PathBuf::as_path)
                .ok_or_else(|| anyhow!("the sentence encoder has no {name}"))
        };
        let config = std::fs::read_to_string(file("config.json")?)?;
        let config = BertConfig::from_json(&config).context("config.json")?;
        let folder = file("model.safetensors")?.parent();
        let folder = folder.unwrap_or(Path::new(".")).to_path_buf();
        let weights = Weights::Folder(Folder::open(&folder)?);
        let model = Bert::load(&weights, config, precision, device)?;
        let tokenizer = Tokenizer::from_file(file("tokenizer.json")?)
            .map_err(|error| anyhow!("tokenizer.json: {error}"))?;
        Ok(Self {
            model,
            tokenizer,
            folder,
            precision,
        })
    }

    fn with_window(mut self, window: usize) -> Result<Self> {
        let truncation = TruncationParams {
            max_length: window,
            ..Default::default()
        };
        self.tokenizer
            .with_padding(None)
            .with_truncation(Some(truncation))
            .map_err(|error| anyhow!("tokenizer.json: {error}"))?;
        Ok(self)
    }

    /// Embeds one batch of token ids.
    fn embed(&self, batch: &[&[u32]]) -> Result<Vec<Embedding>> {
        let hidden = self.model.encode(batch)?; // (T, H)
        let size = hidden.dim(1)?;
        let hidden = hidden.flatten_all()?.to_vec1::<f32>()?;
        let mut rest = &hidden[..];
        let embeddings = batch.iter().map(|ids| {
            let (rows, behind) = rest.split_at(ids.len() * size);
            rest = behind;
            pooled(rows, size)
        });
        Ok(embeddings.collect())
    }
}

/// The direction of the sum of rows, which is that of their mean.
fn pooled(rows: &[f32], size: usize) -> Embedding {
    let mut sum = vec![0f32; size];
    for row in rows.chunks_exact(size) {
        for (sum, x) in sum.iter_mut().zip(row) {
            *sum += x;
        }
    }
    let norm = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    sum.iter().map(|x| x / norm).collect()
}

impl Encode for MiniLm {
    fn encode(&self, texts: &[&str], progress: &mut dyn FnMut(usize)) -> Result<Vec<Embedding>> {
        let encodings = self
            .tokenizer
            .encode_batch(texts.to_vec(), true)
            .map_err(|error| anyhow!("cannot tokenize: {error}"))?;
        let ids = encodings.iter().map(|e| e.get_ids()).collect::<Vec<_>>();
        let batches = batches(&ids);
        let mut embeddings = Vec::with_capacity(ids.len());
        for batches in batches.chunks(BETWEEN_REPORTS * rayon::current_num_threads()) {
            let done = batches.par_iter().map(|batch| self.embed(batch));
            for batch in done.collect::<Result<Vec<_>>>()? {
                embeddings.extend(batch);
            }
            progress(embeddings.len());
        }
        Ok(embeddings)
    }
}

/// Texts in their order, as many at a time as make a pass; one that is longer makes a pass of its own.
pub(super) fn batches<'a>(mut texts: &'a [&'a [u32]]) -> Vec<&'a [&'a [u32]]> {
    let mut batches = Vec::new();
    while !texts.is_empty() {
        let mut tokens = 0;
        let fitting = texts.iter().take_while(|ids| {
            tokens += ids.len();
            tokens <= BATCH_TOKENS
        });
        let (batch, behind) = texts.split_at(fitting.count().max(1));
        batches.push(batch);
        texts = behind;
    }
    batches
}

/// The cosine of two embeddings: they have unit length.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

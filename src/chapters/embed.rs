//! Sentence embeddings by a BERT encoder (all-MiniLM-L6-v2): mean of the last layer over the tokens, unit length,
//! as sentence-transformers computes them (Reimers and Gurevych 2019).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Tokenizer, TruncationParams};

/// One vector of unit length per sentence.
pub type Embedding = Vec<f32>;

/// What the pipeline needs of a sentence encoder.
pub trait Encode {
    /// One embedding per text, in order. `progress` is called with the texts done so far.
    fn encode(&self, texts: &[&str], progress: &mut dyn FnMut(usize)) -> Result<Vec<Embedding>>;
}

/// Padded tokens in one pass of the encoder: bounds memory, and is wide enough to be bound by arithmetic.
const BATCH_TOKENS: usize = 1024;

/// all-MiniLM-L6-v2, or another BERT encoder with mean pooling.
pub struct MiniLm {
    model: BertModel,
    tokenizer: Tokenizer,
}

impl MiniLm {
    /// Loads from `config.json`, `model.safetensors` and `tokenizer.json`. `window` is the longest input in tokens.
    pub fn load(files: &[PathBuf], window: usize, device: &Device) -> Result<Self> {
        let file = |name: &str| -> Result<&Path> {
            files
                .iter()
                .find(|path| path.file_name().is_some_and(|file| file == name))
                .map(PathBuf::as_path)
                .ok_or_else(|| anyhow!("the sentence encoder has no {name}"))
        };
        let config = std::fs::read_to_string(file("config.json")?)?;
        let config: Config = serde_json::from_str(&config).context("config.json")?;
        let weights = file("model.safetensors")?;
        // SAFETY: the file's hash was checked, and the cache replaces files by rename, never in place.
        let weights =
            unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, device)? };
        let model = BertModel::load(weights, &config)?;
        let mut tokenizer = Tokenizer::from_file(file("tokenizer.json")?)
            .map_err(|error| anyhow!("tokenizer.json: {error}"))?;
        let truncation = TruncationParams {
            max_length: window,
            ..Default::default()
        };
        tokenizer
            .with_padding(None)
            .with_truncation(Some(truncation))
            .map_err(|error| anyhow!("tokenizer.json: {error}"))?;
        Ok(Self { model, tokenizer })
    }

    /// Embeds one batch of token ids, padded to the longest.
    fn embed(&self, batch: &[&[u32]]) -> Result<Vec<Embedding>> {
        let device = &self.model.device;
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = (batch.len(), longest);
        let mut ids = Vec::with_capacity(batch.len() * longest);
        let mut mask = Vec::with_capacity(batch.len() * longest);
        for row in batch {
            let padding = longest - row.len();
            ids.extend(row.iter().copied().chain(std::iter::repeat_n(0, padding)));
            mask.extend(row.iter().map(|_| 1f32));
            mask.extend(std::iter::repeat_n(0f32, padding));
        }
        let ids = Tensor::from_vec(ids, shape, device)?;
        let mask = Tensor::from_vec(mask, shape, device)?;
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?; // (B, L, H)
        let sum = mask.unsqueeze(1)?.matmul(&hidden)?.squeeze(1)?; // (B, H)
        // The mean's divisor cancels out: what is kept is the direction.
        let norm = sum.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(sum.broadcast_div(&norm)?.to_vec2()?)
    }
}

impl Encode for MiniLm {
    fn encode(&self, texts: &[&str], progress: &mut dyn FnMut(usize)) -> Result<Vec<Embedding>> {
        let encodings = self
            .tokenizer
            .encode_batch(texts.to_vec(), true)
            .map_err(|error| anyhow!("cannot tokenize: {error}"))?;
        let ids = encodings.iter().map(|e| e.get_ids()).collect::<Vec<_>>();
        // Texts of like length together: nearly nothing is spent on padding.
        let mut order = (0..ids.len()).collect::<Vec<_>>();
        order.sort_by_key(|&i| ids[i].len());
        let mut embeddings = vec![Embedding::new(); ids.len()];
        let mut done = 0;
        while done < order.len() {
            let mut end = done + 1;
            while end < order.len() && ids[order[end]].len() * (end + 1 - done) <= BATCH_TOKENS {
                end += 1;
            }
            let batch = order[done..end].iter().map(|&i| ids[i]).collect::<Vec<_>>();
            for (&i, embedding) in order[done..end].iter().zip(self.embed(&batch)?) {
                embeddings[i] = embedding;
            }
            done = end;
            progress(done);
        }
        Ok(embeddings)
    }
}

/// The cosine of two embeddings: they have unit length.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

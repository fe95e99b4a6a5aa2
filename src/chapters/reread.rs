//! A second look at the likeliest places: what is said before and after is read together, token by token.
//!
//! The boundary model's heads see one vector of each sentence. Here the encoder, with an adapter in its last layers, reads the end of what is
//! before a place and the beginning of what follows as one text, in which each token attends to all others (cross-segment attention, Lukasik
//! et al. 2020). That takes a pass of its own for each place, so only the likeliest are read. `scripts/train_reader.py` trains
//! the adapter; `models/boundaries.md` is the card.

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::{DType, Device};
use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::embed::batches;
use crate::engine::adapter::Adapter;
use crate::engine::arch::bert::Bert;
use crate::transcript::Sentence;

const CONFIG: &[u8] = include_bytes!("../../models/reader/adapter_config.json");
const ADAPTER: &[u8] = include_bytes!("../../models/reader/adapter_model.safetensors");
/// `weight` `(2 * hidden)` and `bias` `(1)`: what makes a score of the first token's vector and the mean of those behind the place.
const HEAD: &[u8] = include_bytes!("../../models/reader/head.safetensors");

/// Tokens that are read before a place and from it on, as in training.
const BEFORE: usize = 44;
const AFTER: usize = 60;

/// The part of all places that is read, the likeliest ones: so many at least, and at most.
const READ: f32 = 0.12;
const LEAST: usize = 60;
const MOST: usize = 1000;

// docs/chapters.md says on which documents these were chosen.

/// What the score of the heads and that of reading again count for the places that are read.
const OF_HEADS: f32 = 0.6;
const OF_READING: f32 = 0.4;
/// Places within so many words are one beginning to whoever jumps there, and what reading tells of one it tells of all: which is it, the
/// heads tell. It was taught none of those next to a true one.
const NEAR: usize = 40;

/// The adapted encoder.
pub struct Reader {
    model: Bert,
    tokenizer: Tokenizer,
    /// The tokens that begin a text and end a part of it.
    begin: u32,
    end: u32,
    weights: Vec<f32>,
    bias: f32,
}

impl Reader {
    /// `adapted` makes the model that `tokenizer` belongs to one with an adapter. Errors: another model than the adapter was trained for.
    pub fn new(
        adapted: impl FnOnce(&Adapter) -> Result<Bert>,
        mut tokenizer: Tokenizer,
    ) -> Result<Self> {
        let adapter = Adapter::from_bytes("models/reader", CONFIG, ADAPTER)?;
        let head = candle_core::safetensors::load_buffer(HEAD, &Device::Cpu)?;
        let part = |name: &str| -> Result<Vec<f32>> {
            let part = head.get(name);
            let part =
                part.with_context(|| format!("models/reader/head.safetensors: no {name}"))?;
            Ok(part.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(|error| anyhow!("tokenizer.json: {error}"))?;
        let token = |text: &str| {
            let token = tokenizer.token_to_id(text);
            token.with_context(|| format!("tokenizer.json: no {text}"))
        };
        let (begin, end) = (token("[CLS]")?, token("[SEP]")?);
        let bias = part("bias")?;
        ensure!(bias.len() == 1, "models/reader/head.safetensors: one bias");
        Ok(Self {
            model: adapted(&adapter)?,
            begin,
            end,
            weights: part("weight")?,
            bias: bias[0],
            tokenizer,
        })
    }

    /// Weighs `scores`, those of the places `firsts`, by what reading the likeliest of them tells. How likely all of these are together stays
    /// as it is: how they compare with the others was not read.
    pub fn weigh(
        &self,
        scores: &mut [f32],
        sentences: &[Sentence],
        firsts: &[usize],
    ) -> Result<()> {
        let read = likeliest(scores);
        let parts = read.iter().map(|&place| around(sentences, firsts[place]));
        let found = self.scores(&parts.collect::<Vec<_>>())?;
        let found = smoothed(&found, &words_before(sentences, firsts, &read));
        let likely = |scores: &[f32]| {
            let of = |&place: &usize| f64::from(scores[place]).exp();
            read.iter().map(of).sum::<f64>().ln() as f32
        };
        let before = likely(scores);
        for (&place, score) in read.iter().zip(found) {
            scores[place] = OF_HEADS * scores[place] + OF_READING * score;
        }
        let gained = likely(scores) - before;
        for &place in &read {
            scores[place] -= gained;
        }
        Ok(())
    }

    /// How likely something begins between two texts each: logits, of which only differences mean anything.
    pub fn scores(&self, parts: &[(String, String)]) -> Result<Vec<f32>> {
        let tokens = |texts: Vec<&str>| {
            let tokens = self.tokenizer.encode_batch(texts, false);
            tokens.map_err(|error| anyhow!("cannot tokenize: {error}"))
        };
        let before = tokens(parts.iter().map(|(before, _)| &before[..]).collect())?;
        let after = tokens(parts.iter().map(|(_, after)| &after[..]).collect())?;
        let ids = before.iter().zip(&after).map(|(before, after)| {
            let (before, after) = (before.get_ids(), after.get_ids());
            let before = &before[before.len().saturating_sub(BEFORE)..];
            let after = &after[..after.len().min(AFTER)];
            [&[self.begin], before, &[self.end], after, &[self.end]].concat()
        });
        let ids = ids.collect::<Vec<_>>();
        let ids = ids.iter().map(|ids| &ids[..]).collect::<Vec<_>>();
        let scores = batches(&ids).into_par_iter().map(|batch| {
            let hidden = self.model.encode(batch)?; // (T, H)
            let size = hidden.dim(1)?;
            let hidden = hidden.flatten_all()?.to_vec1::<f32>()?;
            let mut rest = &hidden[..];
            let scores = batch.iter().map(|ids| {
                let (rows, behind) = rest.split_at(ids.len() * size);
                rest = behind;
                // Behind the token that ends the first part.
                let place = ids.iter().position(|&id| id == self.end);
                self.bias + self.score(rows, place.map_or(1, |end| end + 1))
            });
            Ok(scores.collect())
        });
        let scores = scores.collect::<Result<Vec<Vec<f32>>>>()?;
        Ok(scores.concat())
    }

    /// Of the tokens' vectors, those of the second text from the row `place` on.
    fn score(&self, rows: &[f32], place: usize) -> f32 {
        let (of_first, of_mean) = self.weights.split_at(self.weights.len() / 2);
        let size = of_first.len();
        let dot = |row: &[f32], weights: &[f32]| {
            let products = row.iter().zip(weights).map(|(x, weight)| x * weight);
            products.sum::<f32>()
        };
        let after = rows[place * size..].chunks_exact(size);
        let count = after.len() as f32;
        dot(&rows[..size], of_first) + after.map(|row| dot(row, of_mean)).sum::<f32>() / count
    }
}

/// The places that are read, in order: not the first, with which a chapter begins anyway.
fn likeliest(scores: &[f32]) -> Vec<usize> {
    let count = (READ * scores.len() as f32) as usize;
    let mut places = (1..scores.len()).collect::<Vec<_>>();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    places.truncate(count.clamp(LEAST, MOST));
    places.sort_unstable();
    places
}

/// Words before each of the places `read`.
fn words_before(sentences: &[Sentence], firsts: &[usize], read: &[usize]) -> Vec<usize> {
    let mut words = vec![0];
    for (i, sentence) in sentences.iter().enumerate() {
        words.push(words[i] + sentence.text.split_whitespace().count());
    }
    read.iter().map(|&place| words[firsts[place]]).collect()
}

/// The logarithm of the mean chance of all places that are near, for each; `words` are ascending.
fn smoothed(scores: &[f32], words: &[usize]) -> Vec<f32> {
    let around = words.iter().map(|&here| {
        let begin = words.partition_point(|&other| other + NEAR < here);
        let end = words.partition_point(|&other| other <= here + NEAR);
        let own = &scores[begin..end];
        let most = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = own.iter().map(|score| (score - most).exp()).sum::<f32>();
        most + (sum / own.len() as f32).ln()
    });
    around.collect()
}

/// What is said before and from a sentence on, as much as is read at least: a word is a token or more.
fn around(sentences: &[Sentence], place: usize) -> (String, String) {
    let until = |most: usize| {
        let mut words = 0;
        move |sentence: &&Sentence| {
            let goes_on = words < most;
            words += sentence.text.split_whitespace().count();
            goes_on
        }
    };
    let before = sentences[..place].iter().rev().take_while(until(BEFORE));
    let mut before = before
        .map(|sentence| &sentence.text[..])
        .collect::<Vec<_>>();
    before.reverse();
    let after = sentences[place..].iter().take_while(until(AFTER));
    let after = after.map(|sentence| &sentence.text[..]).collect::<Vec<_>>();
    (before.join(" "), after.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_places_are_read_but_never_the_first() {
        let scores = (0..1000).map(|i| -(i as f32)).collect::<Vec<_>>();
        assert_eq!(likeliest(&scores), (1..121).collect::<Vec<_>>());
        assert_eq!(likeliest(&scores[..80]).len(), 60);
        assert_eq!(likeliest(&scores[..3]), [1, 2]);
        assert!(likeliest(&scores[..1]).is_empty());
        assert_eq!(likeliest(&vec![0.; 40_000]).len(), MOST);
    }

    #[test]
    fn what_is_near_shares_its_score() {
        let smoothed = smoothed(&[0., 2., -1., 5.], &[0, 40, 81, 300]);
        let mean = ((0f32.exp() + 2f32.exp()) / 2.).ln();
        assert!((smoothed[0] - mean).abs() < 1e-5 && smoothed[0] == smoothed[1]);
        assert_eq!(smoothed[2..], [-1., 5.]);
    }

    #[test]
    fn what_is_around_a_place_is_enough_and_in_order() {
        let sentence = |i: usize| Sentence {
            text: format!("{i}{}", " word".repeat(24)),
            ..Sentence::default()
        };
        let sentences = (0..9).map(sentence).collect::<Vec<_>>();
        let firsts = |text: &str| {
            let numbers = text.split(' ').filter(|word| *word != "word");
            numbers.map(String::from).collect::<Vec<_>>()
        };
        let (before, after) = around(&sentences, 4);
        assert_eq!(firsts(&before), ["2", "3"]);
        assert_eq!(firsts(&after), ["4", "5", "6"]);
        assert_eq!(around(&sentences, 0).0, "");
    }
}

//! Deterministic stand-ins for the models: the whole command line is tested with them, without weights.

use std::hash::{DefaultHasher, Hasher};

use anyhow::Result;

use crate::chapters::embed::{Embedding, Encode};
use crate::summarize::{Llm, Request, Written};
use crate::words::{is_stopword, stem, words};

/// Answers with words of what it is asked about.
pub struct FakeLlm;

impl Llm for FakeLlm {
    fn window(&self) -> usize {
        2048
    }

    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn generate(
        &self,
        requests: &[Request],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Written>> {
        let answers = requests.iter().enumerate().map(|(i, request)| {
            progress(i + 1, requests.len());
            let source = request.user.rsplit("\n\n").next().unwrap_or_default();
            let words = source.split_whitespace().take(request.max_tokens / 2);
            Written::from(words.collect::<Vec<_>>().join(" "))
        });
        Ok(answers.collect())
    }
}

/// Embeds a text as the hashes of its content words: texts that share words are alike.
pub struct FakeEncoder;

const SIZE: usize = 256;

impl Encode for FakeEncoder {
    fn encode(&self, texts: &[&str], progress: &mut dyn FnMut(usize)) -> Result<Vec<Embedding>> {
        let embed = |text: &str| {
            let mut embedding = vec![1e-3; SIZE];
            for word in words(text).filter(|word| !is_stopword(word)) {
                let mut hasher = DefaultHasher::new();
                hasher.write(stem(&word).as_bytes());
                embedding[hasher.finish() as usize % SIZE] += 1.;
            }
            let norm = embedding.iter().map(|x| x * x).sum::<f32>().sqrt();
            embedding.iter_mut().for_each(|x| *x /= norm);
            embedding
        };
        let embeddings = texts.iter().enumerate().map(|(i, text)| {
            progress(i + 1);
            embed(text)
        });
        Ok(embeddings.collect())
    }
}

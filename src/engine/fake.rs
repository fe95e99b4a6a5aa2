//! A deterministic stand-in for a language model: the whole command line is tested with it, without weights.

use anyhow::Result;

use crate::summarize::{Llm, Progress, Request};

/// Answers with the first words of what it is asked about.
pub struct FakeLlm;

impl Llm for FakeLlm {
    fn window(&self) -> usize {
        2048
    }

    fn count(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn generate(&self, requests: &[Request], progress: Progress<'_>) -> Result<Vec<String>> {
        let answers = requests.iter().enumerate().map(|(i, request)| {
            progress(i + 1, requests.len());
            let mut words = request.user.split_whitespace().collect::<Vec<_>>();
            // The material stands at the end of every prompt.
            let skip = words.len().saturating_sub(request.max_tokens.min(24));
            words.drain(..skip);
            words.truncate(request.max_tokens.min(24));
            format!("{}.", words.join(" ").trim_end_matches(['.', ',', '?', '!']))
        });
        Ok(answers.collect())
    }
}

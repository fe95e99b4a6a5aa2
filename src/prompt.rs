//! What the model is asked, per chapter and for the whole.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::engine::sampler::Sampling;
use crate::summarize::Request;
use crate::transcript::Sentence;

/// How a checkpoint is best asked; the `[prompt]` table of its manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Style {
    /// Tokens of source per request. Small checkpoints keep to what they are given only where it is short.
    pub material: usize,
    /// See [`Sampling::copy_bias`].
    pub copy_bias: f32,
    /// Whether the source names who speaks. Small checkpoints then carry the dialogue on instead of summing it up.
    pub speakers: bool,
    /// What part of a clause's words one sentence of the source must have, 0 to 1. Small checkpoints join words of
    /// two sentences to something neither says; large ones use words of their own.
    pub clause_support: f32,
    /// System messages for summaries, each asked; the source is the user's message.
    pub summary: Vec<String>,
    /// Answers drawn at random for each question, besides the greedy one.
    pub draws: u64,
    /// The user's message for titles, before the source.
    pub title: String,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            material: 1500,
            copy_bias: 0.,
            speakers: true,
            clause_support: 0.4,
            summary: vec![
                "Summarize the transcript below in two sentences, in the third person. Name who says what. \
                 Use only what is said in it."
                    .into(),
            ],
            draws: 2,
            title: "Write a title of three to eight words that says what this text is about:".into(),
        }
    }
}

impl Style {
    /// The chosen sentences as the model reads them: as one text, or a line per turn with its speaker.
    pub fn source(&self, sentences: &[Sentence], chosen: &[usize]) -> String {
        let mut text = String::new();
        let mut speaker = None;
        for &i in chosen {
            let sentence = &sentences[i];
            if self.speakers && sentence.speaker.is_some() && sentence.speaker != speaker {
                speaker.clone_from(&sentence.speaker);
                let name = speaker.as_deref().unwrap_or_default();
                text.push_str(&format!("\n{name}:"));
            }
            text.push(' ');
            text.push_str(&sentence.text);
        }
        text.trim().to_string()
    }

    /// Identifies the prompts in a result: the first 16 hexadecimal digits of their sha256.
    pub fn hash(&self) -> String {
        let text = format!("{self:?}");
        format!("{:x}", Sha256::digest(text))[..16].into()
    }

    /// Requests for a summary of `source`: every question, put in every way.
    pub fn summaries(&self, source: &str, samplings: &[Sampling]) -> Vec<Request> {
        let request = |question: &String, sampling: Sampling| Request {
            system: Some(question.clone()),
            user: source.into(),
            answer_start: String::new(),
            max_tokens: SUMMARY_TOKENS,
            sampling,
        };
        let questions = self.summary.iter();
        questions
            .flat_map(|question| samplings.iter().map(move |s| request(question, *s)))
            .collect()
    }

    /// A request for a title of `source`.
    pub fn title(&self, source: &str, sampling: Sampling) -> Request {
        Request {
            system: None,
            user: format!("{}\n\n{source}", self.title),
            answer_start: "Title:".into(),
            max_tokens: TITLE_TOKENS,
            sampling,
        }
    }
}

/// The longest answers. What is cut off there is dropped sentence by sentence later.
pub const SUMMARY_TOKENS: usize = 80;
pub const TITLE_TOKENS: usize = 16;

impl Style {
    /// The ways a question is put: greedy, and so many draws, each with a seed of its own. `place` tells the
    /// chapters apart, so that a row's text does not depend on how many rows there are.
    pub fn samplings(&self, seed: u64, place: usize, temperature: f32) -> Vec<Sampling> {
        let greedy = Sampling {
            copy_bias: self.copy_bias,
            no_repeat_ngram: NO_REPEAT,
            ..Sampling::greedy()
        };
        let draws = if temperature > 0. { self.draws } else { 0 };
        let drawn = (1..=draws).map(|draw| Sampling {
            temperature,
            top_p: 0.9,
            seed: seed.wrapping_add((place as u64) << 8).wrapping_add(draw),
            ..greedy
        });
        std::iter::once(greedy).chain(drawn).collect()
    }
}

/// A run of so many tokens comes once in an answer: small checkpoints else go in circles.
const NO_REPEAT: usize = 5;

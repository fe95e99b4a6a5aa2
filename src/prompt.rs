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
    /// The system message for summaries; the source is the user's message.
    pub summary: String,
    /// The user's message for titles, before the source.
    pub title: String,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            material: 1500,
            copy_bias: 0.,
            speakers: true,
            summary: "Summarize the transcript below in two sentences, in the third person. Name who says what. \
                      Use only what is said in it."
                .into(),
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

    /// A request for a summary of `source`.
    pub fn summary(&self, source: &str, sampling: Sampling) -> Request {
        Request {
            system: Some(self.summary.clone()),
            user: source.into(),
            answer_start: String::new(),
            max_tokens: SUMMARY_TOKENS,
            sampling,
        }
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
pub const SUMMARY_TOKENS: usize = 96;
pub const TITLE_TOKENS: usize = 16;

/// The ways one request is put: greedy, and so many draws, each with a seed of its own.
pub fn samplings(seed: u64, place: usize, temperature: f32, copy_bias: f32) -> Vec<Sampling> {
    const DRAWS: u64 = 2;
    let greedy = Sampling {
        copy_bias,
        ..Sampling::greedy()
    };
    if temperature <= 0. {
        return vec![greedy];
    }
    let drawn = (1..=DRAWS).map(|draw| Sampling {
        temperature,
        top_p: 0.9,
        // Distinct per place and draw, so that a row's text does not depend on how many rows there are.
        seed: seed.wrapping_add((place as u64) << 8).wrapping_add(draw),
        ..greedy
    });
    std::iter::once(greedy).chain(drawn).collect()
}

//! What the model is asked, per chapter and for the whole.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::sampler::Sampling;
use crate::language::Language;
use crate::registry::Kind;
use crate::summarize::Request;
use crate::transcript::Sentence;
use crate::words::capitalize;

/// How a checkpoint is best asked; the `[prompt]` table of its manifest, or a user's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Style {
    /// The languages it reads and writes; empty: any. No summaries are asked of it in, or of, another one, nor titles of what is said in another one.
    pub languages: Vec<Language>,
    /// Tokens of source per request. Small checkpoints keep to what they are given only where it is short.
    pub material: usize,
    /// See [`Sampling::copy_bias`].
    pub copy_bias: f32,
    /// Whether the source names who speaks. Small checkpoints then carry the dialogue on instead of summing it up.
    pub speakers: bool,
    /// What part of a clause's words one sentence of the source must have, 0 to 1. Small checkpoints join words of
    /// two sentences to something neither says; large ones use words of their own.
    pub clause_support: f32,
    /// Tokens of the longest answer to them. What is cut off there is dropped sentence by sentence later.
    pub answer: usize,
    /// System messages for summaries, each asked; the source is the user's message. An empty one is not sent: some
    /// checkpoints sum up whatever they are given.
    pub summary: Vec<String>,
    /// System message for reports. Where there is one, a chapter's summary is made of quotes that the model puts into a sentence each:
    /// small checkpoints mix up what they read in one piece, and `summary` is not asked.
    pub report: String,
    /// What the checkpoint was taught to answer where a quote says nothing worth a report. Reports of such quotes are asked for nevertheless, and
    /// chosen where there is nothing better: what is worth one depends on the recording.
    pub refusal: String,
    /// System message for the whole, from its chapters' summaries. Empty: it is not asked (see [`crate::merge`]).
    pub overview: String,
    /// Answers drawn at random for each question, besides the greedy one.
    pub draws: u64,
    /// The user's message for titles, before the chapter's summary or sentences. Empty: none is asked for.
    pub title: String,
    /// Tokens of the chapter's most central sentences that a title is asked of. 0: it is asked of the chapter's summary, which does
    /// where that tells more than a detail or two.
    pub title_material: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            material: 1500,
            answer: 80,
            copy_bias: 0.,
            speakers: true,
            clause_support: 0.4,
            summary: vec![
                "Summarize the transcript below in two sentences, in the third person. Name who says what. \
                 Use only what is said in it. Write in {language}."
                    .into(),
            ],
            report: String::new(),
            refusal: String::new(),
            overview: "Below are the summaries of the chapters of a recording. Summarize the recording in two sentences, in the third \
                       person. Use only what they say. Write in {language}."
                .into(),
            draws: 2,
            title: "Write a title of three to eight words, in {language}, that says what this text is about:".into(),
            title_material: 0,
        }
    }
}

impl Style {
    /// How a checkpoint without a manifest is asked, by its kind.
    pub fn for_unknown(kind: Kind) -> Self {
        let summary_only = |question: &str| Self {
            material: 400,
            speakers: false,
            draws: 1,
            summary: vec![question.into()],
            overview: question.into(),
            title: String::new(),
            ..Self::default()
        };
        match kind {
            Kind::Decoder | Kind::Encoder => Self::default(),
            // The prefix that T5 was trained with.
            Kind::T5 => summary_only("summarize:"),
            Kind::Bart => summary_only(""),
        }
    }

    /// Whether the checkpoint can be asked in a language and about what is said in it; in one that cannot be told, it can.
    pub fn knows(&self, language: Option<Language>) -> bool {
        self.languages.is_empty()
            || language.is_none_or(|language| self.languages.contains(&language))
    }

    /// Whether quotes are reported.
    pub fn reports(&self) -> bool {
        !self.report.is_empty()
    }

    /// The same, changed by a user: what stands in a TOML file of these settings comes before what is known of the checkpoint,
    /// and `candidates` are the greedy answer and so many draws. Errors: a file that cannot be read, or says something else.
    pub fn with(self, file: Option<&Path>, candidates: Option<usize>) -> Result<Self> {
        let mut style = match file {
            Some(path) => {
                let name = path.display();
                let text = fs::read_to_string(path)
                    .with_context(|| format!("--prompt-file: {name}: cannot read"))?;
                self.overridden(&text)
                    .with_context(|| format!("--prompt-file: {name}"))?
            }
            None => self,
        };
        if let Some(count) = candidates {
            style.draws = (count - 1) as u64;
        }
        Ok(style)
    }

    fn overridden(&self, text: &str) -> Result<Self> {
        let mut settings = toml::Table::try_from(self)?;
        // Parsed as a whole first, for messages with lines.
        toml::from_str::<Self>(text)?;
        settings.extend(text.parse::<toml::Table>()?);
        Ok(settings.try_into()?)
    }

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

    /// The same with the variables of its messages filled in: `{language}`, the English name of the language to write in.
    pub fn in_language(&self, language: &str) -> Self {
        let fill = |text: &String| text.replace("{language}", language);
        Self {
            summary: self.summary.iter().map(fill).collect(),
            report: fill(&self.report),
            overview: fill(&self.overview),
            title: fill(&self.title),
            ..self.clone()
        }
    }

    /// Identifies the prompts in a result: the first 16 hexadecimal digits of their sha256.
    pub fn hash(&self) -> String {
        let text = format!("{self:?}");
        format!("{:x}", Sha256::digest(text))[..16].into()
    }

    /// Requests about a reading of a chapter: for a report of it, or for a summary by every question; put in every way.
    pub fn summaries(&self, source: &str, samplings: &[Sampling]) -> Vec<Request> {
        let questions = if self.reports() {
            std::slice::from_ref(&self.report)
        } else {
            &self.summary
        };
        questions
            .iter()
            .flat_map(|question| self.requests(question, source, samplings))
            .collect()
    }

    /// Requests for a summary of the whole; none where the checkpoint is not asked for one.
    pub fn overviews(&self, source: &str, samplings: &[Sampling]) -> Vec<Request> {
        if self.overview.is_empty() {
            return Vec::new();
        }
        self.requests(&self.overview, source, samplings).collect()
    }

    fn requests(
        &self,
        question: &str,
        source: &str,
        samplings: &[Sampling],
    ) -> impl Iterator<Item = Request> {
        samplings.iter().map(move |sampling| Request {
            system: Some(question.to_string()).filter(|question| !question.is_empty()),
            user: source.into(),
            answer_start: String::new(),
            refusal: Some(self.refusal.clone()).filter(|refusal| !refusal.is_empty()),
            dictated: None,
            probe: self.reports().then_some(REPORT_PROBE),
            max_tokens: self.answer,
            sampling: *sampling,
        })
    }

    /// Requests for a title of a text; none where the checkpoint cannot be asked for one.
    pub fn titles(&self, text: &str, samplings: &[Sampling]) -> Vec<Request> {
        let samplings = if self.title.is_empty() {
            &[]
        } else {
            samplings
        };
        let request = |sampling: &Sampling| Request {
            system: None,
            user: format!("{}\n\n{text}", self.title),
            answer_start: "Title:".into(),
            refusal: None,
            dictated: None,
            probe: None,
            max_tokens: TITLE_TOKENS,
            sampling: *sampling,
        };
        samplings.iter().map(request).collect()
    }

    /// Requests that ask what the model thinks of these titles of a text.
    pub fn dictated_titles<'t>(
        &self,
        text: &str,
        titles: impl Iterator<Item = &'t str>,
    ) -> Vec<Request> {
        let request = self.titles(text, &[Sampling::greedy()]);
        let dictated = |title: &str| {
            request.first().map(|request| Request {
                dictated: Some(format!(" {}", capitalize(title))),
                max_tokens: DICTATED_TOKENS,
                ..request.clone()
            })
        };
        titles.filter_map(dictated).collect()
    }
}

/// The name of the probes for reports; see [`Probes`](crate::engine::probe::Probes).
const REPORT_PROBE: &str = "report";

/// The longest title.
pub const TITLE_TOKENS: usize = 16;
/// Room for one that the text itself has.
const DICTATED_TOKENS: usize = 40;

impl Style {
    /// The ways a question is put: greedy, and so many draws, each with a seed of its own. `place` tells the
    /// chapters apart, so that a row's text does not depend on how many rows there are.
    pub fn samplings(
        &self,
        seed: u64,
        place: usize,
        temperature: f32,
        draws: u64,
    ) -> Vec<Sampling> {
        let greedy = Sampling {
            copy_bias: self.copy_bias,
            no_repeat_ngram: NO_REPEAT,
            ..Sampling::greedy()
        };
        let draws = if temperature > 0. { draws } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_no_instruction_gets_none_and_is_asked_for_no_title() {
        let style = Style::for_unknown(Kind::Bart);
        let samplings = style.samplings(0, 0, 0.3, style.draws);
        let requests = style.summaries("The tea is hot.", &samplings);
        assert_eq!(requests.len(), samplings.len());
        for request in requests {
            assert_eq!(request.system, None);
            assert_eq!(request.user, "The tea is hot.");
        }
        assert!(style.titles("The tea is hot.", &samplings).is_empty());
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let style = Style::for_unknown(Kind::Decoder);
        let changed = style
            .overridden("summary = [\"Sum up.\"]\nmaterial = 300\n")
            .unwrap();
        assert_eq!(changed.summary, ["Sum up."]);
        assert_eq!(changed.material, 300);
        assert_eq!(changed.title, style.title);
        let error = style.overridden("materiel = 300\n").unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("line 1") && error.contains("materiel"),
            "{error}"
        );
        assert_eq!(style.with(None, Some(4)).unwrap().draws, 3);
    }

    #[test]
    fn what_follows_instructions_is_asked_for_both_in_every_way() {
        let style = Style::for_unknown(Kind::Decoder);
        let samplings = style.samplings(0, 0, 0.3, style.draws);
        assert_eq!(samplings.len(), 3);
        let requests = style.summaries("Tea.", &samplings);
        assert!(requests.iter().all(|request| request.system.is_some()));
        assert_eq!(style.titles("Tea.", &samplings).len(), 3);
    }
}

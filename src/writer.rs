//! Asks the language model: for all chapters together, and with embeddings of what it answers.

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::Result;

use crate::chapters::embed::{Embedding, Encode};
use crate::chunk::Passage;
use crate::engine::sampler::Sampling;
use crate::ground::{self, Claim, Source};
use crate::phrase;
use crate::progress::Progress;
use crate::prompt::{self, Style};
use crate::summarize::{Llm, Options, Request};
use crate::title::{self, Candidate, Form};

/// The language model and all that is needed to ask it and to embed its answers.
pub struct Writer<'a> {
    llm: &'a dyn Llm,
    encoder: &'a dyn Encode,
    pub style: &'a Style,
    options: &'a Options,
    progress: Progress,
    known: RefCell<HashMap<String, Embedding>>,
}

impl<'a> Writer<'a> {
    pub fn new(
        llm: &'a dyn Llm,
        encoder: &'a dyn Encode,
        options: &'a Options,
        progress: Progress,
    ) -> Self {
        Self {
            llm,
            encoder,
            style: &options.style,
            options,
            progress,
            known: RefCell::default(),
        }
    }

    /// The sentences of a passage the model is given: as much as the style wants and the window holds.
    /// `reserved` tokens are taken already.
    pub fn material(&self, passage: &Passage, reserved: usize) -> Vec<usize> {
        let instructions = self
            .style
            .summary
            .iter()
            .map(|question| self.llm.count(question))
            .max()
            .unwrap_or(0)
            + TEMPLATE_TOKENS;
        let room = self
            .llm
            .window()
            .saturating_sub(instructions + self.style.answer);
        let budget = self.style.material.min(room).saturating_sub(reserved);
        passage.material(budget, |text| self.count(text))
    }

    pub fn count(&self, text: &str) -> usize {
        self.llm.count(text)
    }

    pub fn samplings(&self, place: usize) -> Vec<Sampling> {
        let Options {
            seed, temperature, ..
        } = *self.options;
        self.style.samplings(seed, place, temperature)
    }

    pub fn generate(&self, stage: &str, requests: &[Request]) -> Result<Vec<String>> {
        let bar = self.progress.bar(stage, 0, "tokens");
        self.llm.generate(requests, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })
    }

    /// What each answer claims, with embeddings.
    pub fn claims(&self, answers: &[impl AsRef<str>]) -> Result<Vec<Vec<Claim>>> {
        let texts = answers
            .iter()
            .map(|answer| ground::claims(answer.as_ref()))
            .collect::<Vec<_>>();
        self.learn(texts.iter().flatten())?;
        let claim = |text: String| Claim {
            embedding: self.embedding(&text),
            text,
        };
        Ok(texts
            .into_iter()
            .map(|answer| answer.into_iter().map(claim).collect())
            .collect())
    }

    /// Embeds all texts not met before, together.
    fn learn<'t>(&self, texts: impl Iterator<Item = &'t String>) -> Result<()> {
        let mut known = self.known.borrow_mut();
        let mut new = texts
            .map(String::as_str)
            .filter(|text| !known.contains_key(*text))
            .collect::<Vec<_>>();
        new.sort_unstable();
        new.dedup();
        let embeddings = self.encoder.encode(&new, &mut |_| {})?;
        known.extend(new.into_iter().map(str::to_string).zip(embeddings));
        Ok(())
    }

    /// The embedding of a text that was learnt.
    fn embedding(&self, text: &str) -> Embedding {
        self.known.borrow().get(text).cloned().unwrap_or_default()
    }
}

/// Room for a chat template's own tokens.
const TEMPLATE_TOKENS: usize = 64;

/// What there is to choose from for a chapter.
pub struct Draft {
    pub answers: Vec<Vec<Claim>>,
    pub titles: Vec<Candidate>,
}

/// Asks for summaries and titles of all chapters in one batch, and embeds what comes back.
pub fn draft(passages: &[Passage], writer: &Writer) -> Result<Vec<Draft>> {
    let mut requests = Vec::new();
    // The same for every chapter.
    let mut titles_asked = 0;
    for (place, passage) in passages.iter().enumerate() {
        let source = writer
            .style
            .source(passage.sentences, &writer.material(passage, 0));
        let essence = writer
            .style
            .source(passage.sentences, &passage.quotes(ground::SENTENCES));
        let samplings = writer.samplings(place);
        requests.extend(writer.style.summaries(&source, &samplings));
        let for_titles = writer.style.titles(&essence, &samplings);
        titles_asked = for_titles.len();
        requests.extend(for_titles);
    }
    let answers = writer.generate("Writing", &requests)?;
    let per_chapter = answers.len() / passages.len();
    let (mut summaries, mut titles) = (Vec::new(), Vec::new());
    for (passage, answers) in passages.iter().zip(answers.chunks(per_chapter)) {
        let (for_summary, for_title) = answers.split_at(per_chapter - titles_asked);
        let parts = for_summary.iter().map(|answer| prompt::parts(answer));
        let (texts, below): (Vec<_>, Vec<_>) = parts.unzip();
        summaries.push(texts);
        let for_title = for_title.iter().map(String::as_str);
        let for_title = for_title.chain(below.into_iter().flatten());
        titles.push(title_candidates(passage, for_title));
    }
    writer.learn(titles.iter().flatten().map(|title| &title.text))?;
    for title in titles.iter_mut().flatten() {
        title.embedding = writer.embedding(&title.text);
    }
    let drafts = summaries
        .into_iter()
        .zip(titles)
        .map(|(summaries, titles)| {
            Ok(Draft {
                answers: writer.claims(&summaries)?,
                titles,
            })
        });
    drafts.collect()
}

/// What may become a chapter's title, still without embeddings.
fn title_candidates<'t>(
    passage: &Passage,
    answers: impl Iterator<Item = &'t str>,
) -> Vec<Candidate> {
    let source = Source::of(passage);
    let candidate = |text, form, worth| Candidate {
        text,
        embedding: Embedding::new(),
        form,
        worth,
    };
    let written = answers.filter_map(|answer| title::tidy(answer, &source));
    let phrases = phrase::phrases(passage).into_iter();
    written
        .map(|text| candidate(text, Form::Written, 0.))
        .chain(phrases.map(|(text, worth)| candidate(text, Form::Phrase, worth)))
        .collect()
}

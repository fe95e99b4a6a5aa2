//! From the chapters' summaries to what is said of the whole.

use std::collections::HashSet;

use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::gist;
use crate::opening::opening;
use crate::summarize::{evidence_of, quote};
use crate::summary::{Evidence, KeyPoint};
use crate::transcript::Sentence;
use crate::writer::Writer;

/// What the chapters' summaries say, sentence by sentence.
#[derive(Default)]
pub struct Parts {
    sentences: Vec<Sentence>,
    embeddings: Vec<Embedding>,
    told: Vec<Told>,
}

/// A sentence of a chapter's summary as it stands there.
pub struct Told {
    pub text: String,
    pub evidence: Evidence,
    /// Counts the chapters from 0.
    pub chapter: usize,
    /// Cosine with what sets the chapter apart.
    pub relevance: f32,
    /// The chance that it is good, where that is known.
    pub good: Option<f32>,
    /// Whether it is a quotation.
    pub quoted: bool,
}

/// What is said of the whole.
pub struct Whole {
    pub summary: String,
    pub evidence: Vec<Evidence>,
    pub key_points: Vec<KeyPoint>,
}

impl Parts {
    /// `said` is what a model that sums up the whole reads for it.
    pub fn push(&mut self, told: Told, said: Sentence, embedding: Embedding) {
        self.told.push(told);
        self.sentences.push(said);
        self.embeddings.push(embedding);
    }

    /// How well each stands for the whole.
    fn values(&self) -> Vec<f32> {
        let value = |(i, told): (usize, &Told)| {
            let others = self.told.iter().zip(&self.embeddings);
            let others = others.filter(|(other, _)| other.chapter != told.chapter);
            let near = others.map(|(_, other)| cosine(&self.embeddings[i], other));
            let words = told.text.split_whitespace().count();
            gist::value(gist::signs(
                told.good,
                told.relevance,
                near.collect(),
                words,
            ))
        };
        self.told.iter().enumerate().map(value).collect()
    }

    /// How many chapters there are: each has a part.
    fn chapters(&self) -> usize {
        self.told.last().map_or(0, |told| told.chapter + 1)
    }
}

/// The parts, as they are chosen from.
struct Choice<'a> {
    parts: &'a Parts,
    /// Of the parts, with what the document is about.
    passage: Passage<'a>,
    /// See [`gist::value`].
    values: Vec<f32>,
}

impl Choice<'_> {
    /// The `count` that stand best for the whole, of those that are `allowed` by what they are and by their value, one of a chapter, in their order;
    /// none that rests on what is `said` already.
    fn best(
        &self,
        count: usize,
        said: &[Evidence],
        allowed: impl Fn(&Told, f32) -> bool,
    ) -> Vec<&Told> {
        let told = &self.parts.told;
        let mut taken = HashSet::new();
        let may_be = |i: usize| {
            let is_new = said.iter().all(|said| !overlap(said, &told[i].evidence));
            is_new && allowed(&told[i], self.values[i]) && taken.insert(told[i].chapter)
        };
        let chosen = self.passage.best(count, |i| self.values[i], may_be);
        chosen.into_iter().map(|i| &told[i]).collect()
    }
}

fn overlap(a: &Evidence, b: &Evidence) -> bool {
    a.sentence <= b.last_sentence && b.sentence <= a.last_sentence
}

/// Most key points, and the fewest chapters that have any: with less, the summaries themselves are as short.
const KEY_POINTS: usize = 5;
const LEAST_CHAPTERS: usize = 5;
/// What a sentence must be worth to be one ([`gist::value`]).
const LEAST_VALUE: f32 = 0.5;

/// Sentences of chapters in a summary of the whole, beside what is said at the beginning; the fewest chapters that can stand for the whole; and
/// sentences of a summary of quotations only.
const SENTENCES: usize = 2;
const CHAPTERS_OF_SUMMARY: usize = 3;
const QUOTES: usize = 2;

/// A summary of the whole, and its key points: from the parts that stand best for all of it.
pub fn whole(document: &Passage, parts: &Parts, writer: &Writer) -> Whole {
    let all = 0..parts.sentences.len();
    let choice = Choice {
        parts,
        // What is central to the document counts, not what is central to the few sentences chosen from it.
        passage: Passage {
            focus: document.focus.clone(),
            ..Passage::new(&parts.sentences, &parts.embeddings, all)
        },
        values: parts.values(),
    };
    if let Some((summary, evidence)) = written(&choice.passage, parts, writer) {
        return Whole {
            summary,
            evidence,
            key_points: key_points(&choice, &[]),
        };
    }
    let (summary, evidence) = compiled(document, &choice, writer);
    Whole {
        key_points: key_points(&choice, &evidence),
        summary,
        evidence,
    }
}

/// The summary that the model makes of the chapters, and what carries it.
fn written(passage: &Passage, parts: &Parts, writer: &Writer) -> Option<(String, Vec<Evidence>)> {
    let held = writer.overview(passage)?;
    let texts = held.iter().map(|held| held.claim.text.as_str());
    let evidence = held.iter().map(|held| Evidence {
        score: held.support.min(1.),
        ..parts.told[held.evidence.start].evidence.clone()
    });
    Some((texts.collect::<Vec<_>>().join(" "), evidence.collect()))
}

/// The summary without a model that can sum up chapters: what is said of it at the beginning, and what chapters say that stands best for the
/// whole; and what carries it. Of few chapters, or where they are all quoted, quotations.
fn compiled(document: &Passage, choice: &Choice, writer: &Writer) -> (String, Vec<Evidence>) {
    let opening = opening(document, writer.spoken);
    let begun = opening.map(|opening| begun(document, opening, writer));
    let (mut texts, mut evidence): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
    let count = match choice.parts.chapters() < CHAPTERS_OF_SUMMARY {
        true => 0,
        false => SENTENCES,
    };
    // Quotations of chapters do not sum up anything.
    let chosen = choice.best(count, &evidence, |told, _| !told.quoted);
    if chosen.is_empty() {
        let mut quotes = Vec::from_iter(opening);
        let central = document.quotes(QUOTES).into_iter();
        quotes.extend(central.filter(|&i| Some(i) != opening));
        quotes.truncate(QUOTES);
        quotes.sort_unstable();
        return quotation(document, &quotes);
    }
    for told in chosen {
        texts.push(told.text.clone());
        evidence.push(told.evidence.clone());
    }
    (texts.join(" "), evidence)
}

/// The sentence of the beginning that says what the recording is about: in a report, if one holds, and quoted else.
fn begun(document: &Passage, opening: usize, writer: &Writer) -> (String, Evidence) {
    match writer.report(document, vec![opening]) {
        Some(held) => (
            held.claim.text,
            evidence_of(document.sentences, held.evidence, held.support),
        ),
        None => (
            quote(document.sentences, &[opening]),
            evidence_of(document.sentences, opening..opening + 1, 1.),
        ),
    }
}

/// Some sentences as they were said, and where.
fn quotation(document: &Passage, chosen: &[usize]) -> (String, Vec<Evidence>) {
    let evidence = chosen
        .iter()
        .map(|&i| evidence_of(document.sentences, i..i + 1, 1.));
    (quote(document.sentences, chosen), evidence.collect())
}

/// The parts that stand best for the whole, of as many chapters as leave some out; nothing of what is `said` already.
fn key_points(choice: &Choice, said: &[Evidence]) -> Vec<KeyPoint> {
    let chapters = choice.parts.chapters();
    if chapters < LEAST_CHAPTERS {
        return Vec::new();
    }
    // Quotations are key points only where all chapters are quoted.
    let all_quoted = choice.parts.told.iter().all(|told| told.quoted);
    let chosen = choice.best(KEY_POINTS.min(chapters / 2), said, |told, value| {
        value >= LEAST_VALUE && told.quoted == all_quoted
    });
    let point = |told: &Told| KeyPoint {
        text: told.text.clone(),
        chapter: told.chapter,
        evidence: told.evidence.clone(),
    };
    chosen.into_iter().map(point).collect()
}

//! From the chapters' summaries to what is said of the whole.

use std::collections::HashSet;

use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
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
}

/// Sentences at the beginning among which an introduction is looked for, and how many are taken.
const OPENING: usize = 15;
const INTRODUCTION: usize = 2;

/// Most key points, and the fewest chapters that have any: with less, the summaries themselves are as short.
const KEY_POINTS: usize = 5;
const LEAST_CHAPTERS: usize = 5;

/// A summary of the whole, and its key points: from the parts that are most central to all of them.
pub fn whole(document: &Passage, parts: &Parts, writer: &Writer) -> Whole {
    let all = 0..parts.sentences.len();
    // What is central to the document counts, not what is central to the few sentences chosen from it.
    let passage = Passage {
        focus: document.focus.clone(),
        ..Passage::new(&parts.sentences, &parts.embeddings, all)
    };
    let (summary, evidence) = overview(document, &passage, parts, writer);
    Whole {
        summary,
        evidence,
        key_points: key_points(&passage, parts),
    }
}

/// The summary and what carries it: what the model makes of the chapters, or else the introduction, quoted.
fn overview(
    document: &Passage,
    passage: &Passage,
    parts: &Parts,
    writer: &Writer,
) -> (String, Vec<Evidence>) {
    if let Some(held) = writer.overview(passage) {
        let texts = held.iter().map(|held| held.claim.text.as_str());
        let evidence = held.iter().map(|held| Evidence {
            score: held.support.min(1.),
            ..parts.told[held.evidence.start].evidence.clone()
        });
        return (texts.collect::<Vec<_>>().join(" "), evidence.collect());
    }
    let introduction = introduction(document);
    let evidence = introduction
        .iter()
        .map(|&i| evidence_of(document.sentences, i..i + 1, 1.));
    (quote(document.sentences, &introduction), evidence.collect())
}

/// The parts most central to the whole, one of a chapter, of as many chapters as leave some out.
fn key_points(passage: &Passage, parts: &Parts) -> Vec<KeyPoint> {
    let chapters = parts.told.last().map_or(0, |told| told.chapter + 1);
    if chapters < LEAST_CHAPTERS {
        return Vec::new();
    }
    let mut taken = HashSet::new();
    let chosen = passage.central_where(KEY_POINTS.min(chapters / 2), |i| {
        taken.insert(parts.told[i].chapter)
    });
    let point = |i: usize| {
        let told = &parts.told[i];
        KeyPoint {
            text: told.text.clone(),
            chapter: told.chapter,
            evidence: told.evidence.clone(),
        }
    };
    chosen.into_iter().map(point).collect()
}

/// Who opens a talk mostly says what it is about: the sentences among the first that do so best.
fn introduction(document: &Passage) -> Vec<usize> {
    let count = document.sentences.len();
    let opening = Passage {
        range: 0..OPENING.min(count.div_ceil(8)),
        focus: document.focus.clone(),
        ..*document
    };
    opening.introduction(INTRODUCTION)
}

//! From the chapters' summaries to what is said of the whole.

use std::collections::HashSet;

use anyhow::Result;

use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
use crate::ground::Held;
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
    /// Whether the model wrote it; else it is a quote.
    pub written: bool,
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

/// So many written sentences must be there to choose from, that some stand for the whole.
const ENOUGH: usize = 4;

/// Most key points, and the fewest chapters that have any: with less, the summaries themselves are as short.
const KEY_POINTS: usize = 5;
const LEAST_CHAPTERS: usize = 5;

/// A summary of the whole, and its key points: from the parts that are most central to all of them.
pub fn whole(
    document: &Passage,
    opening: &[Held],
    parts: &Parts,
    writer: &Writer,
) -> Result<Whole> {
    let all = 0..parts.sentences.len();
    // What is central to the document counts, not what is central to the few sentences chosen from it.
    let passage = Passage {
        focus: document.focus.clone(),
        ..Passage::new(&parts.sentences, &parts.embeddings, all)
    };
    let mut used = HashSet::new();
    let (summary, evidence) = overview(document, opening, &passage, parts, writer, &mut used)?;
    Ok(Whole {
        summary,
        evidence,
        key_points: key_points(&passage, parts, &used),
    })
}

/// The summary, what carries it, and the parts it stands for (`used`).
fn overview(
    document: &Passage,
    opening: &[Held],
    passage: &Passage,
    parts: &Parts,
    writer: &Writer,
    used: &mut HashSet<usize>,
) -> Result<(String, Vec<Evidence>)> {
    if let Some(held) = writer.overview(passage)? {
        let texts = held.iter().map(|held| held.claim.text.as_str());
        let evidence = held.iter().map(|held| Evidence {
            score: held.support.min(1.),
            ..parts.told[held.evidence.start].evidence.clone()
        });
        return Ok((texts.collect::<Vec<_>>().join(" "), evidence.collect()));
    }
    let written = parts.told.iter().filter(|told| told.written).count();
    if written >= ENOUGH {
        let first = opening.iter().max_by(|a, b| a.worth.total_cmp(&b.worth));
        let mut texts = Vec::new();
        let mut evidence = Vec::new();
        if let Some(held) = first {
            texts.push(held.claim.text.clone());
            evidence.push(evidence_of(
                document.sentences,
                held.evidence.clone(),
                held.support,
            ));
        }
        let last = evidence.first().map(|evidence| evidence.last_sentence);
        let chosen = passage.central_where(INTRODUCTION, |i| {
            // Not what the opening has said already.
            parts.told[i].written && last.is_none_or(|last| parts.told[i].evidence.sentence > last)
        });
        used.extend(&chosen);
        texts.extend(chosen.iter().map(|&i| parts.told[i].text.clone()));
        evidence.extend(chosen.iter().map(|&i| parts.told[i].evidence.clone()));
        return Ok((texts.join(" "), evidence));
    }
    let introduction = introduction(document);
    let evidence = introduction
        .iter()
        .map(|&i| evidence_of(document.sentences, i..i + 1, 1.));
    Ok((quote(document.sentences, &introduction), evidence.collect()))
}

/// The parts most central to the whole, one of a chapter, of as many chapters as leave some out.
fn key_points(passage: &Passage, parts: &Parts, used: &HashSet<usize>) -> Vec<KeyPoint> {
    let chapters = parts.told.last().map_or(0, |told| told.chapter + 1);
    if chapters < LEAST_CHAPTERS {
        return Vec::new();
    }
    let mut taken = HashSet::new();
    let chosen = passage.central_where(KEY_POINTS.min(chapters / 2), |i| {
        !used.contains(&i) && taken.insert(parts.told[i].chapter)
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

/// The beginning of a recording: who opens a talk mostly says there what it is about.
pub fn opening<'a>(document: &Passage<'a>) -> Passage<'a> {
    let count = document.sentences.len();
    Passage {
        range: 0..OPENING.min(count.div_ceil(8)),
        focus: document.focus.clone(),
        ..*document
    }
}

/// The sentences of it that say so best.
fn introduction(document: &Passage) -> Vec<usize> {
    opening(document).introduction(INTRODUCTION)
}

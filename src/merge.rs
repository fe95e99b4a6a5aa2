//! From the chapters' summaries to what is said of the whole.

use std::collections::HashSet;

use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
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

/// Most key points, and the fewest chapters that have any: with less, the summaries themselves are as short.
const KEY_POINTS: usize = 5;
const LEAST_CHAPTERS: usize = 5;

/// Sentences of the summary, and the fewest chapters of which two can stand for the whole.
const SENTENCES: usize = 2;
const CHAPTERS_OF_SUMMARY: usize = 3;

/// A summary of the whole, and its key points: from the parts that are most central to all of them.
pub fn whole(document: &Passage, parts: &Parts, writer: &Writer) -> Whole {
    let all = 0..parts.sentences.len();
    // What is central to the document counts, not what is central to the few sentences chosen from it.
    let passage = Passage {
        focus: document.focus.clone(),
        ..Passage::new(&parts.sentences, &parts.embeddings, all)
    };
    let (summary, evidence, used) = match written(&passage, parts, writer) {
        Some((summary, evidence)) => (summary, evidence, Vec::new()),
        None => compiled(document, &passage, parts),
    };
    Whole {
        summary,
        evidence,
        key_points: key_points(&passage, parts, &used),
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

/// The summary without a model that can sum up chapters: what is said of it at the beginning, quoted, or else what chapters say that are
/// central to the whole; what carries it; and the parts that were taken.
fn compiled(
    document: &Passage,
    passage: &Passage,
    parts: &Parts,
) -> (String, Vec<Evidence>, Vec<usize>) {
    let opening = opening(document, SENTENCES);
    let chapters = parts.told.last().map_or(0, |told| told.chapter + 1);
    if opening.is_empty() && chapters >= CHAPTERS_OF_SUMMARY {
        let mut taken = HashSet::new();
        let used = passage.central_where(SENTENCES, |i| taken.insert(parts.told[i].chapter));
        let told = used.iter().map(|&i| &parts.told[i]);
        let texts = told.clone().map(|told| told.text.as_str());
        let evidence = told.map(|told| told.evidence.clone()).collect();
        return (texts.collect::<Vec<_>>().join(" "), evidence, used);
    }
    let quoted = match opening.is_empty() {
        true => document.quotes(SENTENCES),
        false => opening,
    };
    let evidence = quoted
        .iter()
        .map(|&i| evidence_of(document.sentences, i..i + 1, 1.));
    (
        quote(document.sentences, &quoted),
        evidence.collect(),
        Vec::new(),
    )
}

/// The parts most central to the whole, one of a chapter, of as many chapters as leave some out; none of those `used` already.
fn key_points(passage: &Passage, parts: &Parts, used: &[usize]) -> Vec<KeyPoint> {
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

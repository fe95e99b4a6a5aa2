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
}

/// Most key points, and the fewest chapters that have any: with less, the summaries themselves are as short.
const KEY_POINTS: usize = 5;
const LEAST_CHAPTERS: usize = 5;

/// Sentences of the beginning, and of chapters, in a summary of the whole; of both together; and the fewest chapters that can stand for the
/// whole.
const SENTENCES: usize = 2;
const SUMMARY: usize = 3;
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
        None => compiled(document, &passage, parts, writer),
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

/// The summary without a model that can sum up chapters: what is said of it at the beginning, and what chapters say that is central to the
/// whole; what carries it; and the parts that were taken. Of few chapters, or where they are all quoted, quotations.
fn compiled(
    document: &Passage,
    passage: &Passage,
    parts: &Parts,
    writer: &Writer,
) -> (String, Vec<Evidence>, Vec<usize>) {
    let opening = opening(document, SENTENCES);
    let chapters = parts.told.last().map_or(0, |told| told.chapter + 1);
    let left = match chapters < CHAPTERS_OF_SUMMARY {
        true => 0,
        false => SUMMARY.saturating_sub(opening.len()).min(SENTENCES),
    };
    let mut taken = HashSet::new();
    let used = passage.central_where(left, |i| {
        let told = &parts.told[i];
        // What was said of the whole is not said again, and quotations of chapters do not sum up anything.
        let is_new = !opening.contains(&told.evidence.sentence);
        is_new && !told.quoted && taken.insert(told.chapter)
    });
    if opening.is_empty() && used.is_empty() {
        let (text, evidence) = quotation(document, &document.quotes(SENTENCES));
        return (text, evidence, used);
    }
    let (text, mut evidence) = begun(document, &opening, writer);
    let mut texts = Vec::from_iter((!text.is_empty()).then_some(text));
    for told in used.iter().map(|&i| &parts.told[i]) {
        texts.push(told.text.clone());
        evidence.push(told.evidence.clone());
    }
    (texts.join(" "), evidence, used)
}

/// What is said at the beginning: a single sentence in a report, if one holds, and quoted else.
fn begun(document: &Passage, opening: &[usize], writer: &Writer) -> (String, Vec<Evidence>) {
    if let [one] = opening
        && let Some(held) = writer.report(document, vec![*one])
    {
        let evidence = evidence_of(document.sentences, held.evidence, held.support);
        return (held.claim.text, vec![evidence]);
    }
    quotation(document, opening)
}

/// Some sentences as they were said, and where.
fn quotation(document: &Passage, chosen: &[usize]) -> (String, Vec<Evidence>) {
    let evidence = chosen
        .iter()
        .map(|&i| evidence_of(document.sentences, i..i + 1, 1.));
    (quote(document.sentences, chosen), evidence.collect())
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

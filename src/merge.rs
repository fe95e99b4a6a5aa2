//! From the chapters' summaries to one of the whole.

use anyhow::Result;

use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
use crate::ground::{self, Source};
use crate::prompt;
use crate::summarize::quote;
use crate::transcript::Sentence;
use crate::writer::Writer;

/// What the chapters' summaries say, sentence by sentence.
#[derive(Default)]
pub struct Parts {
    pub sentences: Vec<Sentence>,
    pub embeddings: Vec<Embedding>,
}

impl Parts {
    pub fn push(&mut self, sentence: Sentence, embedding: Embedding) {
        self.sentences.push(sentence);
        self.embeddings.push(embedding);
    }
}

/// Sentences at the beginning among which an introduction is looked for, and how many are taken.
const OPENING: usize = 15;
const INTRODUCTION: usize = 2;

/// A summary of the whole: from what introduces it, and from the parts that are most central to all of them.
pub fn overview(document: &Passage, mut parts: Parts, writer: &Writer) -> Result<String> {
    let introduction = introduction(document);
    if !writer.style.overview {
        return Ok(quote(document.sentences, &introduction));
    }
    let count = introduction.len();
    for (place, &i) in introduction.iter().enumerate() {
        parts.sentences.insert(place, document.sentences[i].clone());
        parts
            .embeddings
            .insert(place, document.embeddings[i].clone());
    }
    let all = 0..parts.sentences.len();
    // What is central to the document counts, not what is central to the few sentences chosen from it.
    let passage = Passage {
        focus: document.focus.clone(),
        ..Passage::new(&parts.sentences, &parts.embeddings, all.clone())
    };
    let source = Source::of(&passage);
    let rest = Passage {
        range: count..all.end,
        focus: passage.focus.clone(),
        ..passage
    };
    let reserved = (0..count)
        .map(|i| writer.count(&parts.sentences[i].text))
        .sum();
    let mut material = (0..count).collect::<Vec<_>>();
    material.extend(writer.material(&rest, reserved));
    let text = writer.style.source(&parts.sentences, &material);
    let samplings = writer.samplings(usize::from(u16::MAX));
    let requests = writer.style.summaries(&text, &samplings);
    let answers = writer.generate("Overview", &requests)?;
    let answers = answers.iter().map(|answer| prompt::parts(answer).0);
    let answers = writer.claims(&answers.collect::<Vec<_>>())?;
    let best = ground::choose(&passage, &source, &answers, writer.style.clause_support);
    // One sentence may do for a chapter; the whole needs more, or what was said at its beginning.
    if let Some(best) = best.filter(|best| best.sentences.len() == ground::SENTENCES) {
        let texts = best.sentences.iter().map(|claim| claim.text.as_str());
        return Ok(texts.collect::<Vec<_>>().join(" "));
    }
    Ok(quote(document.sentences, &introduction))
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

//! From the chapters' summaries to one of the whole.

use anyhow::Result;

use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
use crate::ground::{self, Source};
use crate::summarize::{Writer, quote};
use crate::transcript::Sentence;

/// What the chapters' summaries say, sentence by sentence.
#[derive(Default)]
pub struct Parts {
    pub sentences: Vec<Sentence>,
    pub embeddings: Vec<Embedding>,
    /// Whether each was quoted from the transcript.
    pub quoted: Vec<bool>,
}

impl Parts {
    pub fn push(&mut self, sentence: Sentence, embedding: Embedding, quoted: bool) {
        self.sentences.push(sentence);
        self.embeddings.push(embedding);
        self.quoted.push(quoted);
    }
}

/// A summary of the whole, from the parts that are most central to all of them.
pub fn overview(parts: &Parts, writer: &Writer) -> Result<String> {
    let passage = Passage::new(
        &parts.sentences,
        &parts.embeddings,
        0..parts.sentences.len(),
    );
    let source = Source::of(&passage);
    let material = writer.material(&passage);
    let text = writer.style.source(&parts.sentences, &material);
    let samplings = writer.samplings(usize::from(u16::MAX));
    let requests = writer.style.summaries(&text, &samplings);
    let answers = writer.generate("Overview", &requests)?;
    let answers = writer.claims(&answers)?;
    if let Some(best) = ground::choose(&passage, &source, &answers, writer.style.clause_support) {
        let texts = best.sentences.iter().map(|claim| claim.text.as_str());
        return Ok(texts.collect::<Vec<_>>().join(" "));
    }
    let chosen = passage.quotes(ground::SENTENCES);
    let (quoted, written): (Vec<usize>, Vec<usize>) =
        chosen.into_iter().partition(|&i| parts.quoted[i]);
    let mut texts = written
        .iter()
        .map(|&i| parts.sentences[i].text.clone())
        .collect::<Vec<_>>();
    if !quoted.is_empty() {
        texts.push(quote(&parts.sentences, &quoted));
    }
    Ok(texts.join(" "))
}

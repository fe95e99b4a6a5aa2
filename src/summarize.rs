//! The whole way from a transcript to its summary, every stage once and in order.
//!
//! clean, sentences, embed, find chapters, choose material, prompt, generate, check, merge.

use anyhow::{Result, ensure};

use crate::chapters::embed::{Embedding, Encode};
use crate::chapters::{self, Count};
use crate::chunk::Passage;
use crate::engine::sampler::Sampling;
use crate::ground::{self, Claim, Source};
use crate::merge::{self, Parts};
use crate::progress::Progress;
use crate::prompt::Style;
use crate::summary::{self, Coverage, Evidence, Method, Provenance, SourceInfo, Summary};
use crate::title;
use crate::transcript::{self, Sentence, Transcript};
use crate::words::without_conjunction;
use crate::writer::{Draft, Writer, draft};

/// What the pipeline needs of a language model.
pub trait Llm {
    /// Longest prompt and answer together, in tokens.
    fn window(&self) -> usize;

    /// Tokens of a text.
    fn count(&self, text: &str) -> usize;

    /// Answers every request, in order. `progress` is called with the tokens done and those there are at most.
    /// An answer depends on its own request only, not on what else is in the batch.
    fn generate(
        &self,
        requests: &[Request],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<String>>;
}

/// One question to a language model.
#[derive(Debug, Clone)]
pub struct Request {
    pub system: Option<String>,
    pub user: String,
    /// The beginning of the answer, put into the model's mouth.
    pub answer_start: String,
    pub max_tokens: usize,
    pub sampling: Sampling,
}

/// What does the work.
pub struct Models<'a> {
    pub encoder: &'a dyn Encode,
    /// `None` finds boundaries only.
    pub writer: Option<(&'a dyn Llm, Provenance)>,
}

/// How a transcript is to be summarised.
#[derive(Debug, Clone)]
pub struct Options {
    pub count: Count,
    pub seed: u64,
    /// Of the sampled candidates; 0 makes greedy ones only.
    pub temperature: f32,
    pub style: Style,
}

/// Turns a transcript into chapters with titles and summaries, and a summary of the whole.
pub fn summarize(
    mut transcript: Transcript,
    models: &Models,
    options: &Options,
    progress: Progress,
) -> Result<Summary> {
    transcript::clean(&mut transcript);
    let sentences = transcript::sentences(&transcript);
    let path = &transcript.path;
    ensure!(
        !sentences.is_empty(),
        "{path}: nothing is said in it; check that it is a transcript"
    );
    let embeddings = embed(models.encoder, &sentences, progress)?;
    let chapters = chapters::find(&transcript, &sentences, &embeddings, options.count)?;
    let mut summary = boundaries(&transcript, &chapters);
    let Some((llm, provenance)) = &models.writer else {
        return Ok(summary);
    };
    let writer = Writer::new(*llm, models.encoder, options, progress);
    let passages = chapters
        .iter()
        .map(|chapter| Passage::new(&sentences, &embeddings, chapter.sentences.clone()))
        .collect::<Vec<_>>();
    let drafts = draft(&passages, &writer)?;
    let document = Passage::new(&sentences, &embeddings, 0..sentences.len());
    let mut parts = Parts::default();
    let mut titles = Vec::new();
    for ((chapter, passage), draft) in summary.chapters.iter_mut().zip(&passages).zip(&drafts) {
        let source = Source::of(passage);
        write_summary(chapter, passage, &source, draft, writer.style, &mut parts);
        let title = choose_title(passage, draft, &titles);
        titles.push(title.clone());
        chapter.title = Some(title);
    }
    summary.summary = Some(merge::overview(&document, parts, &writer)?);
    summary.model = Some(provenance.clone());
    Ok(summary)
}

fn embed(
    encoder: &dyn Encode,
    sentences: &[Sentence],
    progress: Progress,
) -> Result<Vec<Embedding>> {
    let texts = sentences
        .iter()
        .map(|s| s.text.as_str())
        .collect::<Vec<_>>();
    let bar = progress.bar("Reading", texts.len(), "sentences");
    encoder.encode(&texts, &mut |done| bar.set_position(done as u64))
}

/// The result with chapters but without words.
fn boundaries(transcript: &Transcript, chapters: &[chapters::Chapter]) -> Summary {
    let cues = transcript.cues.len();
    Summary {
        version: summary::VERSION,
        source: SourceInfo {
            path: transcript.path.clone(),
            format: transcript.format.name(),
            duration: transcript.duration(),
            cues,
            words: transcript.words(),
        },
        model: None,
        summary: None,
        chapters: chapters
            .iter()
            .map(|chapter| summary::Chapter {
                start: chapter.start,
                end: chapter.end,
                first_cue: chapter.first_cue,
                last_cue: chapter.last_cue,
                title: None,
                summary: None,
                method: Method::Extractive,
                evidence: Vec::new(),
            })
            .collect(),
        coverage: Coverage {
            cues,
            covered: chapters.iter().map(|c| c.last_cue + 1 - c.first_cue).sum(),
        },
    }
}

/// Puts the best summary that holds into the chapter, or quotes its most central sentences.
fn write_summary(
    chapter: &mut summary::Chapter,
    passage: &Passage,
    source: &Source,
    draft: &Draft,
    style: &Style,
    parts: &mut Parts,
) {
    if let Some(best) = ground::choose(passage, source, &draft.answers, style.clause_support) {
        let mut texts = Vec::new();
        for Claim { text, embedding } in best.sentences {
            let (i, score) = ground::evidence(passage, &embedding);
            chapter.evidence.push(evidence(passage, i, score));
            texts.push(text.clone());
            let sentence = Sentence {
                text,
                ..passage.sentences[i].clone()
            };
            parts.push(sentence, embedding);
        }
        chapter.method = Method::Generated;
        chapter.summary = Some(texts.join(" "));
        return;
    }
    let chosen = passage.quotes(ground::SENTENCES);
    for &i in &chosen {
        let (sentence, embedding) = (&passage.sentences[i], &passage.embeddings[i]);
        chapter.evidence.push(evidence(passage, i, 1.));
        parts.push(sentence.clone(), embedding.clone());
    }
    chapter.summary = Some(quote(passage.sentences, &chosen));
}

fn evidence(passage: &Passage, i: usize, score: f32) -> Evidence {
    let sentence = &passage.sentences[i];
    Evidence {
        sentence: i,
        first_cue: sentence.first_cue,
        last_cue: sentence.last_cue,
        start: sentence.start,
        // Rounding can make a cosine a little more than 1.
        score: score.min(1.),
    }
}

fn choose_title(passage: &Passage, draft: &Draft, taken: &[String]) -> String {
    if let Some(candidate) = title::choose(passage, &draft.titles, taken) {
        return candidate.text;
    }
    let fallback = passage
        .quotes(1)
        .first()
        .map_or_else(String::new, |&i| title::cut(&passage.sentences[i].text));
    title::unique(fallback, taken)
}

/// Sentences quoted as they were said, by whom: `Guest: “It fell. … Nobody was hurt.”`
pub fn quote(sentences: &[Sentence], chosen: &[usize]) -> String {
    let mut quotes = Vec::<(Option<&str>, String)>::new();
    for (k, &i) in chosen.iter().enumerate() {
        let speaker = sentences[i].speaker.as_deref();
        let text = without_conjunction(&sentences[i].text.replace(['“', '”', '"'], ""));
        match quotes.last_mut() {
            Some((last, quote)) if *last == speaker => {
                let gap = if chosen[k - 1] + 1 == i { " " } else { " … " };
                quote.push_str(gap);
                quote.push_str(&text);
            }
            _ => quotes.push((speaker, text)),
        }
    }
    let said = quotes.into_iter().map(|(speaker, text)| match speaker {
        Some(speaker) => format!("{speaker}: “{text}”"),
        None => format!("“{text}”"),
    });
    said.collect::<Vec<_>>().join(" ")
}

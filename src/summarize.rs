//! The whole way from a transcript to its summary, every stage once and in order.
//!
//! clean, sentences, embed, find chapters, choose what is read, ask, check, titles, merge.

use std::ops::Range;

use anyhow::{Result, ensure};

use crate::chapters::boundary::Boundaries;
use crate::chapters::embed::{Embedding, Encode, cosine};
use crate::chapters::{self, Count, Levels};
use crate::chunk::Passage;
use crate::disfluency::without_disfluencies;
use crate::engine::sampler::Sampling;
use crate::ground::{self, Held};
use crate::language::Language;
use crate::merge::{self, Parts, Told};
use crate::progress::Progress;
use crate::prompt::Style;
use crate::reading::Effort;
use crate::summary::{self, Coverage, Evidence, Method, Provenance, SourceInfo, Summary, Topic};
use crate::title::{self, Candidate};
use crate::transcript::{self, Sentence, Transcript};
use crate::words::{without_conjunction, without_quotation_marks};
use crate::writer::Writer;

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
    ) -> Result<Vec<Written>>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub text: String,
    /// The mean entropy, in nats, of the distributions its tokens were picked from: how undecided the model was. `None` where that is not known.
    pub doubt: Option<f32>,
    /// How likely the model was to answer with [`Request::refusal`], 0 to 1. `None` where that is not known.
    pub refusal: Option<f32>,
    /// How unlikely the model found what was dictated: the mean surprisal of its tokens, in nats. `None` where nothing was.
    pub surprise: Option<f32>,
    /// What the model's probes of [`Request::probe`] tell of it; empty where it has none.
    pub probed: Vec<f32>,
}

impl From<String> for Written {
    fn from(text: String) -> Self {
        Self {
            text,
            doubt: None,
            refusal: None,
            surprise: None,
            probed: Vec::new(),
        }
    }
}

/// One question to a language model.
#[derive(Debug, Clone)]
pub struct Request {
    pub system: Option<String>,
    pub user: String,
    /// The beginning of the answer, put into the model's mouth.
    pub answer_start: String,
    /// What the model was taught to answer where there is nothing to say. It may not, but tells how likely it was to.
    pub refusal: Option<String>,
    /// What the model is made to write, to learn how it finds that; it writes as it likes where there is nothing.
    pub dictated: Option<String>,
    /// The probes that are read; see [`Probes`](crate::engine::probe::Probes).
    pub probe: Option<&'static str>,
    pub max_tokens: usize,
    pub sampling: Sampling,
}

/// What does the work.
pub struct Models<'a> {
    pub encoder: &'a dyn Encode,
    /// Reads the encoder's embeddings; `None` where it was not trained on such.
    pub boundaries: Option<&'a Boundaries>,
    /// `None` finds boundaries only.
    pub writer: Option<(&'a dyn Llm, Provenance)>,
}

/// How a transcript is to be summarised.
#[derive(Debug, Clone)]
pub struct Options {
    pub count: Count,
    pub levels: Levels,
    pub seed: u64,
    /// Of the sampled candidates; 0 makes greedy ones only.
    pub temperature: f32,
    pub style: Style,
    pub effort: Effort,
    /// What to write in; the transcript's own language where none is given.
    pub language: Option<Language>,
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
    let chapters = chapters::find(
        &transcript,
        &sentences,
        &embeddings,
        models.boundaries,
        options.count,
        options.levels,
    )?;
    let spoken = Language::spoken_in(&sentences);
    let mut summary = boundaries(&transcript, &sentences, &chapters, spoken);
    // From here on it is read and quoted as one would write it down.
    let sentences = fluent(sentences, spoken);
    let Some((llm, provenance)) = &models.writer else {
        return Ok(summary);
    };
    let writer = Writer::new(*llm, models.encoder, options, spoken, progress);
    let passages = chapters
        .iter()
        .map(|chapter| Passage::new(&sentences, &embeddings, chapter.sentences.clone()))
        .collect::<Vec<_>>();
    let drafts = writer.summaries(&passages)?;
    let mut parts = Parts::default();
    let mut texts = Vec::new();
    for (place, (passage, draft)) in passages.iter().zip(&drafts).enumerate() {
        let chapter = &mut summary.chapters[place];
        chapter.coverage.given = cues(&sentences, draft.given.iter().copied());
        summary.coverage.given += chapter.coverage.given;
        texts.push(write_summary(
            chapter,
            place,
            passage,
            &draft.held,
            &mut parts,
        ));
    }
    let candidates = writer.titles(&passages, &texts)?;
    let mut titles = Vec::new();
    for ((chapter, passage), candidates) in
        summary.chapters.iter_mut().zip(&passages).zip(&candidates)
    {
        let title = choose_title(passage, candidates, &writer.style, &titles);
        titles.push(title.clone());
        chapter.title = Some(title);
    }
    name_topics(&mut summary, &chapters, &passages, &writer, titles)?;
    let document = Passage::new(&sentences, &embeddings, 0..sentences.len());
    let whole = merge::whole(&document, &parts, &writer);
    summary.summary = Some(whole.summary);
    summary.summary_evidence = whole.evidence;
    summary.key_points = whole.key_points;
    summary.model = Some(provenance.clone());
    Ok(summary)
}

/// The same sentences without disfluencies, where those are known.
fn fluent(sentences: Vec<Sentence>, spoken: Option<Language>) -> Vec<Sentence> {
    if spoken != Some(Language::ENGLISH) {
        return sentences;
    }
    let fluent = |sentence: Sentence| Sentence {
        text: without_disfluencies(&sentence.text),
        ..sentence
    };
    sentences.into_iter().map(fluent).collect()
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
fn boundaries(
    transcript: &Transcript,
    sentences: &[Sentence],
    chapters: &[chapters::Chapter],
    spoken: Option<Language>,
) -> Summary {
    let chapters = chapters
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
            coverage: Coverage {
                cues: chapter.last_cue + 1 - chapter.first_cue,
                covered: chapter.last_cue + 1 - chapter.first_cue,
                embedded: cues(sentences, chapter.sentences.clone()),
                given: 0,
            },
            topics: chapter.topics.iter().map(topic).collect(),
        })
        .collect::<Vec<_>>();
    Summary {
        version: summary::VERSION,
        source: SourceInfo {
            path: transcript.path.clone(),
            format: transcript.format.name(),
            duration: transcript.duration(),
            cues: transcript.cues.len(),
            words: transcript.words(),
            language: spoken.map(Language::code),
        },
        model: None,
        summary: None,
        summary_evidence: Vec::new(),
        key_points: Vec::new(),
        coverage: Coverage {
            cues: transcript.cues.len(),
            covered: chapters.iter().map(|c| c.coverage.covered).sum(),
            embedded: chapters.iter().map(|c| c.coverage.embedded).sum(),
            given: 0,
        },
        chapters,
    }
}

fn topic(topic: &chapters::Chapter) -> Topic {
    Topic {
        start: topic.start,
        end: topic.end,
        first_cue: topic.first_cue,
        last_cue: topic.last_cue,
        title: None,
    }
}

/// Gives every topic a title unlike those taken.
fn name_topics(
    summary: &mut Summary,
    chapters: &[chapters::Chapter],
    passages: &[Passage],
    writer: &Writer,
    mut taken: Vec<String>,
) -> Result<()> {
    let of_topics = chapters
        .iter()
        .zip(passages)
        .flat_map(|(chapter, passage)| {
            let topics = chapter.topics.iter();
            topics.map(|topic| {
                Passage::new(
                    passage.sentences,
                    passage.embeddings,
                    topic.sentences.clone(),
                )
            })
        });
    let passages = of_topics.collect::<Vec<_>>();
    // A topic has no summary: what is most central in it takes its place.
    let central = |passage: &Passage| {
        let chosen = passage.quotes(ground::SENTENCES).into_iter();
        let texts = chosen.map(|i| passage.sentences[i].text.as_str());
        texts.collect::<Vec<_>>().join(" ")
    };
    let texts = passages.iter().map(central).collect::<Vec<_>>();
    let candidates = writer.titles(&passages, &texts)?;
    let topics = summary
        .chapters
        .iter_mut()
        .flat_map(|chapter| &mut chapter.topics);
    for ((topic, passage), candidates) in topics.zip(&passages).zip(&candidates) {
        let title = choose_title(passage, candidates, &writer.style, &taken);
        taken.push(title.clone());
        topic.title = Some(title);
    }
    Ok(())
}

/// How many cues some sentences, in their order, are from.
fn cues(sentences: &[Sentence], chosen: impl Iterator<Item = usize>) -> usize {
    let mut next = 0;
    let mut count = 0;
    for sentence in chosen.map(|i| &sentences[i]) {
        count += (sentence.last_cue + 1).saturating_sub(next.max(sentence.first_cue));
        next = next.max(sentence.last_cue + 1);
    }
    count
}

/// Puts what holds into the chapter, or quotes its most central sentences. Returns the text.
fn write_summary(
    chapter: &mut summary::Chapter,
    place: usize,
    passage: &Passage,
    held: &[Held],
    parts: &mut Parts,
) -> String {
    let mut texts = Vec::new();
    for held in held {
        let evidence = evidence_of(passage.sentences, held.evidence.clone(), held.support);
        let text = held.claim.text.clone();
        let said = Sentence {
            text: text.clone(),
            speaker: None,
            ..passage.sentences[held.evidence.start].clone()
        };
        let told = Told {
            text: text.clone(),
            evidence: evidence.clone(),
            chapter: place,
            relevance: cosine(&held.claim.embedding, &passage.focus),
            good: held.chances.and_then(|chances| chances.good),
            quoted: false,
        };
        parts.push(told, said, held.claim.embedding.clone());
        chapter.evidence.push(evidence);
        texts.push(text);
    }
    if !held.is_empty() {
        chapter.method = Method::Generated;
        let text = texts.join(" ");
        chapter.summary = Some(text.clone());
        return text;
    }
    let chosen = passage.quotes(ground::SENTENCES);
    for &i in &chosen {
        let evidence = evidence_of(passage.sentences, i..i + 1, 1.);
        let told = Told {
            text: quote(passage.sentences, &[i]),
            evidence: evidence.clone(),
            chapter: place,
            relevance: cosine(&passage.embeddings[i], &passage.focus),
            good: None,
            quoted: true,
        };
        parts.push(
            told,
            passage.sentences[i].clone(),
            passage.embeddings[i].clone(),
        );
        chapter.evidence.push(evidence);
    }
    let text = quote(passage.sentences, &chosen);
    chapter.summary = Some(text.clone());
    text
}

/// Where some sentences in a row stand, and how well they carry what rests on them.
pub fn evidence_of(sentences: &[Sentence], range: Range<usize>, score: f32) -> Evidence {
    let (first, last) = (&sentences[range.start], &sentences[range.end - 1]);
    Evidence {
        sentence: range.start,
        last_sentence: range.end - 1,
        first_cue: first.first_cue,
        last_cue: last.last_cue,
        start: first.start,
        // Rounding can make a cosine a little more than 1.
        score: score.min(1.),
    }
}

fn choose_title(
    passage: &Passage,
    candidates: &[Candidate],
    style: &Style,
    taken: &[String],
) -> String {
    if let Some(title) = title::choose(passage, candidates, style.reports(), taken) {
        return title;
    }
    let fallback = passage
        .quotes(1)
        .first()
        .map_or_else(String::new, |&i| title::cut(&passage.sentences[i].text));
    title::unique(fallback, taken)
}

/// Sentences as they were said ([`without_disfluencies`]), by whom: `Guest: “It fell. … Nobody was hurt.”`
pub fn quote(sentences: &[Sentence], chosen: &[usize]) -> String {
    let mut quotes = Vec::<(Option<&str>, String)>::new();
    for (k, &i) in chosen.iter().enumerate() {
        let speaker = sentences[i].speaker.as_deref();
        let text = without_conjunction(&without_quotation_marks(&sentences[i].text));
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

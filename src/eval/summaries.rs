//! How good summaries and titles are beside those people wrote, and beside what is simpler: `chapterize eval --summaries`.

use anyhow::Result;
use serde::Serialize;

use super::{Item, facts, rouge};
use crate::chapters::embed::{Encode, cosine};
use crate::chunk::Passage;
use crate::engine::sampler::Sampling;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::summarize::{Llm, Models, Options, Request, summarize};
use crate::summary::Method;
use crate::transcript::{self, Sentence};

/// A way to a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Way {
    /// The first three sentences.
    #[serde(rename = "lead-3")]
    Lead,
    /// The three sentences nearest to the mean of all.
    #[serde(rename = "centroid")]
    Centroid,
    /// The model without adapter, asked to sum up the whole passage, greedily.
    #[serde(rename = "plain prompt")]
    Plain,
    /// This program.
    #[serde(rename = "chapterize")]
    Program,
}

/// Sentences of the two extractive ways.
const EXTRACT: usize = 3;

/// What a way made of a passage.
#[derive(Debug, Clone, Serialize)]
pub struct Text {
    pub id: String,
    pub way: Way,
    pub title: Option<String>,
    pub summary: String,
    /// Whether it consists of sentences of the passage.
    pub extractive: bool,
    /// Names and numbers in it that the passage does not have.
    pub unsupported: Vec<String>,
    pub human_title: Option<String>,
    pub human_summary: String,
}

/// Means over the passages; ROUGE and cosines from 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    pub way: Way,
    pub passages: usize,
    pub rouge_1: f64,
    pub rouge_2: f64,
    pub rouge_l: f64,
    pub cosine: f64,
    /// Names and numbers per summary that the passage does not have.
    pub unsupported: f64,
    /// Summaries in which somebody's name and a colon imitate the dialogue.
    pub dialogue: usize,
    /// The part of summaries that are quotes.
    pub extractive: f64,
    pub words: f64,
    pub title_rouge_l: Option<f64>,
    pub title_cosine: Option<f64>,
}

/// What the ways are tried with.
pub struct Tools<'a> {
    pub models: Models<'a>,
    /// The model as it comes, without an adapter.
    pub plain: &'a dyn Llm,
    /// Of the program, with one chapter.
    pub options: Options,
}

/// Tries every way on a passage.
pub fn texts(item: &Item, tools: &Tools) -> Result<Vec<Text>> {
    let mut transcript = item.transcript();
    transcript::clean(&mut transcript);
    let sentences = transcript::sentences(&transcript);
    let said = sentences.iter().map(|s| s.text.as_str());
    let embeddings = tools
        .models
        .encoder
        .encode(&said.collect::<Vec<_>>(), &mut |_| {})?;
    let passage = Passage::new(&sentences, &embeddings, 0..sentences.len());
    let lead = (0..EXTRACT.min(sentences.len())).collect::<Vec<_>>();
    let text = |way, summary: String, title, extractive| Text {
        id: item.id.clone(),
        way,
        title,
        unsupported: facts::unsupported(&summary, &item.said()),
        summary,
        extractive,
        human_title: item.title.clone(),
        human_summary: item.summary.clone(),
    };
    let joined = |chosen: &[usize]| {
        let texts = chosen.iter().map(|&i| sentences[i].text.as_str());
        texts.collect::<Vec<_>>().join(" ")
    };
    let summary = summarize(
        item.transcript(),
        &tools.models,
        &tools.options,
        Progress::hidden(),
    )?;
    let chapter = &summary.chapters[0];
    Ok(vec![
        text(Way::Lead, joined(&lead), None, true),
        text(Way::Centroid, joined(&passage.quotes(EXTRACT)), None, true),
        text(Way::Plain, plain(&sentences, tools.plain)?, None, false),
        text(
            Way::Program,
            chapter.summary.clone().unwrap_or_default(),
            chapter.title.clone(),
            chapter.method == Method::Extractive,
        ),
    ])
}

/// As much of the passage as the window holds, and the question of a checkpoint nothing is known of.
fn plain(sentences: &[Sentence], llm: &dyn Llm) -> Result<String> {
    let style = Style::default().in_language("English");
    let question = &style.summary[0];
    let mut left = llm
        .window()
        .saturating_sub(llm.count(question) + style.answer + ROOM);
    let fitting = (0..sentences.len()).take_while(|&i| {
        // A name may come before every sentence.
        let cost = llm.count(&sentences[i].text) + NAME;
        let fits = cost <= left;
        left = left.saturating_sub(cost);
        fits
    });
    let source = style.source(sentences, &fitting.collect::<Vec<_>>());
    let request = Request {
        system: Some(question.clone()),
        user: source,
        answer_start: String::new(),
        refusal: None,
        dictated: None,
        probe: None,
        max_tokens: style.answer,
        sampling: Sampling::greedy(),
    };
    let answers = llm.generate(&[request], &mut |_, _| {})?;
    let first = answers.into_iter().next();
    Ok(first.map_or_else(String::new, |answer| answer.text))
}

/// Tokens of a chat template, and of a speaker's name.
const ROOM: usize = 64;
const NAME: usize = 8;

/// The means of one way.
pub fn scores(way: Way, texts: &[Text], encoder: &dyn Encode) -> Result<Scores> {
    let own = texts.iter().filter(|text| text.way == way);
    let own = own.collect::<Vec<_>>();
    let mean = |value: &dyn Fn(&Text) -> f64| {
        own.iter().map(|text| value(text)).sum::<f64>() / own.len().max(1) as f64
    };
    let cosines = |pairs: &[(&str, &str)]| -> Result<f64> {
        let all = pairs.iter().flat_map(|(a, b)| [*a, *b]);
        let vectors = encoder.encode(&all.collect::<Vec<_>>(), &mut |_| {})?;
        let cosines = vectors
            .chunks_exact(2)
            .map(|pair| cosine(&pair[0], &pair[1]));
        Ok(f64::from(cosines.sum::<f32>()) / pairs.len().max(1) as f64)
    };
    let summaries = own.iter().map(|t| (&t.summary[..], &t.human_summary[..]));
    let titles = own
        .iter()
        .filter_map(|t| Some((t.title.as_deref()?, t.human_title.as_deref()?)));
    let titles = titles.collect::<Vec<_>>();
    let title_rouge = titles.iter().map(|(a, b)| rouge::l(a, b)).sum::<f64>();
    let titled = !titles.is_empty();
    Ok(Scores {
        way,
        passages: own.len(),
        rouge_1: mean(&|t| rouge::n(1, &t.summary, &t.human_summary)),
        rouge_2: mean(&|t| rouge::n(2, &t.summary, &t.human_summary)),
        rouge_l: mean(&|t| rouge::l(&t.summary, &t.human_summary)),
        cosine: cosines(&summaries.collect::<Vec<_>>())?,
        unsupported: mean(&|t| t.unsupported.len() as f64),
        dialogue: own
            .iter()
            .filter(|t| !t.extractive && facts::imitates_dialogue(&t.summary))
            .count(),
        extractive: mean(&|t| f64::from(u8::from(t.extractive))),
        words: mean(&|t| t.summary.split_whitespace().count() as f64),
        title_rouge_l: titled.then_some(title_rouge / titles.len() as f64),
        title_cosine: titled.then(|| cosines(&titles)).transpose()?,
    })
}

/// All ways, in the order of the table.
pub const WAYS: [Way; 4] = [Way::Lead, Way::Centroid, Way::Plain, Way::Program];

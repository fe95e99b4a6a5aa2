//! How near the beginnings of chapters are to those people chose, beside what needs no training.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::documents::Document;
use super::methods::Method;
use super::metrics;
use super::titles::Titles;
use crate::chapters::boundary::Boundaries;
use crate::chapters::embed::Encode;
use crate::chapters::{Places, suitable};
use crate::transcript::{self, Transcript};

/// A boundary counts as found within so many words of a person's.
pub(super) const WORDS: f64 = 40.;

/// How near a method comes, in a document or in the mean of several. From 0 to 1, but for the two numbers; what is measured in time
/// is missing where there are no times.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// F1 within 40 words.
    pub f1: f64,
    /// F1 within 3 and 10 seconds.
    pub f1_3_seconds: Option<f64>,
    pub f1_10_seconds: Option<f64>,
    pub pk: f64,
    pub window_diff: f64,
    pub boundary_similarity: f64,
    pub chapters: f64,
    pub human_chapters: f64,
    /// ROUGE-L and cosine of titles, where they were asked for and a chapter begins where a person's does.
    pub title_rouge_l: Option<f64>,
    pub title_cosine: Option<f64>,
}

impl Scores {
    pub fn set_titles(&mut self, titles: Option<Titles>) {
        self.title_rouge_l = titles.map(|titles| titles.rouge_l);
        self.title_cosine = titles.map(|titles| titles.cosine);
    }
}

/// What a method found in one document.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub document: String,
    pub method: Method,
    #[serde(flatten)]
    pub scores: Scores,
}

/// Everything that is needed to try methods on a document.
pub struct Text {
    id: String,
    /// How many chapters methods are to find.
    pub count: usize,
    places: Places,
    /// The cue of each place.
    cues: Vec<usize>,
    /// Words before each cue, and all at the end.
    words: Vec<usize>,
    /// Seconds at which each cue begins; empty where one has no time.
    times: Vec<f64>,
    /// Cues with which a person's chapters begin, but for the first.
    human: Vec<usize>,
    /// What is said from each place to the next.
    said: Vec<String>,
}

impl Text {
    /// As many chapters as the person has are wanted if the number is `given`, or as many as suit the length.
    pub fn new(
        document: &Document,
        encoder: &dyn Encode,
        boundaries: Option<&Boundaries>,
        given: bool,
    ) -> Result<Self> {
        let mut transcript = document.transcript();
        transcript::clean(&mut transcript);
        let sentences = transcript::sentences(&transcript);
        let texts = sentences.iter().map(|sentence| sentence.text.as_str());
        let embeddings = encoder.encode(&texts.collect::<Vec<_>>(), &mut |_| {})?;
        let (words, human) = (words(&transcript), document.boundaries());
        let count = match given {
            true => human.len() + 1,
            false => suitable(words[words.len() - 1]),
        };
        let places = Places::new(&sentences, &embeddings, boundaries, count)?;
        let cue = |&first: &usize| sentences[first].first_cue;
        let firsts = &places.firsts;
        let ends = firsts.iter().skip(1).copied().chain([sentences.len()]);
        let said = firsts.iter().zip(ends).map(|(&first, end)| {
            let texts = sentences[first..end].iter().map(|s| &s.text[..]);
            texts.collect::<Vec<_>>().join(" ")
        });
        Ok(Self {
            id: document.id.clone(),
            said: said.collect(),
            cues: places.firsts.iter().map(cue).collect(),
            count,
            places,
            words,
            times: transcript.cues.iter().map_while(|cue| cue.start).collect(),
            human,
        })
    }

    /// Words of all.
    fn length(&self) -> usize {
        self.words[self.words.len() - 1]
    }

    /// Words from the beginning of one cue to that of another, whichever is first.
    pub(super) fn words_between(&self, one: usize, other: usize) -> usize {
        self.words[one].abs_diff(self.words[other])
    }

    /// What a method finds.
    pub fn find(&self, method: Method) -> Found {
        let length = self.length();
        let starts = method.starts(&self.places.units, self.count);
        let found = starts[1..]
            .iter()
            .map(|&unit| self.cues[unit])
            .collect::<Vec<_>>();
        let at = |cues: &[usize]| cues.iter().map(|&cue| self.words[cue]).collect::<Vec<_>>();
        let (words, human) = (at(&found), at(&self.human));
        let float = |places: &[usize]| places.iter().map(|&place| place as f64).collect::<Vec<_>>();
        let windowed = metrics::windowed(&words, &human, length);
        let is_timed = self.times.len() + 1 == self.words.len();
        let seconds = |tolerance: f64| {
            let at = |cues: &[usize]| cues.iter().map(|&cue| self.times[cue]).collect::<Vec<_>>();
            is_timed.then(|| metrics::f1(&at(&found), &at(&self.human), tolerance))
        };
        let scores = Scores {
            f1: metrics::f1(&float(&words), &float(&human), WORDS),
            f1_3_seconds: seconds(3.),
            f1_10_seconds: seconds(10.),
            pk: windowed.pk,
            window_diff: windowed.window_diff,
            boundary_similarity: metrics::boundary_similarity(
                &self.nearest(&found),
                &self.nearest(&self.human),
            ),
            chapters: starts.len() as f64,
            human_chapters: (self.human.len() + 1) as f64,
            title_rouge_l: None,
            title_cosine: None,
        };
        Found {
            document: self.id.clone(),
            method,
            scores,
        }
    }

    /// The places where a chapter can begin that are nearest after some cues.
    fn nearest(&self, cues: &[usize]) -> Vec<usize> {
        let mut places = cues
            .iter()
            .map(|cue| self.cues.partition_point(|own| own < cue))
            .collect::<Vec<_>>();
        places.dedup();
        places
    }
}

/// Writes what the boundary model reads of each text, what is said, a line for each place, and where a person's chapters begin, for
/// `scripts/train_boundaries.py` and `scripts/train_reader.py`.
pub fn write_signs(path: &Path, texts: &[Text]) -> Result<()> {
    let mut tensors = HashMap::new();
    for (k, text) in texts.iter().enumerate() {
        let count = text.places.units.len();
        let mut add = |name: &str, values: Vec<f32>, dtype: DType| -> Result<()> {
            let tensor = Tensor::from_vec(values, (count, ()), &Device::Cpu)?.to_dtype(dtype)?;
            tensors.insert(format!("{k}.{}.{name}", text.id), tensor);
            Ok(())
        };
        add("embeddings", text.places.embeddings.concat(), DType::F16)?;
        add("signs", text.places.signs.concat(), DType::F32)?;
        let words = text.cues.iter().map(|&cue| text.words[cue] as f32);
        add("words", words.collect(), DType::F32)?;
        let human = text.nearest(&text.human);
        let human = (0..count).map(|place| f32::from(u8::from(human.contains(&place))));
        add("human", human.collect(), DType::F32)?;
        let lines = text.said.iter().map(|said| said.replace('\n', " "));
        let lines = lines.collect::<Vec<_>>().join("\n").into_bytes();
        let lines = Tensor::from_vec(lines, ((),), &Device::Cpu)?;
        tensors.insert(format!("{k}.{}.text", text.id), lines);
    }
    candle_core::safetensors::save(&tensors, path)?;
    Ok(())
}

fn words(transcript: &Transcript) -> Vec<usize> {
    let mut sum = 0;
    let mut words = vec![0];
    for cue in &transcript.cues {
        sum += cue.text.split_whitespace().count();
        words.push(sum);
    }
    words
}

/// Means over the documents of a set.
#[derive(Debug, Clone, Serialize)]
pub struct Mean {
    pub set: String,
    pub documents: usize,
    pub method: Method,
    #[serde(flatten)]
    pub scores: Scores,
    /// 95 % of the means of F1 of documents drawn anew.
    pub f1_interval: Option<[f64; 2]>,
}

impl Mean {
    pub fn of(set: &str, method: Method, found: &[Found]) -> Self {
        let own = found.iter().filter(|found| found.method == method);
        let own = own.map(|found| &found.scores).collect::<Vec<_>>();
        let known = |value: &dyn Fn(&Scores) -> Option<f64>| {
            let values = own.iter().filter_map(|scores| value(scores));
            let values = values.collect::<Vec<_>>();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let mean =
            |value: &dyn Fn(&Scores) -> f64| known(&|scores| Some(value(scores))).unwrap_or(0.);
        let f1 = own.iter().map(|scores| scores.f1).collect::<Vec<_>>();
        Self {
            set: set.to_string(),
            documents: own.len(),
            method,
            scores: Scores {
                f1: mean(&|scores| scores.f1),
                f1_3_seconds: known(&|scores| scores.f1_3_seconds),
                f1_10_seconds: known(&|scores| scores.f1_10_seconds),
                pk: mean(&|scores| scores.pk),
                window_diff: mean(&|scores| scores.window_diff),
                boundary_similarity: mean(&|scores| scores.boundary_similarity),
                chapters: mean(&|scores| scores.chapters),
                human_chapters: mean(&|scores| scores.human_chapters),
                title_rouge_l: known(&|scores| scores.title_rouge_l),
                title_cosine: known(&|scores| scores.title_cosine),
            },
            f1_interval: metrics::interval(&f1),
        }
    }
}

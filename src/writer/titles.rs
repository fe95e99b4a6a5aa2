//! Titles, as far as the model has a part in them: what it writes, and how unlikely it finds that and the passage's own phrases.

use anyhow::Result;

use super::Writer;
use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
use crate::engine::sampler::Sampling;
use crate::phrase;
use crate::reading::Effort;
use crate::said::Source;
use crate::summarize::{Options, Written};
use crate::title::{self, Candidate, Form};
use crate::transcript::split;

/// Draws for a title, and the least temperature of them.
const TITLE_DRAWS: u64 = 6;
const TITLE_TEMPERATURE: f32 = 0.8;

impl Writer<'_> {
    /// What may become the titles of chapters: what the model makes of their summaries or sentences, and their own phrases.
    pub fn titles(
        &self,
        passages: &[Passage],
        summaries: &[String],
    ) -> Result<Vec<Vec<Candidate>>> {
        let written = match self.style.title_material {
            0 => {
                let shown = |place: usize| vec![summaries[place].clone()];
                self.written(passages, summaries, shown)
            }
            // Of less text, and of other text, it makes other titles.
            budget => {
                let lines = |place: usize, budget| self.lines(&passages[place], budget);
                let shown = |place: usize| {
                    let summary = summaries[place].clone();
                    vec![lines(place, budget), lines(place, budget / 2), summary]
                };
                self.written(passages, summaries, shown)
            }
        };
        let phrase = |(text, worth)| Candidate {
            text,
            embedding: Embedding::new(),
            form: Form::Phrase,
            doubt: None,
            share: 0.,
            worth,
            surprise: None,
        };
        let candidates = |(passage, written): (&Passage, Vec<Candidate>)| {
            let phrases = phrase::phrases(passage, self.language(passage)).into_iter();
            written
                .into_iter()
                .chain(phrases.map(phrase))
                .collect::<Vec<_>>()
        };
        let mut titles = passages
            .iter()
            .zip(written)
            .map(candidates)
            .collect::<Vec<_>>();
        self.learn(titles.iter().flatten().map(|title| &title.text))?;
        for title in titles.iter_mut().flatten() {
            title.embedding = self.embedding(&title.text);
        }
        if self.style.title_material > 0 {
            self.reconsider(passages, &mut titles);
        }
        Ok(titles)
    }

    /// Learns how unlikely the model finds each title, where it is shown the sentences that the passage is most about.
    fn reconsider(&self, passages: &[Passage], titles: &mut [Vec<Candidate>]) {
        let requests = |(passage, titles): (&Passage, &Vec<Candidate>)| {
            if !self.reads(passage) {
                return Vec::new();
            }
            let shown = self.lines(passage, self.style.title_material);
            let texts = titles.iter().map(|title| title.text.as_str());
            self.style.dictated_titles(&shown, texts)
        };
        let groups = passages.iter().zip(&*titles).map(requests);
        // A failure here loses nothing: there are other signs.
        let answers = self.ask("Titles", &groups.collect::<Vec<_>>());
        let answers = answers.unwrap_or_default().into_iter();
        for (title, answer) in titles
            .iter_mut()
            .zip(answers)
            .flat_map(|(t, a)| t.iter_mut().zip(a))
        {
            title.surprise = answer.surprise;
        }
    }

    /// What the model writes as titles that can be taken, per passage, where it is shown each of what `shown` gives for the passage's place.
    fn written(
        &self,
        passages: &[Passage],
        summaries: &[String],
        shown: impl Fn(usize) -> Vec<String>,
    ) -> Vec<Vec<Candidate>> {
        let request = |place: usize| {
            if !self.reads(&passages[place]) {
                return Vec::new();
            }
            let samplings = self.title_samplings(place);
            let ask = |text: &String| self.style.titles(text, &samplings);
            shown(place).iter().flat_map(ask).collect::<Vec<_>>()
        };
        let groups = (0..summaries.len()).map(request).collect::<Vec<_>>();
        // A failure here loses nothing: there are always phrases.
        let answers = self.ask("Titles", &groups).unwrap_or_default();
        let answers = answers.into_iter().chain(std::iter::repeat(Vec::new()));
        let small = self.style.reports();
        let fitting = passages.iter().zip(summaries).zip(answers);
        let tidied = fitting.map(|((passage, summary), answers)| {
            let source = Source::of(passage).and(split(summary).into_iter());
            let tidy = |answer: &Written| {
                let text = title::tidy(&answer.text, &source, small)?;
                Some((text, answer.doubt))
            };
            title::written(answers.iter().filter_map(tidy), answers.len())
        });
        tidied.collect()
    }

    /// The sentences a passage is most about, a line each, as many as fit `budget` tokens.
    fn lines(&self, passage: &Passage, budget: usize) -> String {
        let chosen = passage.material(budget, |text| self.llm.count(text));
        let lines = chosen.iter().map(|&i| passage.sentences[i].text.as_str());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Titles are short, and the best is chosen: many cost little, and they had better differ.
    fn title_samplings(&self, place: usize) -> Vec<Sampling> {
        let Options {
            seed,
            temperature,
            effort,
            ..
        } = *self.options;
        let (draws, temperature) = match (effort, temperature > 0.) {
            (Effort::Fast, _) | (_, false) => (0, 0.),
            _ => (TITLE_DRAWS, temperature.max(TITLE_TEMPERATURE)),
        };
        self.style.samplings(seed, place, temperature, draws)
    }
}

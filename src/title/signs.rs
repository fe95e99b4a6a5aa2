//! How good a proposal for a title is: what can be counted in it and in the chapter, and how sure the model was of it.
//!
//! A linear regression, fitted by `scripts/fit_titles.py` on proposals for the titles of 522 chapters that were judged by reading
//! (`models/adapters/titles_judged.jsonl`).

use std::collections::HashSet;

use super::{Candidate, Form};
use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::words::{content, words};

/// How many signs there are.
pub const COUNT: usize = 10;

/// The weight of each, in the order of [`Signs::of`].
const WEIGHTS: [f32; COUNT] = [
    0.385, 0.328, -0.179, 0.555, 0.191, -0.095, 0.07, -0.226, 0.17, -0.07,
];

/// The doubt of a phrase, which nobody wrote, and of what a model wrote that does not tell. Of those that the starter wrote the mean is 2.4.
const USUAL_DOUBT: f32 = 1.2;

/// The surprise of models that are not asked.
const USUAL_SURPRISE: f32 = 3.;

/// What a chapter says, as proposals for its title are compared with it.
pub struct Signs<'a> {
    passage: &'a Passage<'a>,
    /// The content words of each sentence.
    sentences: Vec<HashSet<String>>,
    /// What the model wrote, each with its share of all it wrote.
    written: Vec<(&'a Embedding, f32)>,
}

impl<'a> Signs<'a> {
    pub fn new(passage: &'a Passage, candidates: &'a [Candidate]) -> Self {
        let sentences = passage.sentences[passage.range.clone()].iter();
        let written = candidates.iter().filter(|c| c.form == Form::Written);
        let all = written
            .clone()
            .map(|c| c.share)
            .sum::<f32>()
            .max(f32::MIN_POSITIVE);
        Self {
            passage,
            sentences: sentences
                .map(|sentence| content(&sentence.text).collect())
                .collect(),
            written: written.map(|c| (&c.embedding, c.share / all)).collect(),
        }
    }

    /// What is counted:
    ///
    /// 0. the largest part of its content words that one sentence has, 0 to 1: words from many places are joined to what is not there;
    /// 1. its mean cosine with what the model wrote: what many answers say is what the chapter is about (self-consistency, Wang et al. 2022);
    /// 2. how undecided the model was ([`Candidate::doubt`]);
    /// 3. its cosine with the nearest sentence;
    /// 4. how many sentences have its rarest content word, as the logarithm of one more;
    /// 5. how many words it has;
    /// 6. how many content words;
    /// 7. 1 where it is a phrase of the text;
    /// 8. how much of the chapter's own vocabulary the phrase is made of ([`Candidate::worth`]);
    /// 9. how unlikely the model finds it as a title of the chapter ([`Candidate::surprise`]).
    pub fn of(&self, candidate: &Candidate) -> [f32; COUNT] {
        let told = content(&candidate.text).collect::<HashSet<_>>();
        let shared =
            |said: &HashSet<String>| told.iter().filter(|word| said.contains(*word)).count();
        let shared = self.sentences.iter().map(shared).max().unwrap_or(0);
        let said = |word: &String| {
            let having = self.sentences.iter().filter(|said| said.contains(word));
            having.count()
        };
        let rarest = told.iter().map(said).min().unwrap_or(0);
        let near = |meaning: &Embedding| cosine(&candidate.embedding, meaning);
        let nearest = self.passage.embeddings[self.passage.range.clone()].iter();
        let agreement = self
            .written
            .iter()
            .map(|(meaning, share)| share * near(meaning));
        [
            shared as f32 / told.len().max(1) as f32,
            agreement.sum(),
            candidate.doubt.unwrap_or(USUAL_DOUBT),
            nearest.map(near).fold(0., f32::max),
            (1. + rarest as f32).ln(),
            words(&candidate.text).count() as f32,
            told.len() as f32,
            f32::from(u8::from(candidate.form == Form::Phrase)),
            candidate.worth,
            candidate.surprise.unwrap_or(USUAL_SURPRISE),
        ]
    }

    /// How good a proposal is, beside others for the same chapter: by itself the number means nothing.
    pub fn value(&self, candidate: &Candidate) -> f32 {
        let signs = self.of(candidate).into_iter().zip(WEIGHTS);
        signs.map(|(sign, weight)| sign * weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Sentence;

    #[test]
    fn signs_are_counted() {
        let said = ["The old rope broke.", "The rope of steel fell."];
        let sentences = said.map(|text| Sentence {
            text: text.into(),
            ..Sentence::default()
        });
        let embeddings = [vec![1., 0.], vec![0., 1.]];
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let candidate = |text: &str, form, embedding, share| Candidate {
            text: text.into(),
            embedding,
            form,
            doubt: Some(2.),
            share,
            worth: 0.5,
            surprise: Some(4.),
        };
        let candidates = [
            candidate("Rope of steel", Form::Written, vec![0., 1.], 0.3),
            candidate("The old rope", Form::Written, vec![1., 0.], 0.1),
            candidate("old steel", Form::Phrase, vec![0.6, 0.8], 0.),
        ];
        let signs = candidates
            .iter()
            .map(|candidate| Signs::new(&passage, &candidates).of(candidate))
            .collect::<Vec<_>>();
        let is = |found: [f32; COUNT], wanted: [f32; COUNT]| {
            let near = |(a, b): (f32, f32)| (a - b).abs() < 1e-5;
            assert!(found.into_iter().zip(wanted).all(near), "{found:?}");
        };
        let once = 2f32.ln();
        is(signs[0], [1., 0.75, 2., 1., once, 3., 2., 0., 0.5, 4.]);
        is(signs[1], [1., 0.25, 2., 1., once, 3., 2., 0., 0.5, 4.]);
        // No sentence has both words.
        is(signs[2], [0.5, 0.75, 2., 0.8, once, 2., 2., 1., 0.5, 4.]);
    }
}

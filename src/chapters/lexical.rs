//! Which words recur: what is about one thing draws on one vocabulary.
//!
//! A stretch of text is taken as draws from an urn whose contents are unknown: a term is the likelier the more often it was drawn before
//! (the Dirichlet compound multinomial, as in Eisenstein and Barzilay 2008). Two stretches about one thing are likelier from one urn than
//! from two.

use std::collections::HashMap;

use crate::transcript::Sentence;
use crate::words;

/// What each term counts in the urn before any is drawn.
const PRIOR: f32 = 0.1;

/// The terms of a text, that is the stems of its content words, numbered in the order in which they first occur.
pub struct Terms {
    ids: Vec<u32>,
    /// Terms before each sentence, and all.
    offsets: Vec<usize>,
}

impl Terms {
    pub fn new(sentences: &[Sentence]) -> Self {
        let mut numbers = HashMap::new();
        let (mut ids, mut offsets) = (Vec::new(), vec![0]);
        for sentence in sentences {
            for term in words::content(&sentence.text) {
                let next = numbers.len() as u32;
                ids.push(*numbers.entry(term).or_insert(next));
            }
            offsets.push(ids.len());
        }
        Self { ids, offsets }
    }

    /// Of the sentences `begin..end`.
    pub fn of(&self, begin: usize, end: usize) -> &[u32] {
        &self.ids[self.offsets[begin]..self.offsets[end]]
    }

    pub fn all(&self) -> &[u32] {
        &self.ids
    }
}

/// Logarithms that urns look up: one for every number of draws.
pub struct Logarithms {
    /// `ln(n + PRIOR)`.
    of_counts: Vec<f32>,
    /// `ln(n + PRIOR * kinds)`.
    of_totals: Vec<f32>,
    kinds: usize,
}

impl Logarithms {
    /// For draws of these terms.
    pub fn of(terms: &[u32]) -> Self {
        let kinds = terms.iter().max().map_or(1, |&most| most as usize + 1);
        let all = PRIOR * kinds as f32;
        let log = |prior: f32| (0..=terms.len()).map(move |n| (n as f32 + prior).ln());
        Self {
            of_counts: log(PRIOR).collect(),
            of_totals: log(all).collect(),
            kinds,
        }
    }
}

/// Terms drawn so far.
pub struct Urn<'a> {
    logarithms: &'a Logarithms,
    counts: Vec<u32>,
    drawn: Vec<u32>,
}

impl<'a> Urn<'a> {
    pub fn new(logarithms: &'a Logarithms) -> Self {
        Self {
            logarithms,
            counts: vec![0; logarithms.kinds],
            drawn: Vec::new(),
        }
    }

    /// How surprising the term is after those before, in nats; from now on it is one of them.
    pub fn draw(&mut self, term: u32) -> f32 {
        let count = &mut self.counts[term as usize];
        let chance = self.logarithms.of_counts[*count as usize]
            - self.logarithms.of_totals[self.drawn.len()];
        *count += 1;
        self.drawn.push(term);
        -chance
    }

    /// The same for several terms, one after the other.
    pub fn draw_all(&mut self, terms: &[u32]) -> f32 {
        terms.iter().map(|&term| self.draw(term)).sum()
    }

    /// Forgets all draws.
    pub fn clear(&mut self) {
        for term in self.drawn.drain(..) {
            self.counts[term as usize] = 0;
        }
    }
}

/// Two urns, to tell whether text continues.
pub struct Continuity<'a> {
    one: Urn<'a>,
    other: Urn<'a>,
}

impl<'a> Continuity<'a> {
    pub fn new(logarithms: &'a Logarithms) -> Self {
        Self {
            one: Urn::new(logarithms),
            other: Urn::new(logarithms),
        }
    }

    /// How much likelier `after` is from the urn of `before` than from one of its own, in nats, by the root of the shorter's length: sums over
    /// more terms vary more.
    pub fn of(&mut self, before: &[u32], after: &[u32]) -> f32 {
        self.one.clear();
        self.other.clear();
        self.one.draw_all(before);
        let gain = self.other.draw_all(after) - self.one.draw_all(after);
        gain / (before.len().min(after.len()).max(1) as f32).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(texts: &[&str]) -> Terms {
        let sentence = |text: &&str| Sentence {
            text: (*text).into(),
            ..Sentence::default()
        };
        Terms::new(&texts.iter().map(sentence).collect::<Vec<_>>())
    }

    #[test]
    fn terms_are_numbered_content_words() {
        let terms = terms(&["The clocks of the tower.", "", "A clock and its bells."]);
        assert_eq!(terms.all(), [0, 1, 0, 2]);
        assert_eq!(terms.of(1, 3), [0, 2]);
    }

    #[test]
    fn chances_of_all_next_terms_have_the_sum_1() {
        let drawn = [0, 1, 0, 2, 3];
        let logarithms = Logarithms::of(&drawn);
        let chance = |term: u32| {
            let mut urn = Urn::new(&logarithms);
            urn.draw_all(&drawn[..4]);
            (-urn.draw(term)).exp()
        };
        let sum = (0..4).map(chance).sum::<f32>();
        assert!((sum - 1.).abs() < 1e-5, "{sum}");
        assert!(chance(0) > chance(1) && chance(1) > chance(3));
    }

    #[test]
    fn a_cleared_urn_is_a_new_one() {
        let terms = [0, 1, 1, 2];
        let logarithms = Logarithms::of(&terms);
        let mut urn = Urn::new(&logarithms);
        let first = urn.draw_all(&terms);
        urn.clear();
        assert_eq!(urn.draw_all(&terms), first);
    }

    #[test]
    fn what_goes_on_is_told_from_what_is_new() {
        let terms = terms(&[
            "The clock strikes; the clock is old.",
            "An old clock strikes late.",
            "Bread needs flour, salt and yeast.",
        ]);
        let logarithms = Logarithms::of(terms.all());
        let mut continuity = Continuity::new(&logarithms);
        let goes_on = continuity.of(terms.of(0, 1), terms.of(1, 2));
        let is_new = continuity.of(terms.of(0, 2), terms.of(2, 3));
        assert!(goes_on > 0. && is_new < 0., "{goes_on} {is_new}");
        assert_eq!(continuity.of(&[], &[]), 0.);
    }
}

//! What of a chapter the model reads: all of it where it fits, else its most central sentences in their order.

use std::ops::Range;

use crate::chapters::embed::{Embedding, cosine};
use crate::transcript::{Sentence, has_stop};
use crate::trust::misleads;
use crate::words::{is_first_or_second_person, points_back, without_conjunction};

/// A run of sentences with their embeddings: a chapter, or the whole document.
pub struct Passage<'a> {
    pub sentences: &'a [Sentence],
    pub embeddings: &'a [Embedding],
    /// The sentences that belong to it.
    pub range: Range<usize>,
    /// The direction of what the passage is about, unit length.
    pub focus: Embedding,
}

/// How much of the document's mean is taken out of a chapter's: what is left is what sets the chapter apart.
const COMMON: f32 = 0.4;

/// A sentence that repeats one already chosen is worth less by this part of their likeness (maximal marginal
/// relevance, Carbonell and Goldstein 1998).
const REDUNDANCY: f32 = 0.4;

/// A question rarely says what a chapter is about, nor does what somebody says of themselves, unless it is quoted.
const ASIDE: f32 = 0.12;

/// A quote that points back at something not quoted is hard to understand.
const POINTS_BACK: f32 = 0.08;

/// A sentence without a stop was broken off, where others have one: of 171 reports of such 97 were false, and 19 good.
const UNFINISHED: f32 = 0.12;

/// Sentences outside these lengths, in words, tell little or too much at once.
const QUOTABLE: Range<usize> = 7..41;

/// A quote to be reported goes on to so many words, if that many more sentences do not make it longer than this.
const QUOTE_WORDS: usize = 12;
const QUOTE_SENTENCES: usize = 3;
const LONGEST_JOINED: usize = 40;

/// Sentences outside these lengths, in words, are not looked for when one is to be reported.
const REPORTABLE: Range<usize> = 8..36;

/// Bytes of a sentence above which its words are none.
const LONGEST_QUOTE: usize = 400;
const LONGEST_REPORTED: usize = 600;

impl<'a> Passage<'a> {
    pub fn new(
        sentences: &'a [Sentence],
        embeddings: &'a [Embedding],
        range: Range<usize>,
    ) -> Self {
        let all = mean(sentences, embeddings, 0..sentences.len());
        let mut focus = mean(sentences, embeddings, range.clone());
        if range.len() < sentences.len() {
            for (x, common) in focus.iter_mut().zip(&all) {
                *x -= COMMON * common;
            }
        }
        normalize(&mut focus);
        Self {
            sentences,
            embeddings,
            range,
            focus,
        }
    }

    /// Indices of the sentences to read, ascending: all, or the most central ones that fit `budget` tokens.
    pub fn material(&self, budget: usize, count: impl Fn(&str) -> usize) -> Vec<usize> {
        let cost = |i: usize| count(&self.sentences[i].text) + 1;
        if self.range.clone().map(cost).sum::<usize>() <= budget {
            return self.range.clone().collect();
        }
        let mut left = budget;
        let mut chosen = self.central(
            |i| self.relevance(i),
            |i| match left.checked_sub(cost(i)) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            },
        );
        if chosen.is_empty() {
            // Even the shortest is too long; the prompt cuts it.
            chosen.extend(self.range.clone().min_by_key(|&i| cost(i)));
        }
        chosen
    }

    /// The `count` sentences that say best what the passage is about, ascending: to be quoted as they are.
    pub fn quotes(&self, count: usize) -> Vec<usize> {
        let fits = |i: usize| {
            let text = &self.sentences[i].text;
            QUOTABLE.contains(&text.split_whitespace().count()) && text.len() <= LONGEST_QUOTE
        };
        let worth = |i: usize| self.quotability(i);
        let chosen = self.best(count, worth, fits);
        if chosen.is_empty() {
            return self.best(count, worth, |_| true);
        }
        chosen
    }

    /// All sentences, in runs that fit `budget` tokens each; one that is longer stands alone.
    pub fn parts(&self, budget: usize, count: impl Fn(&str) -> usize) -> Vec<Vec<usize>> {
        let mut parts = Vec::<Vec<usize>>::new();
        let mut left = 0;
        for i in self.range.clone() {
            let cost = count(&self.sentences[i].text) + 1;
            match parts.last_mut() {
                Some(part) if cost <= left => {
                    part.push(i);
                    left -= cost;
                }
                _ => {
                    parts.push(vec![i]);
                    left = budget.saturating_sub(cost);
                }
            }
        }
        parts
    }

    /// Quotes around the most central sentences, the best first: `count` of them after the first `skipped`. None overlaps
    /// another, and none [`misleads`].
    pub fn central_quotes(&self, count: usize, skipped: usize) -> Vec<Range<usize>> {
        let wanted = skipped.saturating_add(count);
        let mut quotes = Vec::<Range<usize>>::new();
        self.central(
            |i| self.centrality(i) - self.odd_length(i) - self.unfinished(i),
            |i| {
                let quote = self.quote_around(i);
                let free = !misleads(&self.sentences[i].text)
                    && quotes
                        .iter()
                        .all(|other| other.end <= quote.start || quote.end <= other.start);
                let take = free && quotes.len() < wanted;
                quotes.extend(take.then_some(quote));
                take
            },
        );
        quotes.split_off(skipped.min(quotes.len()))
    }

    /// The whole passage as quotes, in order.
    pub fn all_quotes(&self) -> Vec<Range<usize>> {
        let mut quotes = Vec::<Range<usize>>::new();
        for i in self.range.clone() {
            match quotes.last_mut() {
                Some(quote)
                    if self.words(quote.clone()) < QUOTE_WORDS && self.may_join(quote, i) =>
                {
                    quote.end = i + 1;
                }
                _ => quotes.push(i..i + 1),
            }
        }
        quotes
    }

    /// A sentence with as many before it, and after it if need be, as it takes to understand it alone: of one speaker, and not
    /// many.
    fn quote_around(&self, i: usize) -> Range<usize> {
        let mut quote = i..i + 1;
        while quote.start > self.range.start
            && self.may_join(&quote, quote.start - 1)
            && (self.words(quote.clone()) < QUOTE_WORDS
                || points_back(&without_conjunction(&self.sentences[quote.start].text)))
        {
            quote.start -= 1;
        }
        while quote.end < self.range.end
            && self.may_join(&quote, quote.end)
            && self.words(quote.clone()) < QUOTE_WORDS
        {
            quote.end += 1;
        }
        quote
    }

    fn may_join(&self, quote: &Range<usize>, i: usize) -> bool {
        quote.len() < QUOTE_SENTENCES
            && [i, quote.start]
                .iter()
                .all(|&k| !misleads(&self.sentences[k].text))
            && self.sentences[i].speaker == self.sentences[quote.start].speaker
            && self.words(quote.clone()) + self.words(i..i + 1) <= LONGEST_JOINED
    }

    fn words(&self, range: Range<usize>) -> usize {
        let texts = self.sentences[range].iter();
        texts
            .map(|sentence| sentence.text.split_whitespace().count())
            .sum()
    }

    /// The `count` sentences of most worth that are `allowed`, which is asked in the order of their worth.
    pub fn best(
        &self,
        count: usize,
        worth: impl Fn(usize) -> f32,
        mut allowed: impl FnMut(usize) -> bool,
    ) -> Vec<usize> {
        let mut left = count;
        self.central(worth, |i| {
            let take = left > 0 && allowed(i);
            left -= usize::from(take);
            take
        })
    }

    /// Sentences by falling worth, less what they repeat; those that `accept` takes are returned in text order.
    fn central(
        &self,
        worth: impl Fn(usize) -> f32,
        mut accept: impl FnMut(usize) -> bool,
    ) -> Vec<usize> {
        let mut open = self
            .range
            .clone()
            .map(|i| (i, worth(i)))
            .collect::<Vec<_>>();
        let mut likeness = vec![0f32; open.len()];
        let mut chosen = Vec::new();
        while !open.is_empty() {
            let worth = |k: usize| open[k].1 - REDUNDANCY * likeness[k];
            let best = (0..open.len())
                .max_by(|&a, &b| worth(a).total_cmp(&worth(b)).then(b.cmp(&a)))
                .unwrap_or(0);
            let (sentence, _) = open.remove(best);
            likeness.remove(best);
            if accept(sentence) {
                chosen.push(sentence);
                for ((other, _), likeness) in open.iter().zip(&mut likeness) {
                    let alike = cosine(&self.embeddings[*other], &self.embeddings[sentence]);
                    *likeness = likeness.max(alike);
                }
            }
        }
        chosen.sort_unstable();
        chosen
    }

    /// How much a sentence says of what the passage is about.
    fn relevance(&self, i: usize) -> f32 {
        let text = &self.sentences[i].text;
        let aside = is_question(text) || is_first_or_second_person(text);
        self.centrality(i) - if aside { ASIDE } else { 0. }
    }

    fn question(&self, i: usize) -> f32 {
        if is_question(&self.sentences[i].text) {
            ASIDE
        } else {
            0.
        }
    }

    /// Puts a sentence too short or too long to be reported behind all others.
    fn odd_length(&self, i: usize) -> f32 {
        let fits = REPORTABLE.contains(&self.words(i..i + 1))
            && self.sentences[i].text.len() <= LONGEST_REPORTED;
        if fits { 0. } else { 1. }
    }

    fn unfinished(&self, i: usize) -> f32 {
        let ends = has_stop(&self.sentences[i].text);
        if ends { 0. } else { UNFINISHED }
    }

    /// The same for a sentence that will stand for itself, in its speaker's words.
    fn quotability(&self, i: usize) -> f32 {
        let text = &self.sentences[i].text;
        let lost = points_back(&without_conjunction(text));
        self.centrality(i) - self.question(i) - if lost { POINTS_BACK } else { 0. }
    }

    /// How near a sentence's meaning is to the passage's, to 1.
    pub fn centrality(&self, i: usize) -> f32 {
        // A short remark can be very much to the point and still say nothing.
        let words = self.sentences[i].text.split_whitespace().count();
        let brevity = (words as f32 / 8.).min(1.);
        cosine(&self.embeddings[i], &self.focus) * (0.6 + 0.4 * brevity)
    }
}

pub fn is_question(text: &str) -> bool {
    text.trim_end().ends_with(['?', '？'])
}

/// The mean of embeddings, weighted by words, not normalised.
fn mean(sentences: &[Sentence], embeddings: &[Embedding], range: Range<usize>) -> Embedding {
    let size = embeddings.first().map_or(0, Vec::len);
    let mut mean = vec![0.; size];
    let mut total = 0.;
    for i in range {
        let words = sentences[i].text.split_whitespace().count() as f32;
        total += words;
        for (sum, x) in mean.iter_mut().zip(&embeddings[i]) {
            *sum += words * x;
        }
    }
    for x in &mut mean {
        *x /= f32::max(total, 1.);
    }
    mean
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0. {
        vector.iter_mut().for_each(|x| *x /= norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(text: &str) -> Sentence {
        Sentence {
            text: text.into(),
            ..Sentence::default()
        }
    }

    const TEXTS: [&str; 4] = [
        "The weight of the clock falls through the whole tower in a week.",
        "Lunch was late on that day because the kitchen had no bread at all.",
        "The weight of the clock falls through all of the tower in a week.",
        "The pendulum of the clock is two metres long and swings slowly.",
    ];

    fn vectors() -> Vec<Embedding> {
        vec![
            vec![1., 0., 0.],
            vec![0., 0., 1.],
            vec![0.99, 0.14, 0.],
            vec![0.7, 0.7, 0.14],
        ]
    }

    #[test]
    fn a_passage_that_fits_is_read_whole() {
        let sentences = TEXTS.map(sentence);
        let vectors = vectors();
        let passage = Passage::new(&sentences, &vectors, 0..4);
        let count = |text: &str| text.split_whitespace().count();
        assert_eq!(passage.material(1000, count), [0, 1, 2, 3]);
    }

    #[test]
    fn the_most_central_sentences_fit_the_budget_and_do_not_repeat() {
        let sentences = TEXTS.map(sentence);
        let vectors = vectors();
        let passage = Passage::new(&sentences, &vectors, 0..4);
        let count = |text: &str| text.split_whitespace().count();
        let chosen = passage.material(30, count);
        assert!(chosen.iter().map(|&i| count(TEXTS[i]) + 1).sum::<usize>() <= 30);
        assert_eq!(chosen, [2, 3]);
        assert_eq!(passage.quotes(2), [2, 3]);
    }

    #[test]
    fn quotes_to_be_reported_do_not_ask() {
        let asked = "Why does the pendulum of the clock swing for such a long time?";
        let sentences = [TEXTS[0], asked, TEXTS[3]].map(sentence);
        let vectors = [vec![0.9, 0.1], vec![1., 0.], vec![0.8, 0.2]];
        let passage = Passage::new(&sentences, &vectors, 0..3);
        assert_eq!(passage.central_quotes(3, 0), [0..1, 2..3]);
        assert_eq!(passage.all_quotes(), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn a_passage_of_short_remarks_still_has_a_quote() {
        let sentences = ["Yes.", "No, never."].map(sentence);
        let vectors = [vec![1., 0.], vec![0., 1.]];
        let passage = Passage::new(&sentences, &vectors, 0..2);
        assert_eq!(passage.quotes(1).len(), 1);
        assert_eq!(passage.material(0, |_| 5).len(), 1);
    }
}

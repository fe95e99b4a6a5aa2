//! How far a report of a quote can be trusted: the chance that all it says was said, from what can be counted in both.
//!
//! A logistic regression, fitted by `scripts/fit_trust.py` on 504 reports that the starter wrote of talks and meetings, that had passed
//! the other checks, and that were judged by reading (`models/adapters/judged.jsonl`).

use std::collections::HashMap;

use crate::words::{content, is_reporting, words};

/// What is counted. The weights of [`WEIGHTS`] stand in the same order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signs {
    /// The part of the report's words that the quote has in the same order (longest common subsequence), 0 to 1.
    pub verbatim: f32,
    /// Cosine of the report and the nearest sentence of the quote.
    pub meaning: f32,
    /// Content words that the report has more often than the quote, at most 2.
    pub repeated: f32,
    /// 1 where one of both asks and the other does not.
    pub question: f32,
    /// 1 where the report denies and the quote does not.
    pub denial: f32,
    /// Words of the report, in twenties.
    pub length: f32,
}

const WEIGHTS: [f32; 6] = [1.55, 2.32, -0.7, -1.38, -1.07, -0.99];
const BIAS: f32 = -1.56;

/// A report below this is not printed. 0.59 of those judged are above, of which 0.65 are true; of the best quarter 0.8, of all 0.52.
pub const LEAST: f32 = 0.5;

impl Signs {
    /// `meaning` is the cosine. `speaker` counts as said.
    pub fn of(report: &str, quote: &str, speaker: Option<&str>, meaning: f32) -> Self {
        let (told, said) = (
            words(report).collect::<Vec<_>>(),
            words(quote).collect::<Vec<_>>(),
        );
        let named = speaker
            .map(|name| content(name).collect::<Vec<_>>())
            .unwrap_or_default();
        let mut left = HashMap::<String, usize>::new();
        for word in content(quote) {
            *left.entry(word).or_default() += 1;
        }
        let mut again = HashMap::<String, usize>::new();
        for word in content(report).filter(|word| !named.contains(word) && !is_reporting(word)) {
            *again.entry(word).or_default() += 1;
        }
        let excess = |(word, count): (&String, &usize)| {
            count.saturating_sub(left.get(word).copied().unwrap_or(0).max(1))
        };
        let repeated = again.iter().map(excess).sum::<usize>();
        let asked = quote.trim_end().ends_with('?');
        Self {
            verbatim: common(&told, &said) as f32 / told.len().max(1) as f32,
            meaning,
            repeated: repeated.min(2) as f32,
            question: f32::from(u8::from(asked != asks(report))),
            denial: f32::from(u8::from(denies(report) && !denies(quote))),
            length: told.len() as f32 / 20.,
        }
    }

    /// The chance that the report is true, 0 to 1.
    pub fn trust(&self) -> f32 {
        let values = [
            self.verbatim,
            self.meaning,
            self.repeated,
            self.question,
            self.denial,
            self.length,
        ];
        let sum = values
            .iter()
            .zip(WEIGHTS)
            .map(|(value, weight)| value * weight);
        1. / (1. + (-(sum.sum::<f32>() + BIAS)).exp())
    }
}

/// Length of the longest common subsequence of two texts, in words.
fn common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut corner = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other {
                corner + 1
            } else {
                above.max(row[j])
            };
            corner = above;
        }
    }
    row[b.len()]
}

/// Whether a report says that somebody asks something.
pub fn asks(report: &str) -> bool {
    const WORDS: [&str; 5] = ["ask", "asks", "whether", "wonder", "wonders"];
    words(report).any(|word| WORDS.contains(&word.as_str()))
}

fn denies(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "not", "no", "never", "none", "nothing", "nobody", "cannot", "without", "neither", "nor",
        "hardly",
    ];
    words(&text.replace('’', "'"))
        .any(|word| WORDS.contains(&word.as_str()) || word.ends_with("n't"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: &str = "The rope broke, but nobody was hurt. Is that not lucky?";

    fn signs(report: &str) -> Signs {
        Signs::of(report, QUOTE, Some("Ann"), 0.8)
    }

    #[test]
    fn signs_are_counted() {
        let near = signs("Ann asks whether it is lucky that the rope broke.");
        assert_eq!((near.question, near.denial, near.repeated), (0., 0., 0.));
        assert_eq!(near.length, 0.5);
        let turned = signs("Ann says that the rope broke the rope.");
        assert_eq!((turned.question, turned.repeated), (1., 1.));
        assert_eq!(signs("The rope broke.").verbatim, 1.);
        assert_eq!(signs("Rope the.").verbatim, 0.5);
        let denied = Signs::of("The rope did not break.", "The rope broke.", None, 0.8);
        assert_eq!(denied.denial, 1.);
    }

    #[test]
    fn what_keeps_to_the_quote_is_trusted_more() {
        let trust = |report, meaning| Signs::of(report, "The rope broke.", None, meaning).trust();
        let near = trust("The rope broke.", 0.95);
        assert!(near > LEAST);
        assert!(near > trust("The rope broke.", 0.5));
        assert!(near > trust("Broken ropes were the reason.", 0.95));
        assert!(near > trust("The rope did not break.", 0.95));
    }
}

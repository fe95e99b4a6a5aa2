//! How far a report of a quote can be trusted: the chance that all it says was said, from what can be counted in both, and from how sure the
//! model was of its words.
//!
//! A logistic regression, fitted by `scripts/fit_trust.py` on 595 reports that the starter wrote of talks and meetings, that had passed
//! the other checks, and that were judged by reading (`models/adapters/judged.jsonl`).

use std::collections::HashMap;

use crate::words::{content, is_first_person, is_reporting, words};

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
    /// 1 where one of both denies and the other does not.
    pub denial: f32,
    /// Natural logarithm of the words of the quote: the more it holds, the more a report mixes up.
    pub length: f32,
    /// Of ten words of the quote those by which people speak of themselves: what they say of others is more intricate.
    pub own: f32,
    /// See [`Written::doubt`](crate::summarize::Written::doubt): what a model cannot make sense of it reports hesitantly (mean entropy
    /// tells what is made up, Manakul, Liusie and Gales 2023).
    pub doubt: f32,
}

/// The mean of those judged, for models that do not tell.
const USUAL_DOUBT: f32 = 0.59;

const WEIGHTS: [f32; 8] = [0.02, 1.73, -1.27, -0.41, -0.01, -0.35, 0.37, -3.72];
const BIAS: f32 = 2.63;

/// A report below this is not printed. 0.62 of those judged are above, of which 0.83 are true; of all 0.66.
pub const LEAST: f32 = 0.65;

impl Signs {
    /// `meaning` is the cosine. `speaker` counts as said.
    pub fn of(
        report: &str,
        quote: &str,
        speaker: Option<&str>,
        meaning: f32,
        doubt: Option<f32>,
    ) -> Self {
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
        let own = said.iter().filter(|word| is_first_person(word)).count();
        let asked = quote.trim_end().ends_with('?');
        Self {
            verbatim: common(&told, &said) as f32 / told.len().max(1) as f32,
            meaning,
            repeated: repeated.min(2) as f32,
            question: f32::from(u8::from(asked != asks(report))),
            denial: f32::from(u8::from(denies(report) != denies(quote))),
            length: (said.len().max(1) as f32).ln(),
            own: 10. * own as f32 / said.len().max(1) as f32,
            doubt: doubt.unwrap_or(USUAL_DOUBT),
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
            self.own,
            self.doubt,
        ];
        let sum = values
            .iter()
            .zip(WEIGHTS)
            .map(|(value, weight)| value * weight);
        1. / (1. + (-(sum.sum::<f32>() + BIAS)).exp())
    }
}

/// Whether a report shows a fault of those that are nearly always false (of 1,050 reports judged by reading 99 had one: 77 were false, 4 good):
/// a reason or an opposition that is not in the quote, a group that nobody speaks for, words twice in a row, more words
/// than the quote has; whether the quote has a question, which is seldom told from an answer; or whether the report leaves out a condition or joins
/// with a "which" what is not so joined there (of 645 others 50 did: 34 were false, 4 good).
pub fn is_amiss(report: &str, quote: &str) -> bool {
    const REASONS: [&str; 3] = ["because", "since", "therefore"];
    const OPPOSITIONS: [&str; 9] = [
        "but", "although", "though", "however", "still", "yet", "only", "just", "rather",
    ];
    const GROUPS: [&str; 2] = ["team", "group"];
    const CONDITIONS: [&str; 7] = ["if", "unless", "once", "when", "whether", "while", "until"];
    let told = words(report).collect::<Vec<_>>();
    let said = words(quote).collect::<Vec<_>>();
    let tells = |wanted: &[&str]| told.iter().any(|word| wanted.contains(&word.as_str()));
    let says = |wanted: &[&str]| said.iter().any(|word| wanted.contains(&word.as_str()));
    let speaks_for_itself = said
        .iter()
        .any(|word| is_first_person(word) || word == "let");
    let is_twice = |pair: &[String]| {
        pair[0] == pair[1]
            && !["that", "had"].contains(&pair[0].as_str())
            && !pair[0].chars().all(|c| c.is_ascii_digit())
    };
    quote.contains('?')
        || tells(&REASONS) && !says(&REASONS) && !says(&["so", "cause"])
        || tells(&["but"]) && !says(&OPPOSITIONS)
        || tells(&GROUPS) && !says(&GROUPS) && !speaks_for_itself
        || says(&["if"]) && !tells(&CONDITIONS)
        || tells(&["which"]) && !says(&["which"])
        || told.windows(2).any(is_twice)
        || told.len() > said.len() + FRAME
}

/// Words of a report that name the speaker and say that something is said.
const FRAME: usize = 4;

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
        Signs::of(report, QUOTE, Some("Ann"), 0.8, None)
    }

    #[test]
    fn signs_are_counted() {
        let near = signs("Ann asks whether it is lucky that the rope broke.");
        assert_eq!((near.question, near.denial, near.repeated), (0., 1., 0.));
        assert_eq!((near.length, near.own), (11f32.ln(), 0.));
        let turned = signs("Ann says that the rope broke the rope.");
        assert_eq!((turned.question, turned.repeated), (1., 1.));
        assert_eq!(signs("The rope broke.").verbatim, 1.);
        assert_eq!(signs("Rope the.").verbatim, 0.5);
        let own = Signs::of(
            "Ann saw our rope.",
            "I saw our rope break.",
            None,
            0.8,
            None,
        );
        assert_eq!(own.own, 4.);
        let denied = Signs::of(
            "The rope did not break.",
            "The rope broke.",
            None,
            0.8,
            None,
        );
        assert_eq!(denied.denial, 1.);
    }

    #[test]
    fn faults_that_are_nearly_always_false_are_found() {
        for (report, quote, amiss) in [
            (
                "The rope broke because it was old.",
                "The rope was old and it broke.",
                true,
            ),
            (
                "The rope broke since it was old.",
                "The rope was old, so it broke in the end.",
                false,
            ),
            (
                "The rope broke, but it was old.",
                "The rope was old. It broke in the end.",
                true,
            ),
            (
                "The rope was old, but held.",
                "The rope was old, though it still held.",
                false,
            ),
            (
                "The rope holds in rain.",
                "If it rains, the rope holds.",
                true,
            ),
            (
                "The rope holds when it rains.",
                "If it rains, the rope holds.",
                false,
            ),
            (
                "The rope broke, which was old.",
                "The rope broke. The other was old.",
                true,
            ),
            (
                "The team makes ropes.",
                "They make ropes in that village now.",
                true,
            ),
            (
                "The team makes ropes.",
                "We make ropes in that village now.",
                false,
            ),
            (
                "Ann says that that is a new new rope.",
                "So that is a new new rope, I think.",
                true,
            ),
            (
                "Ann says that that is a new rope.",
                "So that is a new rope, I think.",
                false,
            ),
            (
                "Ann asks how old it is.",
                "How old is it? I do not know yet.",
                true,
            ),
            (
                "Ann says that the rope was as old as the tower.",
                "The rope was old.",
                true,
            ),
        ] {
            assert_eq!(is_amiss(report, quote), amiss, "{report}");
        }
    }

    #[test]
    fn what_keeps_to_the_quote_is_trusted_more() {
        let trust =
            |report, meaning| Signs::of(report, "The rope broke.", None, meaning, None).trust();
        let near = trust("The rope broke.", 0.95);
        assert!(near > LEAST);
        assert!(near > trust("The rope broke.", 0.5));
        assert!(near > trust("Broken ropes were the reason.", 0.95));
        assert!(near > trust("The rope did not break.", 0.95));
    }
}

//! How far a report of a quote can be trusted: the chance that all it says was said, from what can be counted in both, from how sure the
//! model was of its words, and from its inner state where it has probes for that ([`crate::engine::probe`]).
//!
//! Logistic regressions, fitted by `scripts/fit_trust.py` on 6,792 reports that the starter wrote of talks and meetings, that had passed
//! the other checks, and that were judged by reading (`models/adapters/judged.jsonl`).

use std::collections::HashMap;

use crate::words::{content, is_first_person, is_reporting, words};

/// What is counted. The weights of [`WEIGHTS`] stand in the same order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signs {
    /// Cosine of the report and the nearest sentence of the quote.
    pub meaning: f32,
    /// Content words that the report has more often than the quote, at most 2.
    pub repeated: f32,
    /// See [`Written::doubt`](crate::summarize::Written::doubt): what a model cannot make sense of it reports hesitantly (mean entropy
    /// tells what is made up, Manakul, Liusie and Gales 2023).
    pub doubt: f32,
}

/// The mean of those judged, for models that do not tell.
const USUAL_DOUBT: f32 = 0.61;

const WEIGHTS: [f32; 3] = [0.82, -1.13, -3.5];
const BIAS: f32 = 2.11;

/// What is added to what the probes tell: for the chance that a report is true, and that it is good.
const BESIDE_PROBES: [[f32; 3]; 2] = [[0.9, -0.89, -2.0], [1.04, -0.72, -1.95]];

/// A report below this is not printed. With probes 0.54 of those judged are above, of which 0.81 are true; of all 0.58. With 0.7 it were 0.86, but
/// summaries are less to the point then (docs/summaries.md).
const LEAST: f32 = 0.6;
/// Nor one that is less likely to be good than this, where there is anything better: of 502 such that were likely enough to be true 2 in 100 were, and 27 false.
const LEAST_GOOD: f32 = 0.1;
/// One below this is not preferred to a quotation: above are 0.28 of those judged, of which 0.90 are true.
const SURE: f32 = 0.8;

impl Signs {
    /// `meaning` is the cosine. `speaker` counts as said.
    pub fn of(
        report: &str,
        quote: &str,
        speaker: Option<&str>,
        meaning: f32,
        doubt: Option<f32>,
    ) -> Self {
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
        Self {
            meaning,
            repeated: repeated.min(2) as f32,
            doubt: doubt.unwrap_or(USUAL_DOUBT),
        }
    }

    /// The chances of a report of which the probes tell this.
    pub fn chances(&self, probed: &[f32]) -> Chances {
        let beside = |weights: [f32; 3]| {
            let values = [self.meaning, self.repeated, self.doubt];
            let terms = values.iter().zip(weights);
            terms.map(|(value, weight)| value * weight).sum::<f32>()
        };
        let logistic = |x: f32| 1. / (1. + (-x).exp());
        match *probed {
            [truth, good] => Chances {
                truth: logistic(truth + beside(BESIDE_PROBES[0])),
                good: Some(logistic(good + beside(BESIDE_PROBES[1]))),
            },
            _ => Chances {
                truth: logistic(BIAS + beside(WEIGHTS)),
                good: None,
            },
        }
    }
}

/// What a report is likely to be, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chances {
    /// True.
    pub truth: f32,
    /// True, clear, and worth to be told; `None` where the model has no probes.
    pub good: Option<f32>,
}

impl Chances {
    /// Whether it may be printed.
    pub fn likely_true(&self) -> bool {
        self.truth >= LEAST
    }

    /// Whether it is likely enough to be true to go before a quotation.
    pub fn surely_true(&self) -> bool {
        self.truth >= SURE
    }

    /// Whether it may be printed where there is another.
    pub fn likely_good(&self) -> bool {
        self.good.is_none_or(|good| good >= LEAST_GOOD)
    }

    /// Of what shows a fault that is nearly always one.
    pub const NONE: Self = Self {
        truth: 0.,
        good: None,
    };
}

/// Whether what is said is seldom reported truly: it asks, it repeats what somebody else says, or it supposes something. Of 1,600 reports
/// judged by reading 84 were of quotes that do, questions apart: 57 were false, 7 good.
pub fn misleads(said: &str) -> bool {
    const OTHERS: [&str; 4] = ["you", "he", "she", "they"];
    const SAY: [&str; 7] = [
        "said",
        "say",
        "says",
        "saying",
        "mentioned",
        "asked",
        "told",
    ];
    const SUPPOSE: [&str; 7] = [
        "suppose",
        "supposing",
        "imagine",
        "pretend",
        "assume",
        "assumes",
        "assuming",
    ];
    let words = words(&said.replace('’', "'")).collect::<Vec<_>>();
    let pair = |pair: &[String]| match [pair[0].as_str(), pair[1].as_str()] {
        ["your", "point"] | ["let", "say"] | ["what", "if"] => true,
        [who, does] => OTHERS.contains(&who) && SAY.contains(&does),
    };
    // Who asks and who answers, where a transcript has no names.
    let label = |token: &str| ["Q", "A", "Q:", "A:"].contains(&token);
    let tokens = said.split_whitespace().collect::<Vec<_>>();
    let is_labelled = tokens
        .windows(2)
        .any(|pair| label(pair[0]) && (pair[0].ends_with(':') || ["-", "–"].contains(&pair[1])));
    said.contains(['?', '？', '"', '“', '”', '„', '«', '»'])
        || words.windows(2).any(pair)
        || words.iter().any(|word| SUPPOSE.contains(&word.as_str()))
        || is_labelled
}

/// Whether a report shows a fault of those that are nearly always false (of 1,050 reports judged by reading 99 had one: 77 were false, 4 good):
/// a reason or an opposition that is not in the quote, a group that nobody speaks for, words twice in a row, more words
/// than the quote has; whether the quote [`misleads`]; or whether the report leaves out a condition or joins
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
    misleads(quote)
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

/// Whether a report says that somebody asks something.
pub fn asks(report: &str) -> bool {
    const WORDS: [&str; 5] = ["ask", "asks", "whether", "wonder", "wonders"];
    words(report).any(|word| WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: &str = "The rope broke, but nobody was hurt. Is that not lucky?";

    #[test]
    fn words_told_more_often_than_said_are_counted() {
        let repeated = |report| Signs::of(report, QUOTE, Some("Ann"), 0.8, None).repeated;
        assert_eq!(repeated("Ann says that the rope broke."), 0.);
        assert_eq!(repeated("Ann says that the rope broke the rope."), 1.);
        assert_eq!(repeated("The rope broke the rope that broke the rope."), 2.);
    }

    #[test]
    fn what_is_seldom_reported_truly_misleads() {
        for said in [
            "Is the rope old?",
            "You said that the rope is old.",
            "As to your point, the rope is old.",
            "It is like “hey, the rope is old”.",
            "Suppose the rope is old.",
            "Let’s say the rope is old.",
            "A - The rope is old.",
            "Q: The rope is old.",
        ] {
            assert!(misleads(said), "{said}");
        }
        for said in ["I say the rope is old.", "A rope is old."] {
            assert!(!misleads(said), "{said}");
        }
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
    fn probes_tell_what_is_true_and_what_is_good() {
        let signs = Signs::of("The rope broke.", QUOTE, None, 0.95, Some(0.2));
        let of = |truth, good| signs.chances(&[truth, good]);
        assert!(of(3., 3.).likely_true() && of(3., 3.).likely_good());
        assert!(!of(-3., 3.).likely_true());
        assert!(!of(3., -6.).likely_good());
        assert!(of(0., 3.).good > of(0., 0.).good);
        // Without them nothing is known of that.
        assert_eq!(signs.chances(&[]).good, None);
        assert!(signs.chances(&[]).likely_true() && signs.chances(&[]).likely_good());
        assert!(!Chances::NONE.likely_true());
    }

    #[test]
    fn what_is_told_without_doubt_and_near_to_the_quote_is_trusted_more() {
        let trust = |report, meaning, doubt| {
            let signs = Signs::of(report, QUOTE, None, meaning, Some(doubt));
            signs.chances(&[]).truth
        };
        let near = trust("The rope broke.", 0.95, 0.2);
        assert!(near > LEAST);
        assert!(near > trust("The rope broke.", 0.5, 0.2));
        assert!(near > trust("The rope broke the rope.", 0.95, 0.2));
        assert!(trust("The rope broke.", 0.95, 1.5) < LEAST);
    }
}

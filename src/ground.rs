//! Checks what the model wrote against what was said, and keeps only what holds.
//!
//! A sentence is kept if every name and number in it occurs in what the model was given to read for it, each of its clauses shares
//! its words with one sentence there (or the quote), its meaning is near some sentence there (said by whom it names), and it speaks
//! about people, not as one of them. The report of a quote has to be one that can be trusted ([`crate::trust`]), too.

mod choice;
mod claims;

use std::ops::Range;

pub use self::choice::choose;
pub use self::claims::claims;
use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::language::Language;
use crate::reading::Reading;
use crate::roles::with_article;
use crate::said::Source;
use crate::trust::{self, Chances, Signs, asks};
use crate::words::{points_back, words};

/// At least this must be the cosine of a sentence and the sentence of the source nearest to it.
const MEANING_SUPPORTED: f32 = 0.45;
/// Two sentences more alike than this say the same.
const REPEATED: f32 = 0.85;
/// Sentences of a summary.
pub const SENTENCES: usize = 2;
/// What it counts for choosing a report that it can be trusted, against that it is to the point.
const TRUST: f32 = 0.45;
/// The same of the chance that it is good, where the model has probes for that: then that counts in the place of trust, length and the wish to say nothing.
const GOOD: f32 = 0.5;
/// What a report loses of its worth that the model would rather not have written, against one that it wanted to.
const REFUSED: f32 = 0.15;
/// That somebody asks something says less than what is answered, by this factor.
const QUESTION: f32 = 0.8;
/// Words from which on a report does not say more.
const TELLING: f32 = 24.;

/// A sentence of an answer, with what the checks need to know of it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub text: String,
    pub embedding: Embedding,
}

/// What the model wrote about what it was given to read.
#[derive(Debug, Clone)]
pub struct Answer {
    pub reading: Reading,
    pub claims: Vec<Claim>,
    /// See [`Written::doubt`](crate::summarize::Written::doubt).
    pub doubt: Option<f32>,
    /// See [`Written::refusal`](crate::summarize::Written::refusal).
    pub refusal: f32,
    /// See [`Written::probed`](crate::summarize::Written::probed).
    pub probed: Vec<f32>,
}

/// A claim that holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub claim: Claim,
    /// The sentences that carry it.
    pub evidence: Range<usize>,
    /// Cosine of the claim and the one of them nearest to it.
    pub support: f32,
    /// How likely it is to be true, and good, where that is known.
    pub chances: Option<Chances>,
    /// How good it is, for choosing.
    worth: f32,
}

impl Held {
    /// Whether it is likely to be good; true where nothing is known.
    pub fn likely_good(&self) -> bool {
        self.chances.is_none_or(|chances| chances.likely_good())
    }
}

/// How an answer is checked.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// See [`Style::clause_support`](crate::prompt::Style::clause_support).
    pub clause_support: f32,
    /// Whether readings are quotes of a few sentences, each reported in one.
    pub quotes: bool,
    /// What the answer shall be in, and what it would be in by mistake.
    pub language: Option<(Language, Language)>,
    /// Whether that is another language than the passage's: its words cannot be looked for there then, only names and numbers.
    pub translates: bool,
}

impl Rules {
    fn reports_english(&self) -> bool {
        let is_english = |(wanted, _)| wanted == Language::ENGLISH;
        self.quotes && self.language.is_none_or(is_english)
    }

    /// Whether names cannot be told from other words that the source need not have.
    fn nouns_are_capitalized(&self) -> bool {
        let wanted = self.language.map(|(wanted, _)| wanted);
        self.translates && wanted.is_some_and(Language::capitalizes_nouns)
    }
}

/// How much a report says, to 1: a short one can be very much to the point and still say little.
fn says(text: &str) -> f32 {
    let words = text.split_whitespace().count();
    let asks = if asks(text) { QUESTION } else { 1. };
    asks * (0.5 + 0.5 * (words as f32 / TELLING).min(1.))
}

/// The sentences of one answer that hold, at most [`SENTENCES`].
fn keep(passage: &Passage, answer: &Answer, rules: Rules) -> Vec<Held> {
    let source = Source::of_reading(passage, &answer.reading, rules.quotes);
    let mut kept = Vec::<Held>::new();
    let mut before_is_kept = false;
    for claim in &answer.claims {
        let (nearest, support) =
            evidence(passage, answer.reading.iter().copied(), &claim.embedding);
        let speaker = passage.sentences[nearest].speaker.as_deref();
        // "It" and "they" mean nothing where the sentence they point to was dropped.
        before_is_kept = (before_is_kept || !points_back(&claim.text))
            && holds(&claim.text, &source, speaker, rules)
            && (rules.translates || support >= MEANING_SUPPORTED)
            && kept.iter().all(|other| !alike(claim, &other.claim));
        if before_is_kept {
            let relevance = cosine(&claim.embedding, &passage.focus);
            let chances = chances(passage, answer, claim, support, rules);
            if chances.is_some_and(|chances| !chances.likely_true()) {
                before_is_kept = false;
                continue;
            }
            kept.push(Held {
                claim: Claim {
                    text: with_article(&claim.text, speaker.filter(|_| rules.reports_english())),
                    ..claim.clone()
                },
                evidence: match (rules.quotes, &answer.reading[..]) {
                    (true, [first, .., last]) => *first..last + 1,
                    _ => nearest..nearest + 1,
                },
                support,
                chances,
                worth: value(claim, answer, chances, (support, relevance)),
            });
        }
    }
    while kept.len() > SENTENCES {
        // One that the next sentence points back to cannot go alone.
        let free = |&i: &usize| {
            kept.get(i + 1)
                .is_none_or(|next| !points_back(&next.claim.text))
        };
        let worst = (0..kept.len())
            .filter(free)
            .min_by(|&a, &b| kept[a].worth.total_cmp(&kept[b].worth))
            .unwrap_or(kept.len() - 1);
        kept.remove(worst);
    }
    kept
}

/// How good a claim is, for choosing: to the point, well supported, and likely to be good as far as that is known.
fn value(
    claim: &Claim,
    answer: &Answer,
    chances: Option<Chances>,
    (support, relevance): (f32, f32),
) -> f32 {
    let mean = |a, b, weight| weight * a + (1. - weight) * b;
    match chances {
        Some(Chances {
            good: Some(good), ..
        }) => mean(good, relevance, GOOD),
        Some(Chances { truth, .. }) => {
            mean(truth, relevance * says(&claim.text), TRUST) - REFUSED * answer.refusal
        }
        None => mean(support, relevance, 0.5),
    }
}

/// Whether everything a sentence says stands in the source, in which `speaker` says what is nearest to it.
fn holds(text: &str, source: &Source, speaker: Option<&str>, rules: Rules) -> bool {
    let in_language = |(wanted, other): (Language, Language)| wanted.is_of(text, other);
    source.without_speaker(text) == text
        && source.invented_number(text).is_none()
        && (rules.nouns_are_capitalized() || source.invented_name(text).is_none())
        && !source.loses_names(text)
        && !source.is_misattributed(text, speaker)
        && rules.language.is_none_or(in_language)
        && (rules.translates || source.clause_support(text) >= rules.clause_support)
}

/// What the report of a quote is likely to be; `None` where something else was read, or is told in another language.
fn chances(
    passage: &Passage,
    answer: &Answer,
    claim: &Claim,
    support: f32,
    rules: Rules,
) -> Option<Chances> {
    let sentences = answer.reading.iter().map(|&i| &passage.sentences[i]);
    let speaker = sentences.clone().next()?.speaker.as_deref();
    let quote = sentences.map(|sentence| sentence.text.as_str());
    let quote = quote.collect::<Vec<_>>().join(" ");
    let chances = || match trust::is_amiss(&claim.text, &quote) {
        true => Chances::NONE,
        false => {
            Signs::of(&claim.text, &quote, speaker, support, answer.doubt).chances(&answer.probed)
        }
    };
    (rules.quotes && !rules.translates).then(chances)
}

fn alike(a: &Claim, b: &Claim) -> bool {
    let opening = |claim: &Claim| words(&claim.text).take(4).collect::<Vec<_>>();
    opening(a) == opening(b) || cosine(&a.embedding, &b.embedding) > REPEATED
}

/// The sentence nearest to a meaning: index and cosine.
pub fn evidence(
    passage: &Passage,
    sentences: impl Iterator<Item = usize>,
    meaning: &[f32],
) -> (usize, f32) {
    sentences
        .map(|i| (i, cosine(meaning, &passage.embeddings[i])))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or((passage.range.start, 0.))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Sentence;

    const SAID: &str = "Walter Pym kept the clock at Marlock for thirty years. The rope broke in two thousand and six.";

    fn claim(text: &str, embedding: [f32; 2]) -> Claim {
        Claim {
            text: text.into(),
            embedding: embedding.to_vec(),
        }
    }

    fn answer(reading: &[usize], claim: &Claim) -> Answer {
        Answer {
            reading: reading.into(),
            claims: vec![claim.clone()],
            doubt: None,
            refusal: 0.,
            probed: Vec::new(),
        }
    }

    const RULES: Rules = Rules {
        clause_support: 0.7,
        quotes: false,
        language: None,
        translates: false,
    };

    /// The two sentences of [`SAID`], and their embeddings.
    fn said() -> (Vec<Sentence>, Vec<Embedding>) {
        let sentences = SAID.split_inclusive(". ").map(|text| Sentence {
            text: text.trim().into(),
            ..Sentence::default()
        });
        (sentences.collect(), vec![vec![1., 0.], vec![0., 1.]])
    }

    fn texts(held: Option<Vec<Held>>) -> Vec<String> {
        let held = held.unwrap_or_default().into_iter();
        held.map(|held| held.claim.text).collect()
    }

    #[test]
    fn the_answer_with_the_most_that_holds_is_filled_up_from_others_in_the_order_of_what_was_said()
    {
        let (sentences, embeddings) = said();
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let good = claim("Walter Pym kept the clock for thirty years.", [0.9, 0.43]);
        let wrong = claim("Walter Pym kept the clock for forty years.", [1., 0.]);
        let other = claim("The rope broke in 2006.", [0.1, 0.99]);
        let answers = [&wrong, &other, &good].map(|claim| answer(&[0, 1], claim));
        let held = choose(&passage, &answers, RULES);
        assert_eq!(texts(held), [good.text, other.text]);
        assert!(choose(&passage, &answers[..1], RULES).is_none());
    }

    #[test]
    fn a_report_rests_on_its_quote_alone() {
        let (sentences, embeddings) = said();
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let rules = Rules {
            quotes: true,
            ..RULES
        };
        let both = claim(
            "The rope broke where Walter Pym kept the clock for thirty years.",
            [0.7, 0.7],
        );
        let of = |reading: &[usize]| {
            let answer = Answer {
                doubt: Some(0.4),
                ..answer(reading, &both)
            };
            choose(&passage, &[answer], rules)
        };
        assert!(of(&[1]).is_none());
        assert_eq!(of(&[0, 1]).unwrap()[0].evidence, 0..2);
    }

    #[test]
    fn a_report_that_the_model_would_rather_not_have_written_comes_last() {
        let sentences = [
            "Walter Pym kept the clock for thirty years.",
            "The rope of the clock broke in the tower.",
            "The bells of the town rang over the market.",
        ];
        let sentences = sentences.map(|text| Sentence {
            text: text.into(),
            ..Sentence::default()
        });
        let embeddings =
            [0, 1, 2].map(|i| Embedding::from([0, 1, 2].map(|k| f32::from(u8::from(i == k)))));
        let passage = Passage::new(&sentences, &embeddings, 0..3);
        let rules = Rules {
            quotes: true,
            ..RULES
        };
        for refused in 0..3 {
            let claim = |i: usize| Claim {
                text: sentences[i].text.clone(),
                embedding: embeddings[i].clone(),
            };
            let answers = [0, 1, 2].map(|i| Answer {
                doubt: Some(0.2),
                refusal: if i == refused { 0.9 } else { 0.1 },
                ..answer(&[i], &claim(i))
            });
            let held = choose(&passage, &answers, rules).unwrap();
            let told = held.iter().map(|held| held.evidence.start);
            let others = (0..3).filter(|&i| i != refused);
            assert!(told.eq(others), "{refused}");
        }
    }

    #[test]
    fn what_is_not_likely_to_be_good_comes_only_where_nothing_else_holds() {
        let (sentences, embeddings) = said();
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let rules = Rules {
            quotes: true,
            ..RULES
        };
        let first = "Walter Pym kept the clock at Marlock for the whole thirty years.";
        let second = "The rope broke in two thousand and six.";
        let probed = |at: usize, text: &str, probed: [f32; 2]| Answer {
            doubt: Some(0.4),
            probed: probed.to_vec(),
            ..answer(&[at], &claim(text, [(1 - at) as f32, at as f32]))
        };
        let told = |a, b| {
            let answers = [probed(0, first, a), probed(1, second, b)];
            texts(choose(&passage, &answers, rules))
        };
        assert_eq!(told([3., 3.], [3., 3.]), [first, second]);
        assert_eq!(told([3., 3.], [3., -6.]), [first]);
        assert_eq!(told([3., -6.], [3., -6.]), [first, second]);
        assert_eq!(told([3., -6.], [-3., 3.]), [first]);
    }

    #[test]
    fn a_sentence_in_another_language_than_wanted_is_none() {
        let (sentences, embeddings) = said();
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let german = "de".parse::<Language>().unwrap();
        let of = |text: &str, rules| {
            let answer = answer(&[0, 1], &claim(text, [0.9, 0.43]));
            choose(&passage, &[answer], rules).is_some()
        };
        let rules = Rules {
            language: Some((german, Language::ENGLISH)),
            translates: true,
            ..RULES
        };
        let english = "Walter Pym kept the clock at Marlock for the whole of thirty years.";
        let translated =
            "Walter Pym hat sich in Marlock dreißig Jahre lang um die Uhr im Turm gekümmert.";
        assert!(of(english, RULES) && !of(english, rules));
        assert!(of(translated, rules) && !of(translated, RULES));
        assert!(!of(&translated.replace("Jahre", "14 Jahre"), rules));
    }
}

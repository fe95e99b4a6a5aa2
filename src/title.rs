//! Titles: what the model proposes, beside phrases from the text itself; the one nearest to what the chapter is about wins.

use std::collections::{HashMap, HashSet};

use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::ground::Source;
use crate::words::{is_first_or_second_person, is_stopword, stem, words};

/// Longest title, in characters.
pub const LONGEST: usize = 70;

/// Room left for a number that tells two titles apart.
const NUMBER: usize = 5;

/// Fewest and most words of a phrase.
const PHRASE: std::ops::RangeInclusive<usize> = 2..=5;

/// A title that is a mere phrase from the text must be this much nearer to the chapter than one the model wrote.
const WRITTEN: f32 = 0.05;

/// A proposal for a title.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub text: String,
    pub embedding: Embedding,
    pub written_by_model: bool,
}

/// A model's answer made into a title: one line without quotes, labels and closing stop, whose every content word
/// occurs in the chapter. `None` where that cannot be.
pub fn tidy(answer: &str, source: &Source) -> Option<String> {
    let line = answer.trim().lines().next()?;
    let line = line.strip_prefix("Title:").unwrap_or(line);
    let line = line
        .trim_matches(|c: char| c.is_whitespace() || "\"“”'‘’«»*#_`".contains(c))
        .trim_end_matches(['.', ',', ';', ':', '!']);
    let text = line
        .replace(['"', '“', '”', '«', '»'], "")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let count = text.split_whitespace().count();
    let fits = (2..=9).contains(&count)
        && text.chars().count() <= LONGEST
        && !text.ends_with('?')
        && !is_first_or_second_person(&text)
        && source.invented(&text).is_none()
        && source.words_supported(&text) >= 1.
        && !repeats(&text)
        && !ends_open(&text);
    fits.then(|| capitalize(&text))
}

/// Whether a content word comes twice.
fn repeats(text: &str) -> bool {
    let mut seen = HashSet::new();
    words(text)
        .filter(|word| !is_stopword(word))
        .any(|word| !seen.insert(stem(&word)))
}

/// Whether a text stops where more must come: the model ran out of tokens.
fn ends_open(text: &str) -> bool {
    words(text).last().is_none_or(|word| is_stopword(&word))
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// How many of the phrases that count most are compared by meaning.
const COMPARED: usize = 40;

/// Phrases of a passage that may serve as its title, best first by how often the passage uses their words and how
/// seldom the rest of the document does (as YAKE and KeyBERT find key phrases, without a corpus).
pub fn phrases(passage: &Passage) -> Vec<String> {
    let inside = counts(passage, passage.range.clone());
    let everywhere = counts(passage, 0..passage.sentences.len());
    // Weight of a stem: its share of this passage against that of the document.
    let weight = |word: &str| {
        let stem = stem(word);
        let here = inside.get(&stem).copied().unwrap_or(0) as f32;
        let all = everywhere.get(&stem).copied().unwrap_or(1).max(1) as f32;
        (1. + here).ln() * (0.3 + here / all)
    };
    let mut scored = HashMap::<String, (f32, String)>::new();
    for sentence in &passage.sentences[passage.range.clone()] {
        for phrase in spans(&sentence.text) {
            let content = words(&phrase)
                .filter(|word| !is_stopword(word))
                .collect::<Vec<_>>();
            if content.is_empty() || repeats(&phrase) || is_first_or_second_person(&phrase) {
                continue;
            }
            let sum = content.iter().map(|word| weight(word)).sum::<f32>();
            let score = sum / (1. + 0.5 * content.len() as f32);
            let entry = scored
                .entry(phrase.to_lowercase())
                .or_insert_with(|| (0., phrase));
            // A phrase said twice is more than a chance meeting of words.
            entry.0 = if entry.0 > 0. { entry.0 * 1.15 } else { score };
        }
    }
    let mut scored = scored.into_values().collect::<Vec<_>>();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.truncate(COMPARED);
    scored
        .into_iter()
        .map(|(_, phrase)| capitalize(&phrase))
        .collect()
}

fn counts(passage: &Passage, range: std::ops::Range<usize>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for sentence in &passage.sentences[range] {
        for word in words(&sentence.text).filter(|word| !is_stopword(word)) {
            *counts.entry(stem(&word)).or_insert(0) += 1;
        }
    }
    counts
}

/// Runs of two to five words without punctuation between them that neither begin nor end with a stopword.
fn spans(sentence: &str) -> Vec<String> {
    const BREAKS: [char; 13] = [
        ',', ';', ':', '.', '?', '!', '(', ')', '“', '”', '"', '—', '…',
    ];
    let mut spans = Vec::new();
    for clause in sentence.split(BREAKS) {
        let tokens = clause.split_whitespace().collect::<Vec<_>>();
        let bound = |token: &str| {
            let mut words = words(token);
            words
                .next()
                .is_some_and(|word| !is_stopword(&word) && word.chars().count() > 1)
        };
        for first in 0..tokens.len() {
            for count in PHRASE {
                let Some(span) = tokens.get(first..first + count) else {
                    break;
                };
                let verbless = !span.iter().any(|token| is_verbal(token));
                if bound(span[0]) && bound(span[count - 1]) && verbless {
                    spans.push(span.join(" ").trim_matches(['\'', '‘', '’']).to_string());
                }
            }
        }
    }
    spans
}

/// Auxiliaries and pronouns that make a run of words a piece of a sentence instead of a phrase.
fn is_verbal(token: &str) -> bool {
    const VERBAL: &str = " is are was were be been being am has have had do does did will would can could shall should \
        may might must it he she they them him her this that these those there then which who what when where not \
        so because if but than as says said went came got goes came take took ";
    let lower = token.to_lowercase();
    VERBAL.contains(&format!(
        " {} ",
        lower.trim_matches(|c: char| !c.is_alphanumeric())
    )) || lower.contains("n't")
        || lower.contains("n’t")
}

/// The best candidate that is not like a title already taken.
pub fn choose(passage: &Passage, candidates: &[Candidate], taken: &[String]) -> Option<Candidate> {
    let stems = |text: &str| words(text).map(|word| stem(&word)).collect::<HashSet<_>>();
    let taken = taken.iter().map(|title| stems(title)).collect::<Vec<_>>();
    candidates
        .iter()
        .filter(|candidate| !taken.contains(&stems(&candidate.text)))
        .max_by(|a, b| score(passage, a).total_cmp(&score(passage, b)))
        .cloned()
}

fn score(passage: &Passage, candidate: &Candidate) -> f32 {
    let count = candidate.text.split_whitespace().count();
    // Two words say little; three to six are a title.
    let length = if count < 3 { -0.04 } else { 0. };
    let written = if candidate.written_by_model {
        WRITTEN
    } else {
        0.
    };
    cosine(&candidate.embedding, &passage.focus) + length + written
}

/// The beginning of a text as a title, cut after a whole word: where nothing better is left.
pub fn cut(text: &str) -> String {
    let mut title = String::new();
    for word in text.split_whitespace() {
        let word = word.replace(['"', '“', '”', '«', '»'], "");
        if title.chars().count() + 1 + word.chars().count() > LONGEST - NUMBER {
            title.push('…');
            break;
        }
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(&word);
    }
    capitalize(title.trim_end_matches(['.', ',', ';', ':', '!']))
}

/// A title unlike those taken: numbered where nothing else tells it apart.
pub fn unique(title: String, taken: &[String]) -> String {
    let is_taken = |title: &str| taken.iter().any(|other| other.eq_ignore_ascii_case(title));
    let title = if title.is_empty() {
        "Untitled".into()
    } else {
        title
    };
    let numbered = (2..).map(|n| format!("{title} ({n})"));
    std::iter::once(title.clone())
        .chain(numbered)
        .find(|candidate| !is_taken(candidate))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new(["The rope of the striking weight broke at Marlock."].into_iter())
    }

    #[test]
    fn answers_are_tidied_or_refused() {
        for (answer, title) in [
            (
                "\"The Rope at Marlock\"\n\nThe rope",
                Some("The Rope at Marlock"),
            ),
            ("Title: **striking weight.**", Some("Striking weight")),
            ("The Unyielding Steel", None),
            ("The rope that broke at the", None),
            ("My rope at Marlock", None),
            ("Rope of the Rope", None),
            ("", None),
        ] {
            assert_eq!(tidy(answer, &source()).as_deref(), title, "{answer}");
        }
    }

    #[test]
    fn spans_are_phrases_without_verbs() {
        let spans = spans("The striking weight is heavy, and a rope of steel holds it.");
        assert!(spans.contains(&"striking weight".to_string()));
        assert!(spans.contains(&"rope of steel".to_string()));
        assert!(spans.iter().all(|span| !span.contains(" is ")));
        assert!(!spans.iter().any(|span| span.contains("heavy and")));
    }

    #[test]
    fn a_cut_title_ends_with_a_whole_word_and_fits() {
        let title = cut(&"a clock that strikes “hours” ".repeat(10));
        assert!(title.chars().count() <= LONGEST, "{title}");
        assert!(title.starts_with("A clock that strikes hours"));
        assert!(title.ends_with('…'));
    }

    #[test]
    fn a_title_is_taken_once() {
        let passage = Passage {
            sentences: &[],
            embeddings: &[],
            range: 0..0,
            focus: vec![1., 0.],
        };
        let candidate = |text: &str, x: f32| Candidate {
            text: text.into(),
            embedding: vec![x, 0.],
            written_by_model: false,
        };
        let candidates = [
            candidate("The rope broke", 0.9),
            candidate("A steel rope fell", 0.5),
        ];
        let chosen = choose(&passage, &candidates, &["The Rope Broke".into()]);
        assert_eq!(chosen.unwrap().text, "A steel rope fell");
        assert!(choose(&passage, &candidates[..1], &["The rope broke".into()]).is_none());
    }
}

//! Phrases of a text that name what it is about: noun phrases, as far as they can be told by the small words around them; in other languages than
//! English runs of words between small words.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use crate::chunk::Passage;
use crate::language::Language;
use crate::numbers::is_number;
use crate::title::{self, repeats};
use crate::words::{is_first_or_second_person, is_stopword, stem, words};

/// Fewest and most words of a phrase.
const LENGTH: RangeInclusive<usize> = 1..=6;

/// How often a single word must be said in a passage to be a topic of it.
const OFTEN: usize = 3;

/// How many of the phrases that count most are compared by meaning.
const COMPARED: usize = 40;

/// The same in other languages than English, for which the signs of a good title were not fitted.
const COMPARED_ELSEWHERE: usize = 3;

/// Phrases of a passage in a language that may serve as its title, best first, each with its worth from 0 to 1: how often
/// the passage uses its words, and how seldom the rest of the document does.
pub fn phrases(passage: &Passage, spoken: Option<Language>) -> Vec<(String, f32)> {
    let grammar = Grammar::of(spoken);
    let inside = grammar.counts(passage, passage.range.clone());
    let everywhere = grammar.counts(passage, 0..passage.sentences.len());
    // Weight of a stem: its share of this passage against that of the document.
    let weight = |word: &str| {
        let stem = stem(word);
        let here = inside.get(&stem).copied().unwrap_or(0) as f32;
        let all = everywhere.get(&stem).copied().unwrap_or(1).max(1) as f32;
        (1. + here).ln() * (0.3 + here / all)
    };
    let mut scored = HashMap::<String, (f32, String)>::new();
    for sentence in &passage.sentences[passage.range.clone()] {
        for phrase in grammar.phrases(&sentence.text) {
            let content = words(&phrase)
                .filter(|word| !grammar.is_small(word))
                .collect::<Vec<_>>();
            if content.is_empty() || repeats(&phrase) || grammar.is_personal(&phrase) {
                continue;
            }
            // A single word is a topic only where it comes up again and again.
            let said = inside.get(&stem(&content[0])).copied().unwrap_or(0);
            if content.len() == 1 && said < OFTEN {
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
    scored.truncate(grammar.compared());
    let best = scored.first().map_or(1., |(score, _)| *score);
    scored
        .into_iter()
        .map(|(score, phrase)| (phrase, score / best))
        .filter(|(phrase, _)| grammar.may_be_title(phrase))
        .collect()
}

/// What is known of a language.
enum Grammar {
    English,
    /// The words that carry no topic, and whether all nouns have a capital.
    Other {
        small: HashSet<&'static str>,
        capitals: bool,
    },
}

impl Grammar {
    /// That of English where the language cannot be told, or nothing is known of it.
    fn of(language: Option<Language>) -> Self {
        // Words that no spaces part cannot be told by these means.
        const UNSPACED: [&str; 6] = ["ja", "km", "lo", "my", "th", "zh"];
        let other = |language: &Language| {
            *language != Language::ENGLISH && !UNSPACED.contains(&language.code())
        };
        let language = language.filter(other);
        let known = language.and_then(|l| Some((l, stop_words::lookup(l.code())?)));
        known.map_or(Self::English, |(language, small)| Self::Other {
            small: small.iter().copied().collect(),
            capitals: language.capitalizes_nouns(),
        })
    }

    /// Whether a word carries no topic of its own.
    fn is_small(&self, word: &str) -> bool {
        match self {
            Self::English => is_stopword(word),
            // "l'" and "qu'" of "l'arbre" and "qu'il", and small words that no list has.
            Self::Other { small, .. } => small.contains(word) || word.is_ascii() && word.len() < 3,
        }
    }

    fn phrases(&self, sentence: &str) -> Vec<String> {
        match self {
            Self::English => noun_phrases(sentence),
            Self::Other { capitals, .. } => self.runs(sentence, *capitals),
        }
    }

    fn compared(&self) -> usize {
        match self {
            Self::English => COMPARED,
            Self::Other { .. } => COMPARED_ELSEWHERE,
        }
    }

    fn is_personal(&self, phrase: &str) -> bool {
        matches!(self, Self::English) && is_first_or_second_person(phrase)
    }

    fn may_be_title(&self, phrase: &str) -> bool {
        match self {
            Self::English => title::may_be(phrase),
            // Many languages say in one word what English says in two.
            Self::Other { .. } => phrase.chars().count() <= title::LONGEST,
        }
    }

    /// Runs of words between small words, as in RAKE (Rose et al. 2010).
    fn runs(&self, sentence: &str, capitals: bool) -> Vec<String> {
        let mut runs = Vec::new();
        for clause in sentence.split(BREAKS) {
            let clause = without_elisions(clause);
            let tokens = clause.split_whitespace().collect::<Vec<_>>();
            let is_small = |token: &&str| {
                words(token).next().is_none_or(|word| is_number(&word))
                    || words(token).any(|word| self.is_small(&word))
            };
            for run in tokens.split(is_small) {
                let is_noun = |token: &&str| !capitals || token.starts_with(char::is_uppercase);
                if LENGTH.contains(&run.len()) && run.last().is_some_and(is_noun) {
                    runs.push(run.join(" "));
                }
            }
        }
        runs
    }

    fn counts(&self, passage: &Passage, range: Range<usize>) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for sentence in &passage.sentences[range] {
            let text = match self {
                Self::English => Cow::Borrowed(&sentence.text),
                Self::Other { .. } => Cow::Owned(without_elisions(&sentence.text)),
            };
            for word in words(&text).filter(|word| !self.is_small(word)) {
                *counts.entry(stem(&word)).or_insert(0) += 1;
            }
        }
        counts
    }
}

/// What is elided ("l'arbre", "dell'arte") as a word of its own.
fn without_elisions(text: &str) -> String {
    text.replace(['\'', '’'], " ")
}

/// What parts clauses.
const BREAKS: [char; 16] = [
    ',', ';', ':', '.', '?', '!', '(', ')', '“', '”', '"', '—', '…', '„', '«', '»',
];

/// The noun phrases of a sentence that can be told without a dictionary: runs of content words, joined by prepositions,
/// whole (no content word stands before or after), and where a noun phrase can stand: after a determiner or
/// preposition, or first in a clause, and not before an object.
fn noun_phrases(sentence: &str) -> Vec<String> {
    let mut phrases = Vec::new();
    for clause in sentence.split(BREAKS) {
        let tokens = clause.split_whitespace().collect::<Vec<_>>();
        let kinds = tokens
            .iter()
            .map(|token| Kind::of(token))
            .collect::<Vec<_>>();
        for first in 0..tokens.len() {
            for last in first + LENGTH.start() - 1..tokens.len().min(first + LENGTH.end()) {
                if is_noun_phrase(&kinds, first..last + 1) {
                    let phrase = tokens[first..=last].join(" ");
                    phrases.push(phrase.trim_matches(['\'', '‘', '’']).to_string());
                }
            }
        }
    }
    phrases
}

/// What a word can be in a noun phrase.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Content,
    /// A content word that is rather a verb or adverb, by its form.
    Verb,
    Determiner,
    Preposition,
    And,
    /// Everything else: pronouns, auxiliaries, adverbs.
    Other,
}

impl Kind {
    fn of(token: &str) -> Self {
        const DETERMINERS: &str =
            " the a an his her its their our my your this these those some any each every no both ";
        const PREPOSITIONS: &str =
            " of in at on for from with by into over under between against about without ";
        const VERBS: &str = " blew broke brought came fell felt gave grew held kept knew led left lost met ran rang read \
            sang sank sat sent shut slept stood taught told took thought went woke won wore wrote \
            begins comes costs decides escapes feels gets goes holds keeps knows lets lies lifts likes looks means \
            needs pays runs says seems sends shows sinks sits starts stops takes tells thinks turns waits wants works ";
        let lower = token
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase();
        let within = |list: &str| list.contains(&format!(" {lower} "));
        let capital = token.starts_with(char::is_uppercase);
        match () {
            () if lower == "and" => Self::And,
            () if is_number(lower.split('-').next().unwrap_or("")) => Self::Determiner,
            () if within(DETERMINERS) => Self::Determiner,
            () if within(PREPOSITIONS) => Self::Preposition,
            () if lower.chars().count() < 2 || words(token).any(|word| is_stopword(&word)) => {
                Self::Other
            }
            () if within(VERBS)
                || ((lower.ends_with("ed") || lower.ends_with("ly")) && !capital) =>
            {
                Self::Verb
            }
            () => Self::Content,
        }
    }
}

fn is_noun_phrase(kinds: &[Kind], span: Range<usize>) -> bool {
    use Kind::{And, Content, Determiner, Other, Preposition, Verb};
    let before = span.start.checked_sub(1).map(|i| kinds[i]);
    let after = kinds.get(span.end);
    let inside = &kinds[span];
    let stands = matches!(before, None | Some(Determiner | Preposition | And))
        && !matches!(after, Some(Content | Determiner | Preposition));
    let bounds = matches!(inside[0], Content | Verb) && inside[inside.len() - 1] == Content;
    let joined = inside.windows(2).all(|pair| match pair {
        [_, Other] | [Other, _] => false,
        [before, Determiner] => *before == Preposition,
        [before, Verb] => *before != Content,
        [before, Preposition | And] => matches!(before, Content | Verb),
        _ => true,
    });
    stands && bounds && joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Sentence;

    #[test]
    fn noun_phrases_of_several_words_are_whole_and_without_verbs() {
        for (sentence, phrases) in [
            (
                "The striking weight is heavy, and a rope of steel holds it.",
                &["striking weight", "rope of steel"][..],
            ),
            ("It glues the minute hand to the dial.", &["minute hand"]),
            ("The weight broke the old flagstones.", &["old flagstones"]),
            (
                "He sat in a box of wrought iron.",
                &["box of wrought iron", "wrought iron"],
            ),
            ("But the council thinks it's the church.", &[]),
            (
                "They strike at the custom house clock.",
                &["custom house clock"],
            ),
            ("It has sixty-four teeth and two iron bars.", &["iron bars"]),
        ] {
            let mut found = noun_phrases(sentence);
            found.retain(|phrase| phrase.contains(' '));
            assert_eq!(found, phrases, "{sentence}");
        }
    }

    #[test]
    fn phrases_of_other_languages_stand_between_small_words() {
        for (code, sentence, phrases) in [
            (
                "de",
                "Und dann ist das ein direkt befeuerter Ofen, wie früher, sagt „die Birgit“.",
                &["direkt befeuerter Ofen", "Birgit"][..],
            ),
            (
                "fr",
                "Il y a dans l'arbre une tête d'épingle et un acarien rougeâtre.",
                &["arbre", "tête", "épingle", "acarien rougeâtre"],
            ),
        ] {
            let grammar = Grammar::of(code.parse().ok());
            assert_eq!(grammar.phrases(sentence), phrases);
        }
        for code in ["gsw", "zh"] {
            let unknown = Grammar::of(code.parse().ok());
            assert!(matches!(unknown, Grammar::English), "{code}");
        }
    }

    #[test]
    fn a_word_that_is_said_often_is_a_phrase_whatever_is_elided_before_it() {
        let said = [
            "L'arbre est vieux.",
            "On voit l'arbre d'ici.",
            "C'est l'arbre du village.",
        ];
        let sentences = said.map(|text| Sentence {
            text: text.into(),
            ..Sentence::default()
        });
        let embeddings = vec![vec![1.]; 3];
        let passage = Passage::new(&sentences, &embeddings, 0..3);
        let found = phrases(&passage, "fr".parse().ok());
        assert_eq!(found[0].0, "arbre");
    }

    #[test]
    fn a_single_noun_is_a_phrase_too() {
        assert_eq!(
            noun_phrases("The clock has a pendulum."),
            ["clock", "pendulum"]
        );
    }
}

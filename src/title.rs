//! Titles: what the model proposes, beside phrases from the text itself; the one nearest to what the chapter is about wins.

use std::collections::HashSet;

use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::said::Source;
use crate::words::{capitalize, is_first_or_second_person, is_stopword, stem, words};

/// Longest title, in characters.
pub const LONGEST: usize = 70;

/// Room left for a number that tells two titles apart.
const NUMBER: usize = 5;

/// A title that is a mere phrase from the text must be this much nearer to the chapter than one the model wrote.
const WRITTEN: f32 = 0.25;

/// The part of a written title's content words that occur in the chapter, at least; names and numbers must all. A small model
/// has no good words of its own, but for what begins a title: "Saving the custom house clock".
const SAID: f32 = 0.7;
const SAID_BY_SMALL: f32 = 1.;

/// A proposal for a title.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub text: String,
    pub embedding: Embedding,
    pub form: Form,
    /// From 0 to 1: how much of the chapter's own vocabulary a phrase is made of.
    pub worth: f32,
}

/// Where a proposal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The model wrote it.
    Written,
    /// It occurs in the text.
    Phrase,
    /// Two phrases of the text.
    Pair,
}

/// A model's answer made into a title: one line without quotes, labels and closing stop, whose names and numbers and most other
/// content words occur in the chapter: all of them, where a small model wrote. `None` where that cannot be.
pub fn tidy(answer: &str, source: &Source, small: bool) -> Option<String> {
    let line = answer.trim().lines().next()?;
    let line = line.strip_prefix("Title:").unwrap_or(line);
    let line = source.without_speaker(line.trim_start());
    let line = line
        .trim_matches(|c: char| c.is_whitespace() || "\"“”'‘’«»*#_`".contains(c))
        .trim_end_matches(['.', ',', ';', ':', '!', '。']);
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
        && if small {
            source.words_supported(behind_verbal_noun(&text)) >= SAID_BY_SMALL
        } else {
            source.words_supported(&text) >= SAID
        }
        && (!tells(&text) || source.tells_in_order(&text))
        && !(small && promises_a_reason(&text))
        && !repeats(&text)
        && !ends_open(&text)
        && !is_generic(&text);
    fits.then(|| capitalize(&text))
}

/// What stands behind the verbal noun with which a title begins, if it does.
pub fn behind_verbal_noun(text: &str) -> &str {
    match text.split_once(' ') {
        Some(("The" | "the" | "A" | "a", rest)) => behind_verbal_noun(rest),
        Some((first, rest)) if first.len() > 5 && first.ends_with("ing") => rest,
        _ => text,
    }
}

/// Whether a title tells what somebody or something does, and does not only name it: "Why the rope broke".
fn tells(text: &str) -> bool {
    const OPENINGS: [&str; 7] = ["how", "what", "when", "where", "whether", "who", "why"];
    let opening = words(text).next();
    opening.is_some_and(|word| OPENINGS.contains(&word.as_str()))
}

/// "Why the rope broke": small models write so whether or not somebody says why.
fn promises_a_reason(text: &str) -> bool {
    words(text).next().is_some_and(|word| word == "why")
}

/// Whether a content word comes twice.
pub fn repeats(text: &str) -> bool {
    let mut seen = HashSet::new();
    words(text)
        .filter(|word| !is_stopword(word))
        .any(|word| !seen.insert(stem(&word)))
}

/// Whether a title would fit any recording: "Discussion on the meeting".
fn is_generic(text: &str) -> bool {
    const WORDS: &str = " agenda answer answers beginning chapter closing comments conclusion conclusions conversation discussion \
        discussions end general good idea ideas interesting introduction issue issues main meeting new next opening outline overview \
        part point points presentation presentations question questions recap recording remarks section step steps summary talk \
        thing things thoughts topic topics transcript various work ";
    words(text)
        .filter(|word| !is_stopword(word))
        .all(|word| WORDS.contains(&format!(" {word} ")))
}

/// Whether a text stops where more must come: the model ran out of tokens.
fn ends_open(text: &str) -> bool {
    words(text).last().is_none_or(|word| is_stopword(&word))
}

/// The best candidate that is not like a title already taken.
pub fn choose(passage: &Passage, candidates: &[Candidate], taken: &[String]) -> Option<Candidate> {
    let stems = |text: &str| words(text).map(|word| stem(&word)).collect::<HashSet<_>>();
    let taken = taken.iter().map(|title| stems(title)).collect::<Vec<_>>();
    let is_free = |candidate: &Candidate| !taken.contains(&stems(&candidate.text));
    // Two phrases side by side name no topic; they are for want of a title that somebody wrote.
    let written = candidates
        .iter()
        .any(|c| c.form == Form::Written && is_free(c));
    let pairs = if written {
        Vec::new()
    } else {
        pairs(passage, candidates)
    };
    let mut best = candidates
        .iter()
        // A single word is part of a title at most.
        .filter(|candidate| candidate.text.contains(' ') && !is_generic(&candidate.text))
        .chain(&pairs)
        .filter(|candidate| is_free(candidate))
        .max_by(|a, b| score(passage, a).total_cmp(&score(passage, b)))
        .cloned()?;
    best.text = capitalize(&best.text);
    Some(best)
}

/// Of so many of the best phrases, every two are tried together.
const PAIRED: usize = 8;

/// Two short phrases in one title: "the striking train and four o'clock bell". Their embedding is the direction of the
/// sum, which is near that of the joined text, for the encoder's output is a mean over tokens.
fn pairs(passage: &Passage, candidates: &[Candidate]) -> Vec<Candidate> {
    let mut phrases = candidates
        .iter()
        .filter(|c| c.form == Form::Phrase && !c.text.contains(" and "))
        .filter(|c| c.text.split_whitespace().count() <= 3 && !is_generic(&c.text))
        .collect::<Vec<_>>();
    phrases.sort_by(|a, b| score(passage, b).total_cmp(&score(passage, a)));
    phrases.truncate(PAIRED);
    let mut pairs = Vec::new();
    for (i, a) in phrases.iter().enumerate() {
        for b in &phrases[i + 1..] {
            let text = format!("{} and {}", a.text, b.text);
            if text.chars().count() > LONGEST || repeats(&text) {
                continue;
            }
            let sum = a.embedding.iter().zip(&b.embedding).map(|(x, y)| x + y);
            let mut embedding = sum.collect::<Vec<_>>();
            let norm = embedding.iter().map(|x| x * x).sum::<f32>().sqrt();
            embedding
                .iter_mut()
                .for_each(|x| *x /= norm.max(f32::MIN_POSITIVE));
            pairs.push(Candidate {
                text,
                embedding,
                form: Form::Pair,
                worth: (a.worth + b.worth) / 2.,
            });
        }
    }
    pairs
}

/// What the vocabulary of a phrase counts against its meaning.
const VOCABULARY: f32 = 0.1;

/// Two phrases must be this much nearer to the chapter than one.
const PAIR: f32 = 0.08;

/// Two words say less than a title should.
const SHORT: f32 = 0.04;

fn score(passage: &Passage, candidate: &Candidate) -> f32 {
    let form = match candidate.form {
        Form::Written => WRITTEN,
        Form::Phrase if candidate.text.split_whitespace().count() < 3 => -SHORT,
        Form::Phrase => 0.,
        Form::Pair => -PAIR,
    };
    cosine(&candidate.embedding, &passage.focus) + form + VOCABULARY * candidate.worth
}

/// The beginning of a text as a title, cut after a whole word where there is one: for want of anything better.
pub fn cut(text: &str) -> String {
    let text = text.replace(['"', '“', '”', '«', '»'], "");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let most = LONGEST - NUMBER;
    if text.chars().count() <= most {
        return capitalize(text.trim_end_matches(['.', ',', ';', ':', '!', '。']));
    }
    let beginning = text.chars().take(most - 1).collect::<String>();
    let whole = beginning
        .rfind(' ')
        .map_or(&*beginning, |end| &beginning[..end]);
    format!("{}…", capitalize(whole.trim_end_matches([',', ';', ':'])))
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
            (
                "Why the rope broke at Marlock",
                Some("Why the rope broke at Marlock"),
            ),
            ("Why Marlock broke the rope", None),
            ("Rope of the Rope", None),
            ("Discussion on the next meeting", None),
            ("", None),
        ] {
            assert_eq!(tidy(answer, &source(), false).as_deref(), title, "{answer}");
        }
    }

    #[test]
    fn a_small_model_may_begin_with_a_verbal_noun_of_its_own() {
        for (answer, fits) in [
            ("Repairing the rope at Marlock", true),
            ("The breaking of the rope", true),
            ("The annual rope", false),
            ("Why the rope broke at Marlock", false),
            ("The rope repairing at Marlock", false),
        ] {
            assert_eq!(tidy(answer, &source(), true).is_some(), fits, "{answer}");
        }
    }

    #[test]
    fn a_cut_title_ends_with_a_whole_word_and_fits() {
        let title = cut(&"a clock that strikes “hours” ".repeat(10));
        assert!(title.chars().count() <= LONGEST, "{title}");
        assert!(title.starts_with("A clock that strikes hours"));
        assert!(title.ends_with('…'));
        assert_eq!(cut(&"x".repeat(500)).chars().count(), LONGEST - NUMBER);
        assert_eq!(cut("It fell."), "It fell");
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
            form: Form::Phrase,
            worth: 0.,
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

//! Titles: what the model proposes, beside phrases from the text itself; of those the one that is best by its [`signs`].

pub mod signs;

use std::collections::HashSet;

use self::signs::Signs;
use crate::chapters::embed::Embedding;
use crate::chunk::Passage;
use crate::said::Source;
use crate::words::{
    capitalize, content, is_first_or_second_person, is_stopword, stem, without_quotation_marks,
    words,
};

/// Longest title, in characters.
pub const LONGEST: usize = 70;

/// Room left for a number that tells two titles apart.
const NUMBER: usize = 5;

/// The part of a written title's content words that occur in the chapter, at least; names and numbers must all. A small model
/// has no good words of its own, but for what begins a title: "Saving the custom house clock".
const SAID: f32 = 0.7;
const SAID_BY_SMALL: f32 = 1.;
/// Of eight titles of a small model with a single one none was good.
const SMALL_SAYS: usize = 2;

/// A proposal for a title.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub text: String,
    pub embedding: Embedding,
    pub form: Form,
    /// How undecided the model was, in the mean of its answers that are this one; see [`Written::doubt`](crate::summarize::Written::doubt).
    pub doubt: Option<f32>,
    /// The part of its answers that are.
    pub share: f32,
    /// From 0 to 1: how much of the chapter's own vocabulary a phrase is made of.
    pub worth: f32,
    /// How unlikely the model finds it; see [`Written::surprise`](crate::summarize::Written::surprise).
    pub surprise: Option<f32>,
}

/// Where a proposal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The model wrote it.
    Written,
    /// It occurs in the text.
    Phrase,
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
    let text = without_quotation_marks(line);
    let count = text.split_whitespace().count();
    let fits = (2..=9).contains(&count)
        && text.chars().count() <= LONGEST
        && !text.ends_with('?')
        && !is_first_or_second_person(&text)
        && source.invented(&text).is_none()
        && if small {
            let rest = behind_verbal_noun(&text);
            source.words_supported(rest) >= SAID_BY_SMALL && content(&text).count() >= SMALL_SAYS
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

/// The titles among so many answers of the model, each with its doubt, as candidates: what comes several times is one. Not embedded yet.
pub fn written(
    titles: impl Iterator<Item = (String, Option<f32>)>,
    answers: usize,
) -> Vec<Candidate> {
    let mut candidates = Vec::<(Candidate, f32)>::new();
    for (text, doubt) in titles {
        match candidates.iter_mut().find(|(other, _)| other.text == text) {
            Some((other, times)) => {
                let sum = |mean: f32, new: f32| (mean * *times + new) / (*times + 1.);
                other.doubt = other.doubt.zip(doubt).map(|(mean, new)| sum(mean, new));
                *times += 1.;
            }
            None => {
                let candidate = Candidate {
                    text,
                    embedding: Embedding::new(),
                    form: Form::Written,
                    doubt,
                    share: 0.,
                    worth: 0.,
                    surprise: None,
                };
                candidates.push((candidate, 1.));
            }
        }
    }
    let share = |(candidate, times): (Candidate, f32)| Candidate {
        share: times / answers.max(1) as f32,
        ..candidate
    };
    candidates.into_iter().map(share).collect()
}

/// Whether a phrase may be a title: a single word is part of one at most.
pub fn may_be(phrase: &str) -> bool {
    phrase.contains(' ') && !is_generic(phrase)
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
    const WORDS: &str = " afternoon agenda answer answers beginning chapter closing comments conclusion conclusions conversation discussion \
        discussions end evening everybody everyone general good hello idea ideas interesting introduction issue issues main meeting morning new \
        next opening outline overview part point points presentation presentations question questions recap recording remarks section step steps \
        summary talk thing things thanks thoughts topic topics transcript various welcome work ";
    words(text)
        .filter(|word| !is_stopword(word))
        .all(|word| WORDS.contains(&format!(" {word} ")))
}

/// Whether a text stops where more must come: the model ran out of tokens.
fn ends_open(text: &str) -> bool {
    words(text).last().is_none_or(|word| is_stopword(&word))
}

/// The best candidate that is not like a title already taken. A small model's titles compete with phrases of the text; those of a larger one
/// go first.
pub fn choose(
    passage: &Passage,
    candidates: &[Candidate],
    small: bool,
    taken: &[String],
) -> Option<String> {
    let stems = |text: &str| words(text).map(|word| stem(&word)).collect::<HashSet<_>>();
    let taken = taken.iter().map(|title| stems(title)).collect::<Vec<_>>();
    let signs = Signs::new(passage, candidates);
    let rank = |candidate: &Candidate| {
        let first = !small && candidate.form == Form::Written;
        (first, signs.value(candidate))
    };
    let best = candidates
        .iter()
        .filter(|candidate| !taken.contains(&stems(&candidate.text)))
        .map(|candidate| (rank(candidate), candidate))
        .max_by(|((a, x), _), ((b, y), _)| a.cmp(b).then(x.total_cmp(y)))?;
    Some(capitalize(&best.1.text))
}

/// The beginning of a text as a title, cut after a whole word where there is one: for want of anything better.
pub fn cut(text: &str) -> String {
    let text = without_quotation_marks(text);
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
    use crate::transcript::Sentence;

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

    /// A chapter of one sentence, near to which are the candidates told.
    fn chosen(candidates: &[Candidate], small: bool, taken: &[String]) -> Option<String> {
        let sentences = [Sentence {
            text: "The steel rope fell and the old rope broke.".into(),
            ..Sentence::default()
        }];
        let embeddings = [vec![1., 0.]];
        choose(
            &Passage::new(&sentences, &embeddings, 0..1),
            candidates,
            small,
            taken,
        )
    }

    fn candidate(text: &str, form: Form, near: f32) -> Candidate {
        Candidate {
            text: text.into(),
            embedding: vec![near, (1. - near * near).sqrt()],
            form,
            doubt: None,
            share: 0.,
            worth: 0.,
            surprise: None,
        }
    }

    #[test]
    fn a_title_is_taken_once() {
        let candidates = [
            candidate("The rope broke", Form::Phrase, 0.9),
            candidate("A steel rope fell", Form::Phrase, 0.5),
        ];
        let taken = ["The Rope Broke".into()];
        assert_eq!(chosen(&candidates, true, &[]).unwrap(), "The rope broke");
        assert_eq!(
            chosen(&candidates, true, &taken).unwrap(),
            "A steel rope fell"
        );
        assert!(chosen(&candidates[..1], true, &taken).is_none());
    }

    #[test]
    fn phrases_compete_with_what_a_small_model_wrote_only() {
        let doubtful = Candidate {
            doubt: Some(4.),
            ..candidate("The dragon in the tower", Form::Written, 0.1)
        };
        let candidates = [candidate("old rope", Form::Phrase, 0.9), doubtful];
        assert_eq!(chosen(&candidates, true, &[]).unwrap(), "Old rope");
        let written = chosen(&candidates, false, &[]).unwrap();
        assert_eq!(written, "The dragon in the tower");
    }

    #[test]
    fn what_is_written_several_times_is_one_candidate() {
        let answers = [
            ("A rope", Some(0.2)),
            ("A bell", None),
            ("A rope", Some(0.4)),
        ];
        let answers = answers.map(|(text, doubt)| (text.to_string(), doubt));
        let candidates = written(answers.into_iter(), 4);
        let told = candidates.iter().map(|c| (c.text.as_str(), c.share));
        assert!(told.eq([("A rope", 0.5), ("A bell", 0.25)]));
        assert!((candidates[0].doubt.unwrap() - 0.3).abs() < 1e-6);
        assert_eq!(candidates[1].doubt, None);
    }
}

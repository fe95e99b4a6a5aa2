//! The sentences of an answer that are worth checking.

use std::collections::HashSet;

use crate::transcript::{has_stop, split};
use crate::words::{is_first_or_second_person, without_conjunction, words};

/// Longest sentence kept, in words.
const LONGEST: usize = 45;

/// The sentences of an answer that are worth checking: whole, about somebody, not too long, no list, no question.
pub fn claims(answer: &str) -> Vec<String> {
    let first_paragraph = answer.trim().split("\n\n").next().unwrap_or("");
    split(first_paragraph)
        .into_iter()
        .map(|sentence| {
            without_conjunction(&sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .filter(|sentence| {
            let words = sentence.split_whitespace().count();
            has_stop(sentence)
                && !sentence.ends_with(['?', ':'])
                && (4..=LONGEST).contains(&words)
                && !is_first_or_second_person(sentence)
                && !repeats_itself(sentence)
                && !breaks_off(sentence)
        })
        .collect()
}

/// Whether a stop comes after a word that something has to follow, as where speech that broke off is reported: none of these ends a sentence in
/// another language that has the word.
fn breaks_off(sentence: &str) -> bool {
    const OPEN: [&str; 10] = [
        "a", "the", "and", "or", "because", "if", "than", "very", "our", "their",
    ];
    let words = words(sentence).collect::<Vec<_>>();
    let last = words.last().map_or("", String::as_str);
    OPEN.contains(&last) || words.ends_with(&["and".into(), "then".into()])
}

/// Whether some four words in a row come twice, or two of them at once: a small model that has lost its thread goes in circles.
fn repeats_itself(sentence: &str) -> bool {
    let words = words(sentence).collect::<Vec<_>>();
    let mut seen = HashSet::new();
    let stutters = |four: &[String]| four[..2] == four[2..];
    words
        .windows(4)
        .any(|four| stutters(four) || !seen.insert(four))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_sentences_about_somebody_are_claims() {
        let answer = "The clock is old. I like it a lot. Is it not very old? It is the clock of the \
                      clock of the clock of the town. It strikes at midnight at midnight. It stands in the tower and then. \
                      It belongs to the. It was wound by hand until the\n\nNote: ignore this.";
        assert_eq!(claims(answer), ["The clock is old."]);
    }
}

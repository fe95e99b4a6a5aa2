//! Speech as one would write it down: without filled pauses, words said twice and words broken off (Shriberg 1994 calls these disfluencies). A small
//! model repeats them, or makes sense of them that they do not have. English only.

use crate::numbers::is_number;
use crate::words::{capitalize, is_stopword};

const PAUSES: [&str; 8] = ["um", "uh", "uhm", "umm", "erm", "hmm", "mm", "mhm"];

/// Longest run of words that is looked for again right after it.
const LONGEST_REPEAT: usize = 4;

/// A text without its disfluencies; as it is, if nothing else is in it.
pub fn without_disfluencies(text: &str) -> String {
    let mut kept = Vec::<&str>::new();
    for token in text.split_whitespace() {
        if is_pause(token, kept.last().copied()) {
            continue;
        }
        if kept.last().is_some_and(|last| breaks_off(last, token)) {
            kept.pop();
        }
        kept.push(token);
        forget_repeat(&mut kept);
    }
    if kept.is_empty() {
        return text.into();
    }
    let mut fluent = kept.join(" ");
    if text.starts_with(char::is_uppercase) {
        fluent = capitalize(&fluent);
    }
    // A pause may have carried the stop.
    if let Some(stop) = text.chars().last().filter(|c| ".!?".contains(*c))
        && !fluent.ends_with(['.', '!', '?', '"', '”'])
    {
        fluent = format!("{}{stop}", fluent.trim_end_matches([',', ';']));
    }
    fluent
}

fn bare(token: &str) -> String {
    token
        .trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

/// "5 mm" is none.
fn is_pause(token: &str, before: Option<&str>) -> bool {
    let word = bare(token);
    let counted = before.is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit()));
    PAUSES.contains(&word.as_str()) && !(counted && word == "mm")
}

fn ends_sentence(token: &str) -> bool {
    token.ends_with(['.', '!', '?', '…'])
}

/// Whether a word is the beginning of the next, and none itself: "th the", "b because".
fn breaks_off(token: &str, next: &str) -> bool {
    let (word, next) = (bare(token), bare(next));
    let has_vowel = word.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    let is_short = match word.chars().count() {
        1 | 2 => true,
        3 => !has_vowel,
        _ => false,
    };
    is_short
        && word.len() < next.len()
        && next.starts_with(&word)
        && word.chars().all(char::is_alphabetic)
        && !token.contains(char::is_uppercase)
        && !is_stopword(&word)
}

/// Drops the last words if the same ones stand right before them.
fn forget_repeat(kept: &mut Vec<&str>) {
    for length in (1..=LONGEST_REPEAT.min(kept.len() / 2)).rev() {
        let (before, last) = kept[kept.len() - 2 * length..].split_at(length);
        let same = before.iter().zip(last).all(|(a, b)| bare(a) == bare(b));
        let meant = length == 1 && is_doubled_on_purpose(&bare(last[0]));
        let within = before.iter().all(|token| !ends_sentence(token));
        if same && within && !meant && last.iter().all(|token| !bare(token).is_empty()) {
            // The later ones carry what follows: a comma, the stop.
            let first = kept.len() - 2 * length;
            kept.drain(first..first + length);
            return;
        }
    }
}

fn is_doubled_on_purpose(word: &str) -> bool {
    ["that", "had", "very", "really", "no", "so", "is", "bye"].contains(&word)
        || is_number(word)
        || word.chars().any(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_repeats_and_fragments_go() {
        for (said, written) in [
            ("Um, we should uh keep it.", "We should keep it."),
            ("It it was, it was the the tower.", "It was the tower."),
            (
                "We went to th the wh what was it tower.",
                "We went to the what was it tower.",
            ),
            ("I think we like that, um.", "I think we like that."),
            (
                "because we have to, we have to wait",
                "because we have to wait",
            ),
        ] {
            assert_eq!(without_disfluencies(said), written);
        }
    }

    #[test]
    fn what_is_meant_stays() {
        for said in [
            "The gap of 5 mm is very very small.",
            "He had had that that day. That day was long.",
            "Dial two two one one.",
            "No. No, I go going by car.",
            "So some of it came in into the an another.",
            "A B. A B C.",
            "Um.",
            "",
        ] {
            assert_eq!(without_disfluencies(said), said);
        }
    }
}

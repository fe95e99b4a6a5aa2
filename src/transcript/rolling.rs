//! Rolling captions, as YouTube writes them: each cue repeats the line before and adds one, so that only about a third of
//! the words in the file are new. Repeated words are dropped, and the cue keeps its new ones, perhaps none.

use super::Cue;

/// Fewer cues that repeat the cue before are no pattern.
const MIN_ROLLED: usize = 6;

/// So many of them must go on after what they repeat; a refrain or a stuck recogniser repeats whole cues.
const MIN_GROWN: usize = 3;

/// Longest repetition that is looked for, in words; no caption shows more at once.
const MAX_OVERLAP: usize = 100;

/// Drops repeated words if the file has the pattern. Lines of a text are still separated by `\n`.
pub(super) fn unroll(cues: &mut [Cue]) {
    if !is_rolling(cues) {
        return;
    }
    let mut before = String::new();
    for cue in cues.iter_mut().filter(|cue| !cue.text.is_empty()) {
        let overlap = overlap(&before, &cue.text);
        let is_repetition =
            overlap >= 2 || (overlap == 1 && begins_with_last_line(&before, &cue.text));
        let kept = if is_repetition {
            without_words(&cue.text, overlap)
        } else {
            cue.text.clone()
        };
        before = std::mem::replace(&mut cue.text, kept);
    }
}

/// At least half of the neighbouring cues overlap, by more than one word said again and again ("no, no, no").
fn is_rolling(cues: &[Cue]) -> bool {
    let texts: Vec<&str> = cues
        .iter()
        .map(|cue| cue.text.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    let (mut rolled, mut grown) = (0, 0);
    for pair in texts.windows(2) {
        let overlap = overlap(pair[0], pair[1]);
        if has_two_words(pair[1], overlap) {
            rolled += 1;
            grown += usize::from(pair[1].split_whitespace().nth(overlap).is_some());
        }
    }
    rolled >= MIN_ROLLED && rolled * 2 >= texts.len() - 1 && grown >= MIN_GROWN
}

/// The number of words at the end of `before` that `text` begins with.
fn overlap(before: &str, text: &str) -> usize {
    let mut tail: Vec<&str> = before.split_whitespace().rev().take(MAX_OVERLAP).collect();
    tail.reverse();
    let head: Vec<&str> = text.split_whitespace().take(MAX_OVERLAP).collect();
    let longest = tail.len().min(head.len());
    (1..=longest)
        .rev()
        .find(|&n| tail[tail.len() - n..] == head[..n])
        .unwrap_or(0)
}

/// Whether the first `count` words are not all the same.
fn has_two_words(text: &str, count: usize) -> bool {
    let mut words = text.split_whitespace().take(count);
    words
        .next()
        .is_some_and(|first| words.any(|word| word != first))
}

/// A line of a single word is a repetition too, if it was a line of its own before.
fn begins_with_last_line(before: &str, text: &str) -> bool {
    before.lines().last() == text.lines().next()
}

fn without_words(text: &str, count: usize) -> String {
    let mut rest = text.trim_start();
    for _ in 0..count {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = rest[end..].trim_start();
    }
    rest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unrolled(texts: &[&str]) -> Vec<String> {
        let cue = |text: &&str| Cue {
            text: text.to_string(),
            ..Cue::default()
        };
        let mut cues: Vec<Cue> = texts.iter().map(cue).collect();
        unroll(&mut cues);
        cues.into_iter().map(|cue| cue.text).collect()
    }

    #[test]
    fn every_word_of_rolling_captions_comes_once() {
        let rolling = [
            "so today we",
            "so today we",
            "so today we\nwill talk about",
            "will talk about",
            "will talk about\nbread",
            "bread",
            "bread\nand how to",
            "and how to\nbake it it",
            "bake it it\nit is easy",
        ];
        let expected = [
            "so today we",
            "",
            "will talk about",
            "",
            "bread",
            "",
            "and how to",
            "bake it it",
            "it is easy",
        ];
        assert_eq!(unrolled(&rolling), expected);
    }

    #[test]
    fn people_who_repeat_themselves_are_left_alone() {
        let no = [
            "no",
            "no, no",
            "no no no",
            "no no no",
            "no no no no",
            "no no",
            "no no no",
            "no no",
            "no",
        ];
        assert_eq!(unrolled(&no), no);
        let stuck = ["Thank you."; 12];
        assert_eq!(unrolled(&stuck), stuck);
        let few = ["a b", "a b c", "c d", "e", "f", "g", "h", "i", "j", "k"];
        assert_eq!(unrolled(&few), few);
    }
}

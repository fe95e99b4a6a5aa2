//! Sentences of about one length, each with the range of cues it touches: the units in which chapters are found.
//!
//! The cues of one speaker are joined and cut where sentences end. Where a file has hardly any punctuation, pauses and cue
//! boundaries take its place. Whatever is still too long is cut at commas.

use std::ops::Range;

use super::ends::{self, Token};
use super::{Cue, Transcript};

/// Words per sentence end, above which a file counts as unpunctuated.
const MAX_WORDS_PER_END: usize = 60;

/// Longest sentence, and the shortest piece of one that is cut, in words.
const MAX_WORDS: usize = 60;
const MIN_PIECE: usize = 25;

/// A longer silence ends an unpunctuated sentence of at least `MIN_BEFORE_PAUSE` words; in seconds.
const PAUSE: f64 = 0.7;
const MIN_BEFORE_PAUSE: usize = 8;

/// Unpunctuated sentences end at a cue boundary between these numbers of words.
const UNPUNCTUATED: Range<usize> = 15..25;

/// A sentence, or a piece of one that is very long or never ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sentence {
    /// Words separated by single spaces; never empty.
    pub text: String,
    pub speaker: Option<String>,
    /// Index of the first cue that words of the sentence are from.
    pub first_cue: usize,
    /// Index of the last such cue.
    pub last_cue: usize,
    /// Start of the first cue, in seconds; the sentence itself may begin later.
    pub start: Option<f64>,
    /// End of the last cue, in seconds.
    pub end: Option<f64>,
}

/// Letters of a longer word count as several words, so that text without spaces does not make endless sentences.
const MAX_LETTERS: usize = 20;

#[derive(Clone, Copy)]
struct Word<'a> {
    token: Token<'a>,
    cue: usize,
    /// How many words this counts as: more than one in text without spaces.
    size: usize,
}

/// Divides a transcript into sentences, in order. Each word of each cue is in exactly one of them.
pub fn sentences(transcript: &Transcript) -> Vec<Sentence> {
    let cues = &transcript.cues;
    let runs = speaker_runs(cues);
    let is_punctuated = ends_sentences(&runs);
    let mut sentences = Vec::new();
    for run in &runs {
        for sentence in split_at_ends(run) {
            let pieces = if is_punctuated {
                vec![sentence]
            } else {
                split_at_pauses(sentence, cues)
            };
            let pieces = pieces.into_iter().flat_map(split_long);
            sentences.extend(pieces.map(|piece| join(piece, cues)));
        }
    }
    sentences
}

/// The words of neighbouring cues of one speaker, together.
fn speaker_runs(cues: &[Cue]) -> Vec<Vec<Word<'_>>> {
    let mut runs: Vec<Vec<Word>> = Vec::new();
    for (index, cue) in cues.iter().enumerate() {
        let words = ends::tokens(&cue.text).into_iter().map(|token| Word {
            token,
            cue: index,
            size: size(token.text),
        });
        match runs.last_mut() {
            Some(run)
                if run
                    .last()
                    .is_none_or(|word| cues[word.cue].speaker == cue.speaker) =>
            {
                run.extend(words);
            }
            _ => runs.push(words.collect()),
        }
    }
    runs
}

/// Two characters of Chinese or Japanese make about one word, and 20 letters of other scripts are more than one.
fn size(text: &str) -> usize {
    let is_wide = |c: &char| matches!(*c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}');
    let wide = text.chars().filter(is_wide).count();
    let narrow = text.chars().count() - wide;
    (wide / 2 + narrow / MAX_LETTERS).max(1)
}

fn total(words: &[Word]) -> usize {
    words.iter().map(|word| word.size).sum()
}

/// Whether punctuation says where sentences end; where it does not, they are cut between cues.
fn ends_sentences(runs: &[Vec<Word>]) -> bool {
    let ends: usize = runs
        .iter()
        .map(|run| (0..run.len()).filter(|&at| ends_at(run, at, false)).count())
        .sum();
    let words: usize = runs.iter().map(|run| total(run)).sum();
    ends * MAX_WORDS_PER_END >= words
}

fn ends_at(run: &[Word], at: usize, is_first: bool) -> bool {
    ends::ends_sentence(
        run[at].token.text,
        run.get(at + 1).map(|word| &word.token),
        is_first,
    )
}

fn split_at_ends<'a, 'b>(run: &'b [Word<'a>]) -> Vec<&'b [Word<'a>]> {
    let mut sentences = Vec::new();
    let mut begin = 0;
    for at in 0..run.len() {
        if at + 1 == run.len() || ends_at(run, at, at == begin) {
            sentences.push(&run[begin..=at]);
            begin = at + 1;
        }
    }
    sentences
}

/// Cuts between cues, where the speaker pauses or the piece is long enough.
fn split_at_pauses<'a, 'b>(words: &'b [Word<'a>], cues: &[Cue]) -> Vec<&'b [Word<'a>]> {
    let mut pieces = Vec::new();
    let (mut begin, mut at, mut so_far) = (0, 0, 0);
    for group in words.chunk_by(|a, b| a.cue == b.cue) {
        let added = total(group);
        if at > begin && ends_before(group[0].cue, words[at - 1].cue, so_far, added, cues) {
            pieces.push(&words[begin..at]);
            (begin, so_far) = (at, 0);
        }
        at += group.len();
        so_far += added;
    }
    pieces.push(&words[begin..]);
    pieces
}

/// Whether a piece of `so_far` words up to cue `last` ends there, or takes in the `added` words of cue `next`.
fn ends_before(next: usize, last: usize, so_far: usize, added: usize, cues: &[Cue]) -> bool {
    let is_pause = match (cues[last].end, cues[next].start) {
        (Some(end), Some(start)) => start - end > PAUSE,
        _ => false,
    };
    let would_be_long = so_far + added > UNPUNCTUATED.end;
    so_far >= UNPUNCTUATED.start || (so_far >= MIN_BEFORE_PAUSE && (is_pause || would_be_long))
}

/// Cuts a sentence of more than 60 words into pieces of about equal size.
fn split_long<'a, 'b>(sentence: &'b [Word<'a>]) -> Vec<&'b [Word<'a>]> {
    let mut pieces = Vec::new();
    let mut rest = sentence;
    let mut left = total(rest);
    while left > MAX_WORDS && rest.len() > 1 {
        let cut = best_cut(rest, left);
        let (piece, after) = rest.split_at(cut);
        left -= total(piece);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The number of words before the best place to cut: near the middle of the allowed range, rather after a semicolon than
/// after a comma, rather there than between cues, and only if nothing else is to be had between any two words.
fn best_cut(words: &[Word], total: usize) -> usize {
    let pieces = total.div_ceil((MIN_PIECE + MAX_WORDS) / 2);
    let target = total / pieces.max(2);
    let latest = MAX_WORDS.min(total - MIN_PIECE);
    let mut best: Option<(usize, usize)> = None;
    let mut size = 0;
    for at in 1..words.len() {
        size += words[at - 1].size;
        if size > latest {
            break;
        }
        if size >= MIN_PIECE {
            let cost = size.abs_diff(target) + cut_cost(&words[at - 1], &words[at]);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, at));
            }
        }
    }
    best.map_or(1, |(_, at)| at)
}

/// How bad a cut between two words is, in words of distance from the target.
fn cut_cost(word: &Word, next: &Word) -> usize {
    let text = word.token.text;
    if text.ends_with([';', ':', '；', '—', '–']) {
        0
    } else if text.ends_with([',', '，', '、']) {
        5
    } else if word.cue != next.cue {
        10
    } else {
        MAX_WORDS
    }
}

fn join(words: &[Word], cues: &[Cue]) -> Sentence {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !word.token.is_glued {
            text.push(' ');
        }
        text.push_str(word.token.text);
    }
    // Pieces are never empty: every cut leaves at least one word on either side.
    let (first_cue, last_cue) = (words[0].cue, words[words.len() - 1].cue);
    Sentence {
        text,
        speaker: cues[first_cue].speaker.clone(),
        first_cue,
        last_cue,
        start: cues[first_cue].start,
        end: cues[last_cue].end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Format;

    /// Cues of one second each; a text that begins with `|` comes after a pause, `A: ` names its speaker.
    fn transcript(texts: &[&str]) -> Transcript {
        let mut now = 0.0;
        let mut cues = Vec::new();
        for text in texts {
            now += if text.starts_with('|') { 2.0 } else { 0.0 };
            let text = text.trim_start_matches('|');
            let (speaker, text) = text
                .split_once(": ")
                .map_or((None, text), |(name, text)| (Some(name), text));
            let speaker = speaker.map(String::from);
            cues.push(Cue {
                start: Some(now),
                end: Some(now + 1.0),
                speaker,
                text: text.to_string(),
            });
            now += 1.0;
        }
        Transcript {
            path: "-".to_string(),
            format: Format::Txt,
            cues,
        }
    }

    fn texts(cues: &[&str]) -> Vec<String> {
        sentences(&transcript(cues))
            .into_iter()
            .map(|sentence| sentence.text)
            .collect()
    }

    fn sizes(cues: &[&str]) -> Vec<usize> {
        texts(cues)
            .iter()
            .map(|text| text.split_whitespace().count())
            .collect()
    }

    fn words(count: usize) -> String {
        vec!["word"; count].join(" ")
    }

    #[test]
    fn a_sentence_keeps_the_cues_it_touches() {
        let found = sentences(&transcript(&["One two", "", "three. Four", "five."]));
        let ranges: Vec<_> = found
            .iter()
            .map(|s| (s.text.as_str(), s.first_cue, s.last_cue, s.start, s.end))
            .collect();
        assert_eq!(
            ranges,
            [
                ("One two three.", 0, 2, Some(0.0), Some(3.0)),
                ("Four five.", 2, 3, Some(2.0), Some(4.0))
            ]
        );
    }

    #[test]
    fn a_change_of_speaker_ends_a_sentence() {
        assert_eq!(
            texts(&["A: I think", "A: so", "B: Wait.", "A: that"]),
            ["I think so", "Wait.", "that"]
        );
    }

    #[test]
    fn wide_scripts_are_split_inside_words() {
        assert_eq!(
            texts(&["你好。我们走", "吧！好的"]),
            ["你好。", "我们走 吧！", "好的"]
        );
        let long = "字".repeat(20) + "，";
        assert!(texts(&[&(long.repeat(20) + "。")]).len() >= 3);
    }

    #[test]
    fn without_punctuation_pauses_and_length_decide() {
        let (six, nine) = (words(6), words(9));
        let paused = format!("|{six}");
        assert_eq!(sizes(&[&nine, &paused, &paused, &six]), [9, 18]);
        assert_eq!(sizes(&[&six, &nine, &nine, &nine, &six]), [15, 18, 6]);
        assert_eq!(sizes(&[&words(14), &words(14), &words(14)]), [14, 14, 14]);
        assert_eq!(sizes(&[&words(170)]).iter().max(), Some(&34));
    }

    #[test]
    fn long_sentences_are_cut_at_commas() {
        let clause = words(12) + ", ";
        let long = clause.repeat(10) + "end.";
        let sizes = sizes(&[&long]);
        assert_eq!(sizes, [36, 36, 49]);
        let semicolon = format!("{}; {} end.", words(28), words(40));
        assert_eq!(texts(&[&semicolon])[0].split_whitespace().count(), 28);
    }

    #[test]
    fn pieces_of_long_sentences_have_25_to_60_words() {
        for count in 61..400 {
            let text = format!("{} end.", words(count - 1));
            let sizes = sizes(&["Yes.", "No.", "Yes.", "No.", "Yes.", "No.", "Yes.", &text]);
            assert!(
                sizes[7..]
                    .iter()
                    .all(|size| (MIN_PIECE..=MAX_WORDS).contains(size)),
                "{count}: {sizes:?}"
            );
        }
    }
}

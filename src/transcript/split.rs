//! Splits long cues of plain text, so that a chapter can begin inside them.

use super::source::PlacedCue;
use super::{Cue, ends};

/// Longest cue, in bytes.
const MAX_CUE: usize = 1000;

/// A sentence end is the place to cut only if it leaves a cue of this size, in bytes.
const MIN_CUE: usize = 300;

/// The cue, or the pieces of a long one; all of them keep its times, the only ones known.
pub(super) fn split_long(placed: PlacedCue) -> Vec<PlacedCue> {
    if placed.cue.text.len() <= MAX_CUE {
        return vec![placed];
    }
    let text = &placed.cue.text;
    let sentence_ends = ends::offsets(text);
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let end = piece_end(text, begin, &sentence_ends);
        let cue = Cue {
            text: text[begin..end].trim().to_string(),
            speaker: placed.cue.speaker.clone(),
            ..placed.cue
        };
        pieces.push(PlacedCue {
            place: placed.place.clone(),
            cue,
        });
        begin = end;
    }
    pieces
}

/// The last sentence end before the limit, else the last space, else the limit itself.
fn piece_end(text: &str, begin: usize, sentence_ends: &[usize]) -> usize {
    if text.len() - begin <= MAX_CUE {
        return text.len();
    }
    let limit = char_boundary(text, begin + MAX_CUE);
    let before_limit = sentence_ends.partition_point(|&end| end <= limit);
    let sentence_end = sentence_ends[..before_limit]
        .last()
        .copied()
        .filter(|&end| end >= begin + MIN_CUE);
    let space = || {
        text[begin..limit]
            .rfind(char::is_whitespace)
            .map(|at| begin + at)
            .filter(|&at| at > begin)
    };
    sentence_end.or_else(space).unwrap_or(limit)
}

fn char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::transcript::source::Place;

    fn pieces(text: &str) -> Vec<Cue> {
        let cue = Cue {
            start: Some(1.0),
            end: Some(9.0),
            speaker: None,
            text: text.to_string(),
        };
        let placed = PlacedCue {
            place: Place::Line(1),
            cue,
        };
        split_long(placed)
            .into_iter()
            .map(|placed| placed.cue)
            .collect()
    }

    #[test]
    fn long_cues_are_cut_at_sentence_ends() {
        let pieces = pieces(&"This is a sentence of forty characters. ".repeat(100));
        assert_eq!(pieces.len(), 5);
        for Cue {
            start, end, text, ..
        } in pieces
        {
            assert!(text.len() <= MAX_CUE && text.ends_with('.'));
            assert_eq!((start, end), (Some(1.0), Some(9.0)));
        }
    }

    #[test]
    fn without_sentences_cues_are_cut_between_words() {
        let words = pieces(&"word ".repeat(500))
            .iter()
            .map(|cue| cue.text.split(' ').count())
            .sum::<usize>();
        assert_eq!(words, 500);
    }

    #[test]
    fn megabytes_are_cut_in_linear_time() {
        for unit in ["x", "é", "word ", "好。", "A. ", "\"", "."] {
            let text = unit.repeat(3_000_000 / unit.len());
            let began = Instant::now();
            assert!(pieces(&text).len() >= 3000, "{unit}");
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{unit}: {:?}",
                began.elapsed()
            );
        }
    }
}

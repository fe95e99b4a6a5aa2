//! Sentences to chapters: embed, decide how many, cut, and lay the cuts on cues.

pub mod decode;
pub mod embed;

use std::ops::Range;

use anyhow::{Result, ensure};

use self::decode::Unit;
use self::embed::Embedding;
use crate::transcript::{Sentence, Transcript};

/// A run of cues about one thing. The chapters of a document cover all its cues, in order, without overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct Chapter {
    /// Cues count from 0 in the order of the file; both ends belong to the chapter.
    pub first_cue: usize,
    pub last_cue: usize,
    /// Indices of the sentences that begin in the chapter.
    pub sentences: Range<usize>,
    /// Seconds, copied from the first cue.
    pub start: Option<f64>,
    /// Seconds, copied from the cue that ends last.
    pub end: Option<f64>,
}

/// How many chapters are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Count {
    /// As many as suit the length.
    #[default]
    Auto,
    Exactly(usize),
    /// So many that one lasts about this many minutes.
    Minutes(f64),
}

/// Words a minute of speech, where the transcript has no times.
const WORDS_PER_MINUTE: f64 = 150.;

/// Finds the chapters of a transcript from the embeddings of its sentences.
pub fn find(
    transcript: &Transcript,
    sentences: &[Sentence],
    embeddings: &[Embedding],
    count: Count,
) -> Result<Vec<Chapter>> {
    let (units, firsts) = units(sentences, embeddings);
    let words = sentences.iter().map(words).sum::<usize>();
    let count = match count {
        Count::Auto => suitable(words),
        Count::Exactly(count) => {
            ensure!(
                count <= units.len(),
                "{}: --chapters {count} is more than the {} places where a chapter can begin; ask for fewer",
                transcript.path,
                units.len()
            );
            count
        }
        Count::Minutes(minutes) => {
            let length = transcript
                .duration()
                .map_or(words as f64 / WORDS_PER_MINUTE, |seconds| seconds / 60.);
            ((length / minutes).round() as usize).max(1)
        }
    };
    let starts = decode::segment(&units, count);
    let first_sentences = starts.iter().map(|&unit| firsts[unit]).collect::<Vec<_>>();
    Ok(on_cues(transcript, sentences, &first_sentences))
}

/// How many chapters suit a text of so many words: about 6 for 1,000 words, 10 for 5,000, 12 for an hour of speech.
///
/// Fitted on human chapter lists by `scripts/fit_chapter_count.py`, which prints what other curves would cost: among
/// people the number hardly grows with the length, and differs by a factor of 1.6 for the same length.
pub fn suitable(words: usize) -> usize {
    let fitted = 10. * (words as f64 / 5000.).powf(0.3);
    (fitted.round() as usize).min(words / 150).max(1)
}

/// The places where a chapter can begin: sentences that begin in the same cue belong together.
/// Returns their vectors and, for each, its first sentence.
fn units(sentences: &[Sentence], embeddings: &[Embedding]) -> (Vec<Unit>, Vec<usize>) {
    let mut firsts = Vec::new();
    for (i, sentence) in sentences.iter().enumerate() {
        if i == 0 || sentence.first_cue > sentences[i - 1].first_cue {
            firsts.push(i);
        }
    }
    let ends = firsts.iter().skip(1).copied().chain([sentences.len()]);
    let units = firsts.iter().zip(ends).map(|(&first, end)| {
        let weight = sentences[first..end].iter().map(words).sum::<usize>() as f32;
        let mut vector = vec![0.; embeddings[first].len()];
        for i in first..end {
            let share = words(&sentences[i]) as f32 / weight.max(1.);
            for (sum, x) in vector.iter_mut().zip(&embeddings[i]) {
                *sum += share * x;
            }
        }
        Unit {
            vector,
            weight,
            begins_turn: first > 0 && sentences[first].speaker != sentences[first - 1].speaker,
        }
    });
    (units.collect(), firsts)
}

fn words(sentence: &Sentence) -> usize {
    sentence.text.split_whitespace().count()
}

/// Chapters that begin with the given sentences. A cue in which one chapter ends and the next begins belongs to the
/// next: nobody who jumps there shall miss its first words. Cues before the first sentence belong to the first.
fn on_cues(transcript: &Transcript, sentences: &[Sentence], firsts: &[usize]) -> Vec<Chapter> {
    let cues = &transcript.cues;
    let begin = |k: usize| match k {
        0 => 0,
        _ => sentences[firsts[k]].first_cue,
    };
    (0..firsts.len())
        .map(|k| {
            let last = k + 1 == firsts.len();
            let after = if last { cues.len() } else { begin(k + 1) };
            let own = begin(k)..after;
            Chapter {
                first_cue: own.start,
                last_cue: own.end.saturating_sub(1),
                sentences: firsts[k]..if last { sentences.len() } else { firsts[k + 1] },
                start: cues[own.start].start,
                end: cues[own]
                    .iter()
                    .filter_map(|cue| cue.end.or(cue.start))
                    .reduce(f64::max),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{Cue, Format};

    fn talk(texts: &[&str]) -> Transcript {
        let cues = texts.iter().enumerate().map(|(i, text)| Cue {
            start: Some(i as f64 * 10.),
            end: Some(i as f64 * 10. + 9.),
            speaker: None,
            text: (*text).into(),
        });
        Transcript {
            path: "talk.vtt".into(),
            format: Format::Vtt,
            cues: cues.collect(),
        }
    }

    fn sentence(first_cue: usize, last_cue: usize) -> Sentence {
        Sentence {
            text: "some words are said here".into(),
            first_cue,
            last_cue,
            ..Sentence::default()
        }
    }

    fn vectors(values: &[f32]) -> Vec<Embedding> {
        values.iter().map(|&x| vec![x, 1. - x]).collect()
    }

    #[test]
    fn every_cue_lies_in_one_chapter_and_starts_are_cue_starts() {
        let talk = talk(&["", "a", "b", "c", "d", ""]);
        let sentences = [sentence(1, 1), sentence(2, 3), sentence(3, 4)];
        let embeddings = vectors(&[0., 0., 1.]);
        let chapters = find(&talk, &sentences, &embeddings, Count::Exactly(2)).unwrap();
        let ranges = chapters.iter().map(|c| (c.first_cue, c.last_cue));
        assert_eq!(ranges.collect::<Vec<_>>(), [(0, 2), (3, 5)]);
        assert_eq!(chapters[1].start, Some(30.));
        assert_eq!(chapters[0].end, Some(29.));
        assert_eq!(chapters[1].sentences, 2..3);
    }

    #[test]
    fn a_chapter_never_begins_inside_a_cue() {
        let talk = talk(&["a b", "c d"]);
        let sentences = [sentence(0, 0), sentence(0, 0), sentence(1, 1)];
        let error = find(
            &talk,
            &sentences,
            &vectors(&[0., 1., 1.]),
            Count::Exactly(3),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("--chapters 3 is more than the 2 places"),
            "{error}"
        );
    }

    #[test]
    fn the_number_of_chapters_grows_slowly_with_length() {
        let lengths = [0, 100, 400, 1000, 5000, 9000, 90_000];
        assert_eq!(lengths.map(suitable), [1, 1, 2, 6, 10, 12, 24]);
    }

    #[test]
    fn minutes_ask_for_chapters_of_that_length() {
        let talk = talk(&["a", "b", "c", "d", "e", "f"]);
        let sentences = (0..6).map(|i| sentence(i, i)).collect::<Vec<_>>();
        let embeddings = vectors(&[0., 0., 0.5, 0.5, 1., 1.]);
        let chapters = find(&talk, &sentences, &embeddings, Count::Minutes(1. / 3.)).unwrap();
        assert_eq!(chapters.len(), 3);
    }
}

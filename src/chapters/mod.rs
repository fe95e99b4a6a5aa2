//! Sentences to chapters: embed, decide how many, cut, and lay the cuts on cues.

pub mod boundary;
pub mod decode;
pub mod embed;
pub mod expected;
pub mod lexical;
pub mod posterior;
pub mod reread;
pub mod signs;

use std::ops::Range;

use anyhow::{Result, ensure};

use self::boundary::Boundaries;
use self::decode::Unit;
use self::embed::Embedding;
use self::lexical::Terms;
use self::signs::signs;
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
    /// The topics inside, of which it consists; empty where one level is wanted, or there is one topic only.
    pub topics: Vec<Chapter>,
}

/// Whether chapters only are wanted, or the topics inside them, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Levels {
    #[default]
    One,
    Two,
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

/// Finds the chapters of a transcript from the embeddings of its sentences. `boundaries` reads those, if it was trained on such.
pub fn find(
    transcript: &Transcript,
    sentences: &[Sentence],
    embeddings: &[Embedding],
    boundaries: Option<&Boundaries>,
    asked: Count,
    levels: Levels,
) -> Result<Vec<Chapter>> {
    let words = sentences.iter().map(words).sum::<usize>();
    let count = match asked {
        Count::Auto => suitable(words),
        Count::Exactly(count) => count,
        Count::Minutes(minutes) => {
            let length = transcript
                .duration()
                .map_or(words as f64 / WORDS_PER_MINUTE, |seconds| seconds / 60.);
            ((length / minutes).round() as usize).max(1)
        }
    };
    let Places { units, firsts, .. } = Places::new(sentences, embeddings, boundaries, count)?;
    if let Count::Exactly(count) = asked {
        ensure!(
            count <= units.len(),
            "{}: --chapters {count} is more than the {} places where a chapter can begin; ask for fewer",
            transcript.path,
            units.len()
        );
    }
    let starts = decode::segment(&units, count);
    let on_cues = |starts: &[usize]| {
        let first_sentences = starts.iter().map(|&unit| firsts[unit]);
        on_cues(transcript, sentences, &first_sentences.collect::<Vec<_>>())
    };
    let mut chapters = on_cues(&starts);
    if levels == Levels::Two {
        let topics = on_cues(&topics(&units, &starts));
        for chapter in &mut chapters {
            let inside = |topic: &&Chapter| chapter.sentences.contains(&topic.sentences.start);
            let own = topics.iter().filter(inside).cloned().collect::<Vec<_>>();
            if own.len() > 1 {
                chapter.topics = own;
            }
        }
    }
    Ok(chapters)
}

/// Words of a topic: the five recorded standups that people have divided on both levels have 60 to 220.
const TOPIC_WORDS: f32 = 200.;
const MOST_TOPICS: usize = 8;

/// The units with which topics begin, those with which chapters do among them.
fn topics(units: &[Unit], starts: &[usize]) -> Vec<usize> {
    let ends = starts.iter().skip(1).copied().chain([units.len()]);
    let inside = starts.iter().zip(ends).flat_map(|(&start, end)| {
        let own = &units[start..end];
        let words = own.iter().map(|unit| unit.weight).sum::<f32>();
        let count = (words / TOPIC_WORDS).round() as usize;
        let cuts = decode::segment(own, count.clamp(1, MOST_TOPICS));
        cuts.into_iter().map(move |cut| start + cut)
    });
    inside.collect()
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
pub struct Places {
    /// What is between one place and the next.
    pub units: Vec<Unit>,
    /// The first sentence of each.
    pub firsts: Vec<usize>,
    /// What the boundary model read of each: the first sentence's embedding, and its signs.
    pub embeddings: Vec<Embedding>,
    pub signs: Vec<[f32; signs::COUNT]>,
}

impl Places {
    /// One for each cue in which a sentence begins. `chapters` are wanted.
    pub fn new(
        sentences: &[Sentence],
        embeddings: &[Embedding],
        boundaries: Option<&Boundaries>,
        chapters: usize,
    ) -> Result<Self> {
        let begins = |&i: &usize| i == 0 || sentences[i].first_cue > sentences[i - 1].first_cue;
        let firsts = (0..sentences.len()).filter(begins).collect::<Vec<_>>();
        let terms = Terms::new(sentences);
        let signs = signs(sentences, embeddings, &terms, &firsts, chapters);
        let own = firsts.iter().map(|&first| embeddings[first].clone());
        let own = own.collect::<Vec<_>>();
        let scores = match boundaries {
            Some(boundaries) => boundaries.of_places(sentences, &firsts, &own, &signs)?,
            None => vec![0.; firsts.len()],
        };
        let ends = firsts.iter().skip(1).copied().chain([sentences.len()]);
        let units = firsts.iter().zip(ends).zip(scores);
        let units = units.map(|((&first, end), score)| Unit {
            score,
            terms: terms.of(first, end).to_vec(),
            ..unit(sentences, embeddings, first..end)
        });
        Ok(Self {
            units: units.collect(),
            firsts,
            embeddings: own,
            signs,
        })
    }
}

/// Some sentences in one, with their mean vector.
fn unit(sentences: &[Sentence], embeddings: &[Embedding], own: Range<usize>) -> Unit {
    let first = own.start;
    let weight = sentences[own.clone()].iter().map(words).sum::<usize>() as f32;
    let mut vector = vec![0.; embeddings[first].len()];
    for i in own {
        let share = words(&sentences[i]) as f32 / weight.max(1.);
        for (sum, x) in vector.iter_mut().zip(&embeddings[i]) {
            *sum += share * x;
        }
    }
    Unit {
        vector,
        weight,
        begins_turn: first > 0 && sentences[first].speaker != sentences[first - 1].speaker,
        terms: Vec::new(),
        score: 0.,
    }
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
                topics: Vec::new(),
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

    /// So many chapters of sentences that lie on a line.
    fn cut(
        talk: &Transcript,
        sentences: &[Sentence],
        values: &[f32],
        count: usize,
        levels: Levels,
    ) -> Vec<Chapter> {
        let count = Count::Exactly(count);
        find(talk, sentences, &vectors(values), None, count, levels).unwrap()
    }

    #[test]
    fn every_cue_lies_in_one_chapter_and_starts_are_cue_starts() {
        let talk = talk(&["", "a", "b", "c", "d", ""]);
        let sentences = [sentence(1, 1), sentence(2, 3), sentence(3, 4)];
        let chapters = cut(&talk, &sentences, &[0., 0., 1.], 2, Levels::One);
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
            None,
            Count::Exactly(3),
            Levels::One,
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("--chapters 3 is more than the 2 places"),
            "{error}"
        );
    }

    #[test]
    fn chapters_consist_of_their_topics() {
        let text = "word ".repeat(50);
        let talk = talk(&[&text[..]; 16]);
        let long = |i: usize| Sentence {
            text: text.clone(),
            ..sentence(i, i)
        };
        let sentences = (0..16).map(long).collect::<Vec<_>>();
        let values = [0., 0.2, 0.8, 1.].map(|x| [x; 4]).concat();
        let chapters = cut(&talk, &sentences, &values, 2, Levels::Two);
        let cues = |chapters: &[Chapter]| {
            chapters
                .iter()
                .map(|c| (c.first_cue, c.last_cue))
                .collect::<Vec<_>>()
        };
        assert_eq!(cues(&chapters), [(0, 7), (8, 15)]);
        assert_eq!(cues(&chapters[0].topics), [(0, 3), (4, 7)]);
        assert_eq!(cues(&chapters[1].topics), [(8, 11), (12, 15)]);
        // One topic is the chapter itself.
        let chapters = cut(&talk, &sentences, &values, 4, Levels::Two);
        assert!(chapters.iter().all(|chapter| chapter.topics.is_empty()));
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
        let chapters = find(
            &talk,
            &sentences,
            &embeddings,
            None,
            Count::Minutes(1. / 3.),
            Levels::One,
        )
        .unwrap();
        assert_eq!(chapters.len(), 3);
    }
}

//! What tells, beside its meaning, whether a chapter begins with a sentence: how like the text before and after are at several scales,
//! in meaning and in words, who speaks, pauses, questions, first words, position. The boundary model ([`super::boundary`]) reads these.

use crate::chapters::embed::Embedding;
use crate::chapters::lexical::{Continuity, Logarithms, Terms};
use crate::transcript::Sentence;

/// How much on each side is compared, in meaning and in terms, as parts of the length of a chapter: what divides a meeting into five is
/// seen at another distance than what divides a talk into fifteen.
const PARTS: [f32; 5] = [1. / 16., 1. / 8., 1. / 4., 1. / 2., 1.];

/// Of these so many words at least, and at most: longer ones tell no more, and take long to compare.
const WORDS: std::ops::RangeInclusive<f32> = 20. ..=3000.;

/// Words on each side whose terms are compared, whatever the length of a chapter.
const TERM_SCALES: [usize; 5] = [40, 80, 160, 320, 640];

/// Signs that compare what is before with what is after.
const OF_LIKENESS: usize = 2 * (2 * PARTS.len() + TERM_SCALES.len());

/// Words of which one among the first [`OPENING`] of a sentence often begins something new, or does not.
const OPENERS: [&str; 24] = [
    "so", "okay", "ok", "alright", "right", "now", "next", "let's", "let", "first", "second",
    "finally", "another", "thank", "question", "um", "and", "but", "yeah", "what", "how", "today",
    "well", "last",
];
const OPENING: usize = 5;

/// Numbers per sentence.
pub const COUNT: usize = OF_LIKENESS + 3 + 17 + OPENERS.len();

/// Places in a row of signs that say who speaks, that depend on times, and on punctuation: those a transcript may lack.
pub const OF_SPEAKERS: std::ops::Range<usize> = OF_LIKENESS + 3..OF_LIKENESS + 9;
pub const OF_TIMES: std::ops::Range<usize> = OF_LIKENESS + 9..OF_LIKENESS + 12;
pub const OF_PUNCTUATION: std::ops::Range<usize> = OF_LIKENESS + 12..OF_LIKENESS + 15;

/// The signs of each of the sentences `firsts`, which are ascending, where so many chapters are wanted.
pub fn signs(
    sentences: &[Sentence],
    embeddings: &[Embedding],
    terms: &Terms,
    firsts: &[usize],
    chapters: usize,
) -> Vec<[f32; COUNT]> {
    let text = Text::new(sentences, embeddings);
    let total = text.offsets[sentences.len()].max(1) as f32;
    let chapter = total / chapters.max(1) as f32;
    let logarithms = Logarithms::of(terms.all());
    let mut continuity = Continuity::new(&logarithms);
    let mut rows = vec![[0.; COUNT]; firsts.len()];
    let parts = PARTS.map(|part| (part * chapter).clamp(*WORDS.start(), *WORDS.end()) as usize);
    let in_meaning = parts.iter().map(|&scale| (scale, true));
    let in_terms = parts
        .iter()
        .chain(&TERM_SCALES)
        .map(|&scale| (scale, false));
    for (k, (scale, by_meaning)) in in_meaning.chain(in_terms).enumerate() {
        let mut likeness = |&i: &usize| match by_meaning {
            _ if i == 0 => 0.,
            true => text.likeness(i, scale),
            false => {
                let (begin, end) = text.stretch(i, scale);
                continuity.of(terms.of(begin, i), terms.of(i, end))
            }
        };
        let likeness = firsts.iter().map(&mut likeness).collect::<Vec<_>>();
        let around = text.local_means(&likeness, firsts, scale);
        let spread = deviation(&likeness);
        let mean = likeness.iter().sum::<f32>() / likeness.len().max(1) as f32;
        for (row, (own, around)) in rows.iter_mut().zip(likeness.iter().zip(around)) {
            row[2 * k] = (own - mean) / spread;
            row[2 * k + 1] = (own - around) / spread;
        }
    }
    let pauses = text.pauses();
    let turns = text.turns();
    let is_spoken_by = sentences.iter().any(|sentence| sentence.speaker.is_some());
    for (row, (place, &i)) in rows.iter_mut().zip(firsts.iter().enumerate()) {
        let next = firsts.get(place + 1).copied().unwrap_or(sentences.len());
        let signs = &mut row[OF_LIKENESS..];
        signs[0] = text.fits(i, 80, true);
        signs[1] = text.fits(i, 80, false);
        signs[2] = signs[0] - signs[1];
        // Who speaks.
        let turn = &turns[i];
        signs[3] = f32::from(u8::from(is_spoken_by));
        signs[4] = f32::from(u8::from(turn.begins));
        signs[5] = log(turn.words);
        signs[6] = log(turn.words_before);
        signs[7] = log(turn.silent.min(2000));
        signs[8] = turn.share;
        // When.
        signs[9] = f32::from(u8::from(sentences[i].start.is_some()));
        signs[10] = (1. + pauses[i]).ln();
        signs[11] = f32::from(u8::from(pauses[i] > 1.5));
        // Punctuation.
        signs[12] = f32::from(u8::from(asks(&sentences[i])));
        signs[13] = f32::from(u8::from(i > 0 && asks(&sentences[i - 1])));
        signs[14] = f32::from(u8::from(sentences.get(i + 1).is_some_and(asks)));
        // Where, and how long.
        let before = text.offsets[i] as f32;
        signs[15] = before / total;
        signs[16] = log(text.offsets[i].min(2000));
        signs[17] = log((text.offsets[sentences.len()] - text.offsets[i]).min(2000));
        signs[18] = log(text.offsets[next] - text.offsets[i]);
        signs[19] = log(chapter as usize);
        let words = crate::words::words(&sentences[i].text)
            .take(OPENING)
            .collect::<Vec<_>>();
        for (sign, opener) in signs[20..].iter_mut().zip(OPENERS) {
            *sign = f32::from(u8::from(words.iter().any(|word| word == opener)));
        }
    }
    rows
}

fn asks(sentence: &Sentence) -> bool {
    sentence.text.ends_with(['?', '？'])
}

fn log(words: usize) -> f32 {
    (1. + words as f32).ln() / 4.
}

fn deviation(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>();
    // Where all are alike, nothing stands out.
    (squares / count).sqrt().max(1e-3)
}

/// A sentence's turn of speech.
#[derive(Debug, Clone, Default)]
struct Turn {
    /// Whether it begins with the sentence.
    begins: bool,
    /// Words from the sentence to its end, and of the turn before it.
    words: usize,
    words_before: usize,
    /// Words since the speaker last spoke.
    silent: usize,
    /// The speaker's part of all words.
    share: f32,
}

/// Sentences with sums over all before each, so that means over any stretch cost the same.
struct Text<'a> {
    sentences: &'a [Sentence],
    embeddings: &'a [Embedding],
    /// Words before each sentence, and all.
    offsets: Vec<usize>,
    /// Sums of embeddings before each sentence, weighted by words, a row each.
    sums: Vec<f32>,
    size: usize,
}

impl<'a> Text<'a> {
    fn new(sentences: &'a [Sentence], embeddings: &'a [Embedding]) -> Self {
        let size = embeddings.first().map_or(0, Vec::len);
        let mut offsets = vec![0];
        let mut sums = vec![0.; size];
        for (i, (sentence, embedding)) in sentences.iter().zip(embeddings).enumerate() {
            let words = sentence.text.split_whitespace().count();
            offsets.push(offsets[i] + words);
            for (k, x) in embedding.iter().enumerate() {
                sums.push(sums[i * size + k] + words as f32 * x);
            }
        }
        Self {
            sentences,
            embeddings,
            offsets,
            sums,
            size,
        }
    }

    /// The first sentence of the stretch before `i`, and the one after the stretch that begins with it, of `words` words each; one sentence
    /// at least, where there is one.
    fn stretch(&self, i: usize, words: usize) -> (usize, usize) {
        let here = self.offsets[i];
        let begin = self.offsets[..=i].partition_point(|&offset| offset + words < here);
        let end = self
            .offsets
            .partition_point(|&offset| offset <= here + words)
            - 1;
        (begin.min(i.saturating_sub(1)), end.max(i + 1))
    }

    fn sum(&self, begin: usize, end: usize) -> impl Iterator<Item = f32> {
        let row = |i: usize| &self.sums[i * self.size..(i + 1) * self.size];
        row(end)
            .iter()
            .zip(row(begin))
            .map(|(after, before)| after - before)
    }

    /// Cosine of the mean embeddings of so many words before and after a sentence that is not the first.
    fn likeness(&self, i: usize, words: usize) -> f32 {
        let (begin, end) = self.stretch(i, words);
        let (mut product, mut left, mut right) = (0., 0., 0.);
        for (a, b) in self.sum(begin, i).zip(self.sum(i, end)) {
            product += a * b;
            left += a * a;
            right += b * b;
        }
        product / (left * right).sqrt().max(f32::MIN_POSITIVE)
    }

    /// Cosine of a sentence and the mean of the words before or after it.
    fn fits(&self, i: usize, words: usize, before: bool) -> f32 {
        let (begin, _) = self.stretch(i, words);
        let (_, end) = self.stretch((i + 1).min(self.sentences.len() - 1), words);
        let (from, to) = if before { (begin, i) } else { (i + 1, end) };
        if from >= to {
            return 0.;
        }
        let (mut product, mut norm) = (0., 0.);
        for (x, sum) in self.embeddings[i].iter().zip(self.sum(from, to)) {
            product += x * sum;
            norm += sum * sum;
        }
        product / norm.sqrt().max(f32::MIN_POSITIVE)
    }

    /// For each of `firsts` the mean of `values` over those no farther than `words` words.
    fn local_means(&self, values: &[f32], firsts: &[usize], words: usize) -> Vec<f32> {
        let mut sums = vec![0f64];
        for (i, value) in values.iter().enumerate() {
            sums.push(sums[i] + f64::from(*value));
        }
        let places = firsts.iter().map(|&i| self.offsets[i]).collect::<Vec<_>>();
        let mean = |&place: &usize| {
            let begin = places.partition_point(|&other| other + words < place);
            let end = places.partition_point(|&other| other <= place + words);
            ((sums[end] - sums[begin]) / (end - begin) as f64) as f32
        };
        places.iter().map(mean).collect()
    }

    /// Seconds of silence before each sentence; 0 where it cannot be told.
    fn pauses(&self) -> Vec<f32> {
        let before = |i: usize| i.checked_sub(1).and_then(|i| self.sentences[i].end);
        let pause = |i: usize| match (before(i), self.sentences[i].start) {
            (Some(end), Some(start)) => (start - end).clamp(0., 30.) as f32,
            _ => 0.,
        };
        (0..self.sentences.len()).map(pause).collect()
    }

    fn turns(&self) -> Vec<Turn> {
        let speaker = |i: usize| self.sentences[i].speaker.as_deref();
        let mut spoken = std::collections::HashMap::new();
        for i in 0..self.sentences.len() {
            *spoken.entry(speaker(i)).or_insert(0) += self.offsets[i + 1] - self.offsets[i];
        }
        let total = self.offsets[self.sentences.len()].max(1) as f32;
        let mut last = std::collections::HashMap::new();
        let mut turns = Vec::<Turn>::new();
        let (mut begin, mut words_before) = (0, 0);
        for i in 0..self.sentences.len() {
            let begins = i > 0 && speaker(i) != speaker(i - 1);
            if begins {
                words_before = self.offsets[i] - self.offsets[begin];
                begin = i;
            }
            let silent = last
                .get(&speaker(i))
                .map_or(self.offsets[i], |end| self.offsets[i] - end);
            turns.push(Turn {
                begins,
                words: 0,
                words_before,
                silent,
                share: spoken[&speaker(i)] as f32 / total,
            });
            last.insert(speaker(i), self.offsets[i + 1]);
        }
        let mut end = self.sentences.len();
        for i in (0..turns.len()).rev() {
            turns[i].words = self.offsets[end] - self.offsets[i];
            if turns[i].begins {
                end = i;
            }
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> (Vec<Sentence>, Vec<Embedding>) {
        let said = [
            ("A", "The clock is very old.", 0., 4.),
            ("A", "The clock strikes every hour.", 4., 8.),
            ("B", "So what about the bread?", 12., 15.),
            ("A", "The baker makes it here.", 15., 18.),
        ];
        let sentences = said
            .iter()
            .enumerate()
            .map(|(i, (speaker, text, start, end))| Sentence {
                text: (*text).into(),
                speaker: Some((*speaker).into()),
                first_cue: i,
                last_cue: i,
                start: Some(*start),
                end: Some(*end),
            });
        let vectors = vec![vec![1., 0.], vec![1., 0.], vec![0., 1.], vec![0., 1.]];
        (sentences.collect(), vectors)
    }

    #[test]
    fn a_change_shows_in_every_sign() {
        let (sentences, vectors) = text();
        let terms = Terms::new(&sentences);
        let rows = signs(&sentences, &vectors, &terms, &[0, 1, 2, 3], 2);
        for scale in 0..OF_LIKENESS / 2 {
            assert!(rows[2][2 * scale] < rows[1][2 * scale], "{scale}");
        }
        for scale in 0..PARTS.len() {
            assert!(rows[2][2 * scale] < rows[3][2 * scale], "{scale}");
        }
        let of = |row: usize, range: std::ops::Range<usize>| rows[row][range].to_vec();
        assert_eq!(of(2, OF_SPEAKERS)[1], 1.);
        assert_eq!(of(1, OF_SPEAKERS)[1], 0.);
        assert_eq!(of(2, OF_TIMES), [1., 5f32.ln(), 1.]);
        assert_eq!(of(2, OF_PUNCTUATION), [1., 0., 0.]);
        assert_eq!(of(3, OF_PUNCTUATION), [0., 1., 0.]);
        let so = OF_LIKENESS + 20;
        assert_eq!((rows[2][so], rows[3][so]), (1., 0.));
    }

    #[test]
    fn one_sentence_and_identical_ones_have_finite_signs() {
        let (sentences, vectors) = text();
        let same = vec![vectors[0].clone(); 4];
        let rows = signs(&sentences, &same, &Terms::new(&sentences), &[0, 2], 2);
        let one = &sentences[..1];
        let one = signs(one, &vectors[..1], &Terms::new(one), &[0], 3);
        assert!(rows.iter().chain(&one).flatten().all(|x| x.is_finite()));
    }
}

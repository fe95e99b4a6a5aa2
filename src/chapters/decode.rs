//! Where to cut: what every segment would cost, how likely each place is a cut by that ([`super::posterior`]), and the places to choose
//! then ([`super::expected`]).
//!
//! A segment's cost is the weighted squared distance of its units' vectors from their mean (k-means over contiguous
//! segments; Fisher 1958, Bellman 1961) and how surprising its terms are, drawn from an urn of its own ([`super::lexical`]). Weights are
//! words, so that ten short asides do not outvote a long answer. To it come a mild wish for segments of one length and rewards for
//! beginning where a turn of speech does, and where the boundary model thinks it likely.

use rayon::prelude::*;

use super::expected::{self, Nearness};
use super::lexical::{Logarithms, Urn};
use super::posterior;

/// Something that can begin a segment.
#[derive(Debug, Clone)]
pub struct Unit {
    pub vector: Vec<f32>,
    /// Words, at least 0.
    pub weight: f32,
    /// Its terms, by number.
    pub terms: Vec<u32>,
    /// Whether somebody else begins to speak here.
    pub begins_turn: bool,
    /// How likely a segment begins here ([`super::boundary`]), as a logarithm; 0 where nothing is known of it.
    pub score: f32,
}

// docs/chapters.md says on which documents these were chosen, and what other values would change.

/// No segment is lighter than this part of the mean.
const LEAST_LENGTH: f32 = 0.1;
/// What a segment of twice the mean length costs more, as a part of the mean cost of a segment's words.
const UNEVEN: f32 = 0.01;
/// What a segment that begins with a turn of speech costs less, likewise.
const TURN: f32 = 0.02;

/// What a segment costs less for each unit of its first unit's score, likewise.
const LIKELY: f32 = 0.06;

/// What a nat of surprise at a term costs, as a part of the terms of the whole, beside squared distances as parts of its words.
const SURPRISING: f32 = 0.3;

/// How many nats less likely a way to cut is that costs more by what the words of one segment of mean length do at a distance of 1.
const SHARPNESS: f64 = 30.;

/// Words within which a cut counts for a true one, or this part of the mean length of a segment, if that is less.
const WITHIN: f32 = 40.;
const WITHIN_PART: f32 = 0.3;
/// What a cut so near counts for less than the true one itself. With less, more cuts lie within 40 words of people's, and fewer within 3 seconds.
const EXACTNESS: f64 = 0.15;
/// A place that has this part of the chances around the one chosen is the cut instead.
const PEAK: f64 = 0.4;

/// More units than this are merged in neighbouring groups first: cost grows with the square of their number, and
/// at this many a unit is far shorter than a chapter.
const MAX_UNITS: usize = 2000;

/// The first unit of each of `count` segments, in order, beginning with 0.
///
/// Returns fewer segments only where there are fewer units.
pub fn segment(units: &[Unit], count: usize) -> Vec<usize> {
    let count = count.clamp(1, units.len().max(1));
    if units.is_empty() || count == 1 {
        return vec![0];
    }
    let group = group_size(units.len(), count);
    // A segment that begins in a group begins with its likeliest unit.
    let begins = (0..units.len()).step_by(group).map(|begin| {
        let own = begin..(begin + group).min(units.len());
        let likely = |&i: &usize| units[i].score;
        let likeliest = own.min_by(|a, b| likely(b).total_cmp(&likely(a)));
        if begin == 0 {
            0
        } else {
            likeliest.unwrap_or(begin)
        }
    });
    let begins = begins.collect::<Vec<_>>();
    let ends = begins.iter().skip(1).copied().chain([units.len()]);
    let grouped = begins.iter().zip(ends);
    let grouped = grouped.map(|(&begin, end)| merge(&units[begin..end]));
    let grouped = grouped.collect::<Vec<_>>();
    let count = count.min(grouped.len());
    let costs = Costs::new(&grouped, count);
    let offsets = offsets(&grouped);
    let mean = offsets[grouped.len()] / count as f32;
    let sharpness = SHARPNESS * count as f64;
    let mut least = LEAST_LENGTH * mean;
    // A single unit of great weight can make the least unreachable; then it gives way.
    loop {
        let nearness = Nearness {
            within: WITHIN.min(WITHIN_PART * mean),
            exactness: EXACTNESS,
            peak: PEAK,
            apart: least,
        };
        let chances = posterior::chances(&costs.rows, &offsets, count, least, sharpness);
        let chosen =
            chances.and_then(|chances| expected::best(&chances, &offsets, count - 1, nearness));
        if let Some(chosen) = chosen {
            let starts = chosen.into_iter().map(|start| begins[start]);
            return std::iter::once(0).chain(starts).collect();
        }
        assert!(least > 0., "a cost that is not a number");
        least = if least > 1. { least / 2. } else { 0. };
    }
}

/// How many neighbouring units are taken as one, so that `count` segments can still be had.
fn group_size(units: usize, count: usize) -> usize {
    units.div_ceil(MAX_UNITS).min(units / count)
}

/// Words before each unit, and of all.
fn offsets(units: &[Unit]) -> Vec<f32> {
    let mut sum = 0.;
    let ends = units.iter().map(|unit| {
        sum += unit.weight;
        sum
    });
    std::iter::once(0.).chain(ends).collect()
}

fn merge(units: &[Unit]) -> Unit {
    let weight: f32 = units.iter().map(|unit| unit.weight).sum();
    let mut vector = vec![0.; units[0].vector.len()];
    for unit in units {
        for (sum, x) in vector.iter_mut().zip(&unit.vector) {
            *sum += x * unit.weight / weight.max(f32::MIN_POSITIVE);
        }
    }
    Unit {
        vector,
        weight,
        terms: units.iter().flat_map(|unit| unit.terms.clone()).collect(),
        begins_turn: units[0].begins_turn,
        score: units[0].score,
    }
}

/// The cost of every segment `i..=j`, where the words of the whole weigh 1 together.
struct Costs {
    /// Row `i` holds the segments that begin at `i`: `j = i, i + 1, ...`.
    rows: Vec<Vec<f32>>,
}

impl Costs {
    /// Costs where `count` segments are wanted.
    fn new(units: &[Unit], count: usize) -> Self {
        let total: f32 = units.iter().map(|unit| unit.weight).sum();
        let total = f64::from(total.max(f32::MIN_POSITIVE));
        let terms = units.iter().flat_map(|unit| unit.terms.iter().copied());
        let terms = terms.collect::<Vec<_>>();
        let logarithms = Logarithms::of(&terms);
        let row = |i: usize| {
            let own = Self::row(&units[i..], i > 0, total, count as f64);
            let surprises = Self::surprises(&units[i..], &logarithms, terms.len());
            own.zip(surprises).map(|(a, b)| a + b).collect()
        };
        Self {
            rows: (0..units.len()).into_par_iter().map(row).collect(),
        }
    }

    /// What the terms of the segments that begin with the first unit cost.
    fn surprises<'a>(
        units: &'a [Unit],
        logarithms: &'a Logarithms,
        total: usize,
    ) -> impl Iterator<Item = f32> + 'a {
        let mut urn = Urn::new(logarithms);
        let mut sum = 0.;
        let part = f64::from(SURPRISING) / total.max(1) as f64;
        units.iter().map(move |unit| {
            sum += f64::from(urn.draw_all(&unit.terms));
            (part * sum) as f32
        })
    }

    /// Costs of the segments that begin with the first unit. Distances from the mean of vectors x with weights w sum
    /// up to: sum of w |x|^2 minus |sum of w x|^2 / sum of w.
    fn row(units: &[Unit], is_cut: bool, total: f64, count: f64) -> impl Iterator<Item = f32> {
        let turn = if units[0].begins_turn { TURN } else { 0. };
        let reward = match is_cut {
            true => f64::from(turn + LIKELY * units[0].score),
            false => 0.,
        };
        let mut sum = vec![0f32; units[0].vector.len()];
        let (mut squares, mut weight) = (0f64, 0f64);
        units.iter().map(move |unit| {
            let mut norm = 0f32;
            let mut of_sum = 0f32;
            for (total, x) in sum.iter_mut().zip(&unit.vector) {
                *total += unit.weight * x;
                norm += x * x;
                of_sum += *total * *total;
            }
            squares += f64::from(unit.weight * norm);
            weight += f64::from(unit.weight);
            let spread = squares - f64::from(of_sum) / weight.max(f64::MIN_POSITIVE);
            let length = weight / total * count;
            let uneven = f64::from(UNEVEN) * (length - 1.).powi(2);
            (spread.max(0.) / total + (uneven - reward) / count) as f32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(values: &[f32]) -> Vec<Unit> {
        let unit = |&x: &f32| Unit {
            vector: vec![x, 1.],
            weight: 10.,
            begins_turn: false,
            terms: Vec::new(),
            score: 0.,
        };
        values.iter().map(unit).collect()
    }

    #[test]
    fn plain_changes_are_found() {
        let starts = segment(&units(&[0., 0., 0., 5., 5., 9., 9., 9.]), 3);
        assert_eq!(starts, [0, 3, 5]);
    }

    #[test]
    fn an_outlier_is_no_segment_of_its_own() {
        let mut values = [[0.; 12], [1.; 12]].concat();
        values[4] = 9.;
        let mut units = units(&values);
        units[4].weight = 5.;
        let starts = segment(&units, 3);
        let ends = starts.iter().skip(1).copied().chain([units.len()]);
        let alone = starts.iter().zip(ends).any(|segment| segment == (&4, 5));
        assert!(!alone, "{starts:?}");
    }

    #[test]
    fn where_meaning_says_nothing_words_decide() {
        let mut units = units(&[1.; 12]);
        for (i, unit) in units.iter_mut().enumerate() {
            unit.terms = if i < 4 { vec![0, 1] } else { vec![2, 3] };
        }
        assert_eq!(segment(&units, 2), [0, 4]);
    }

    #[test]
    fn where_all_else_is_equal_a_turn_of_speech_decides() {
        let mut units = units(&[1.; 12]);
        assert_eq!(segment(&units, 2), [0, 6]);
        units[5].begins_turn = true;
        assert_eq!(segment(&units, 2), [0, 5]);
    }

    #[test]
    fn a_likely_beginning_outweighs_an_even_one() {
        let mut units = units(&[1.; 12]);
        units[4].score = 3.;
        assert_eq!(segment(&units, 2), [0, 4]);
    }

    #[test]
    fn a_least_length_that_cannot_be_had_gives_way() {
        let mut units = units(&[0., 1., 2.]);
        units[0].weight = 1000.;
        assert_eq!(segment(&units, 3), [0, 1, 2]);
    }

    #[test]
    fn more_segments_than_units_are_as_many_as_units() {
        assert_eq!(segment(&units(&[0., 1.]), 5), [0, 1]);
        assert_eq!(segment(&[], 5), [0]);
        for (units, count) in [(2001, 1500), (6000, 5000), (40_000, 40), (3, 3)] {
            assert!(units / group_size(units, count) >= count);
        }
    }

    #[test]
    fn thousands_of_units_keep_their_order() {
        let values = (0..7000).map(|i| (i / 700) as f32).collect::<Vec<_>>();
        let starts = segment(&units(&values), 10);
        assert_eq!(starts.len(), 10);
        assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(starts.iter().zip(0..).all(|(s, i)| s.abs_diff(i * 700) < 5));
        // Several units are taken as one then; the likeliest of them begins.
        let mut units = units(&values);
        units[1402].score = 2.;
        assert_eq!(segment(&units, 10)[2], 1402);
    }
}

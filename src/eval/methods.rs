//! Ways to find chapters when their number is known: the program's own, and what it has to beat.

use clap::ValueEnum;
use serde::Serialize;

use crate::chapters::decode::{self, Unit};
use crate::chapters::embed::cosine;

/// A way to find chapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Chapters of one length.
    Equidistant,
    /// Where the words before and after are least alike (Hearst 1997), by sentence embeddings.
    Texttiling,
    /// Cut in two again and again (Gklezakos, Misiak and Bishop 2024).
    Treeseg,
    /// Squared distances from the chapters' means and which words recur, over every way to cut: what the program does without the boundary model.
    Dp,
    /// The same with the scores of the boundary model: what it does.
    Learned,
}

impl Method {
    pub const ALL: [Self; 5] = [
        Self::Equidistant,
        Self::Texttiling,
        Self::Treeseg,
        Self::Dp,
        Self::Learned,
    ];

    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// The units with which `count` chapters begin, ascending, the first of all among them; fewer, where there are fewer places.
    pub fn starts(self, units: &[Unit], count: usize) -> Vec<usize> {
        match self {
            Self::Equidistant => equidistant(units, count),
            Self::Texttiling => texttiling(units, count),
            Self::Treeseg => treeseg(units, count),
            Self::Dp => {
                let blind = |unit: &Unit| Unit {
                    score: 0.,
                    ..unit.clone()
                };
                decode::segment(&units.iter().map(blind).collect::<Vec<_>>(), count)
            }
            Self::Learned => decode::segment(units, count),
        }
    }
}

fn total(units: &[Unit]) -> f32 {
    units.iter().map(|unit| unit.weight).sum()
}

/// Words before each unit.
fn offsets(units: &[Unit]) -> Vec<f32> {
    let sums = units.iter().scan(0., |sum, unit| {
        let before = *sum;
        *sum += unit.weight;
        Some(before)
    });
    sums.collect()
}

/// Chapters of one length: each begins with the unit nearest to its place.
fn equidistant(units: &[Unit], count: usize) -> Vec<usize> {
    let offsets = offsets(units);
    let total = total(units);
    let place = |k: usize| total * k as f32 / count as f32;
    let nearest = |place: f32| {
        let distance = |&i: &usize| (offsets[i] - place).abs();
        (0..units.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    let mut starts = (0..count)
        .filter_map(|k| nearest(place(k)))
        .collect::<Vec<_>>();
    starts.dedup();
    starts
}

/// Words on each side that are compared.
const TILE: f32 = 100.;

/// No chapter is shorter than this part of the mean.
const LEAST: f32 = 0.2;

/// The units where likeness of the words before and after is lowest, measured from the peaks on both sides.
fn texttiling(units: &[Unit], count: usize) -> Vec<usize> {
    let likeness = (1..units.len())
        .map(|i| {
            cosine(
                &direction(units[..i].iter().rev()),
                &direction(units[i..].iter()),
            )
        })
        .collect::<Vec<_>>();
    let peak = |scores: &mut dyn Iterator<Item = &f32>, from: f32| {
        let mut highest = from;
        for &score in scores {
            if score < highest {
                break;
            }
            highest = score;
        }
        highest - from
    };
    let depth = |gap: usize| {
        let here = likeness[gap];
        peak(&mut likeness[..gap].iter().rev(), here) + peak(&mut likeness[gap + 1..].iter(), here)
    };
    let depths = (0..likeness.len()).map(depth).collect::<Vec<_>>();
    let mut gaps = (0..depths.len()).collect::<Vec<_>>();
    gaps.sort_by(|&a, &b| depths[b].total_cmp(&depths[a]));
    let offsets = offsets(units);
    let total = total(units);
    let least = LEAST * total / count as f32;
    let mut starts = vec![0];
    for start in gaps.into_iter().map(|gap| gap + 1) {
        let far = |&other: &usize| (offsets[other] - offsets[start]).abs() >= least;
        if starts.len() < count && starts.iter().all(far) && total - offsets[start] >= least {
            starts.push(start);
        }
    }
    starts.sort_unstable();
    starts
}

/// The direction of the first units that have [`TILE`] words together, unit length.
fn direction<'a>(units: impl Iterator<Item = &'a Unit>) -> Vec<f32> {
    let mut sum = Vec::new();
    let mut words = 0.;
    for unit in units {
        sum.resize(unit.vector.len(), 0.);
        add(&mut sum, &unit.vector, unit.weight.max(1.));
        words += unit.weight;
        if words >= TILE {
            break;
        }
    }
    let norm = squared(&sum).sqrt().max(f32::MIN_POSITIVE);
    sum.iter_mut().for_each(|x| *x /= norm);
    sum
}

/// Words of what came before that are embedded with a unit.
const CONTEXT: f32 = 40.;

/// Cuts the segment whose cut lessens the squared distances from the means most, until there are enough.
fn treeseg(units: &[Unit], count: usize) -> Vec<usize> {
    let vectors = (0..units.len())
        .map(|i| with_context(units, i))
        .collect::<Vec<_>>();
    let least = LEAST * total(units) / count as f32;
    let mut segments = vec![(0, best_cut(units, &vectors, 0, units.len(), least))];
    while segments.len() < count {
        let gain = |k: &usize| segments[*k].1.map_or(0., |(_, gain)| gain);
        let Some(k) = (0..segments.len()).max_by(|a, b| gain(a).total_cmp(&gain(b))) else {
            break;
        };
        let (begin, Some((cut, _))) = segments[k] else {
            break;
        };
        let end = segments.get(k + 1).map_or(units.len(), |next| next.0);
        segments[k].1 = best_cut(units, &vectors, begin, cut, least);
        segments.insert(k + 1, (cut, best_cut(units, &vectors, cut, end, least)));
    }
    segments.into_iter().map(|(begin, _)| begin).collect()
}

fn with_context(units: &[Unit], i: usize) -> Vec<f32> {
    let mut sum = vec![0.; units[i].vector.len()];
    let mut words = 0.;
    for unit in units[..=i].iter().rev() {
        add(&mut sum, &unit.vector, unit.weight.max(1.));
        words += unit.weight.max(1.);
        if words >= CONTEXT {
            break;
        }
    }
    sum.iter_mut().for_each(|x| *x /= words);
    sum
}

/// Where to cut units `begin..end` so that both parts weigh `least` at least, and by how much that lessens the squared distances.
fn best_cut(
    units: &[Unit],
    vectors: &[Vec<f32>],
    begin: usize,
    end: usize,
    least: f32,
) -> Option<(usize, f32)> {
    let mut right = vec![0.; vectors[begin].len()];
    vectors[begin..end]
        .iter()
        .for_each(|vector| add(&mut right, vector, 1.));
    let mut left = vec![0.; right.len()];
    // What is left of the sum of squares is the same for every cut: only the means' part differs.
    let whole = squared(&right) / (end - begin) as f32;
    let (mut before, mut after) = (0., total(&units[begin..end]));
    let mut best = None;
    for cut in begin + 1..end {
        add(&mut left, &vectors[cut - 1], 1.);
        add(&mut right, &vectors[cut - 1], -1.);
        before += units[cut - 1].weight;
        after -= units[cut - 1].weight;
        let gain =
            squared(&left) / (cut - begin) as f32 + squared(&right) / (end - cut) as f32 - whole;
        if before >= least && after >= least && best.is_none_or(|(_, most)| gain > most) {
            best = Some((cut, gain));
        }
    }
    best
}

fn add(sum: &mut [f32], vector: &[f32], factor: f32) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += factor * x;
    }
}

fn squared(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(values: &[f32]) -> Vec<Unit> {
        let unit = |&x: &f32| Unit {
            vector: vec![x.cos(), x.sin()],
            weight: 50.,
            terms: Vec::new(),
            begins_turn: false,
            score: 0.,
        };
        values.iter().map(unit).collect()
    }

    #[test]
    fn equal_lengths_are_in_words() {
        let mut units = units(&[0.; 6]);
        assert_eq!(Method::Equidistant.starts(&units, 3), [0, 2, 4]);
        units[0].weight = 200.;
        assert_eq!(Method::Equidistant.starts(&units, 2), [0, 1]);
    }

    #[test]
    fn all_that_look_at_the_words_find_a_plain_change() {
        let mut values = vec![0.; 5];
        values.extend([1.5; 7]);
        values.extend([0.2; 4]);
        for method in [
            Method::Texttiling,
            Method::Treeseg,
            Method::Dp,
            Method::Learned,
        ] {
            assert_eq!(method.starts(&units(&values), 3), [0, 5, 12], "{method:?}");
        }
    }

    #[test]
    fn there_are_no_more_chapters_than_units_and_one_is_enough() {
        for method in Method::ALL {
            assert_eq!(method.starts(&units(&[0.]), 1), [0], "{method:?}");
            assert_eq!(method.starts(&units(&[0., 1.]), 1), [0], "{method:?}");
            let starts = method.starts(&units(&[0.; 3]), 5);
            assert!(starts.len() <= 3 && starts[0] == 0, "{method:?}");
        }
    }
}

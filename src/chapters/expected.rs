//! Which places to choose, from how likely each is one: those by which most of the true ones are expected to lie.
//!
//! The likeliest places one by one may all lie around the same turn, and the likeliest way to cut is but one of many: neither is what somebody
//! who jumps to chapters is served best by. What is looked for is the choice of least expected loss (minimum Bayes risk), where a true place
//! counts for the chosen one next to it, if that is near, and is counted once. It is found exactly, by dynamic programming from left to right; then
//! each place may move by a few words to where a beginning is plain.

/// How near a chosen place has to be, and what being exact is worth.
#[derive(Debug, Clone, Copy)]
pub struct Nearness {
    /// Words within which a chosen place counts for a true one.
    pub within: f32,
    /// What one that is near counts for less than the true one itself, which counts 1.
    pub exactness: f64,
    /// Where one place has this part of the chances of all that are so near to a chosen one, it is chosen instead.
    pub peak: f64,
    /// Words that lie between two chosen places at least, and between them and both ends.
    pub apart: f32,
}

impl Nearness {
    /// What a chosen place counts for a true one that is so many words off.
    fn worth(&self, words: f32) -> f64 {
        match words {
            0. => 1.,
            _ if words <= self.within => 1. - self.exactness,
            _ => 0.,
        }
    }
}

/// The `count` units, ascending, near which most of those with which a segment truly begins are expected; unit 0 is none of them. `chances` are
/// those of each unit, `offsets` words before each, and of all. `None` where so many do not fit in.
pub fn best(
    chances: &[f64],
    offsets: &[f32],
    count: usize,
    nearness: Nearness,
) -> Option<Vec<usize>> {
    let n = chances.len();
    let total = offsets[n];
    let pairs = (0..n).map(|i| Pairs::new(chances, offsets, i, &nearness));
    let pairs = pairs.collect::<Vec<_>>();
    // most[i]: what is expected before unit i, and of what lies after the one chosen before it, if i is chosen last.
    let mut most = vec![f64::NEG_INFINITY; n];
    most[0] = 0.;
    let mut from = Vec::with_capacity(count);
    for _ in 0..count {
        let mut next = vec![f64::NEG_INFINITY; n];
        let mut origin = vec![0u32; n];
        // The best of the units too far before to share anything.
        let mut far = (f64::NEG_INFINITY, 0);
        let mut passed = 0;
        for i in 1..n {
            while passed < pairs[i].nearest {
                let value = most[passed] + pairs[passed].after;
                if value > far.0 && offsets[i] - offsets[passed] >= nearness.apart {
                    far = (value, passed);
                }
                passed += 1;
            }
            let apart = |&before: &usize| offsets[i] - offsets[before] >= nearness.apart;
            let shared = (pairs[i].nearest..i).zip(&pairs[i].shared);
            let shared = shared.filter(|(before, _)| apart(before));
            let shared = shared.map(|(before, shared)| (most[before] + shared, before));
            let best = shared.fold((far.0 + pairs[i].before, far.1), |best, other| {
                if other.0 > best.0 { other } else { best }
            });
            next[i] = best.0;
            origin[i] = best.1 as u32;
        }
        most = next;
        from.push(origin);
    }
    let fits = |&i: &usize| most[i].is_finite() && total - offsets[i] >= nearness.apart;
    let all = |i: usize| most[i] + pairs[i].after;
    let mut last = (0..n)
        .filter(fits)
        .max_by(|&a, &b| all(a).total_cmp(&all(b)).then(b.cmp(&a)))?;
    let mut chosen = Vec::with_capacity(count);
    for origin in from.iter().rev() {
        chosen.push(last);
        last = origin[last] as usize;
    }
    chosen.reverse();
    Some(to_peaks(&chosen, chances, offsets, &nearness))
}

/// The chosen units, each moved to one near it that has most of the chances around, if there is such a one: a plain beginning is not missed by a
/// sentence for the sake of others that are less likely. Of what lies between two that are chosen each has what is nearer to it.
fn to_peaks(chosen: &[usize], chances: &[f64], offsets: &[f32], nearness: &Nearness) -> Vec<usize> {
    let n = chances.len();
    let mut moved = Vec::with_capacity(chosen.len());
    for (k, &own) in chosen.iter().enumerate() {
        let off = |i: usize, other: usize| (offsets[i] - offsets[other]).abs();
        let before = k.checked_sub(1).map(|before| chosen[before]);
        let after = chosen.get(k + 1).copied();
        let is_nearest =
            |i: usize, other: Option<usize>| other.is_none_or(|other| off(i, own) < off(i, other));
        let around = (1..n).filter(|&i| {
            off(i, own) <= nearness.within && is_nearest(i, before) && is_nearest(i, after)
        });
        let around = around.collect::<Vec<_>>();
        let all = around.iter().map(|&i| chances[i]).sum::<f64>();
        let (begin, end) = (moved.last().copied().unwrap_or(0), after.unwrap_or(n));
        let peak = around
            .into_iter()
            .filter(|&i| off(begin, i) >= nearness.apart && off(i, end) >= nearness.apart)
            .filter(|&i| chances[i] > chances[own] && chances[i] >= nearness.peak * all)
            .max_by(|&a, &b| chances[a].total_cmp(&chances[b]));
        moved.push(peak.unwrap_or(own));
    }
    moved
}

/// What is expected around a unit, if it is chosen.
struct Pairs {
    /// Expected of true places before it, and of those from it on, where no other that is chosen is near.
    before: f64,
    after: f64,
    /// The first unit so near before it that true places between may be near to both.
    nearest: usize,
    /// For each unit from there on that is far enough apart, what is expected of true places between, should that one be chosen, too.
    shared: Vec<f64>,
}

impl Pairs {
    fn new(chances: &[f64], offsets: &[f32], i: usize, nearness: &Nearness) -> Self {
        let off = |place: usize, other: usize| (offsets[other] - offsets[place]).abs();
        let worth = |place: usize, other: usize| nearness.worth(off(place, other));
        let backwards = (0..i).rev();
        let backwards = backwards.take_while(|&other| off(i, other) <= nearness.within);
        let forwards = (i..chances.len()).take_while(|&other| off(i, other) <= nearness.within);
        let expected = |other: usize| chances[other] * worth(i, other);
        let reach = (2. * nearness.within).max(nearness.apart);
        let nearest = offsets[..i].partition_point(|&offset| offset + reach < offsets[i]);
        let apart = (nearest..i).take_while(|&other| off(i, other) >= nearness.apart);
        let shared = apart.map(|other| {
            // The first unit begins a segment whatever is chosen: it stands for no other place.
            let of_other = |place: usize| if other == 0 { 0. } else { worth(other, place) };
            let between = other..i;
            let nearer = between.map(|place| chances[place] * worth(i, place).max(of_other(place)));
            nearer.sum()
        });
        Self {
            before: backwards.map(expected).sum(),
            after: match i {
                0 => 0.,
                _ => forwards.map(expected).sum(),
            },
            nearest,
            shared: shared.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Nearness = Nearness {
        within: 20.,
        exactness: 0.3,
        peak: 2.,
        apart: 0.,
    };

    fn offsets(units: usize) -> Vec<f32> {
        (0..=units).map(|i| 10. * i as f32).collect()
    }

    #[test]
    fn chances_that_lie_together_outweigh_one_alone() {
        let mut chances = [0.; 12];
        chances[2] = 0.4;
        chances[7..10].copy_from_slice(&[0.2, 0.25, 0.2]);
        let best = |count| best(&chances, &offsets(12), count, NEAR);
        assert_eq!(best(1), Some(vec![8]));
        assert_eq!(best(2), Some(vec![2, 8]));
    }

    #[test]
    fn what_lies_between_two_is_counted_once() {
        let mut chances = [0.; 12];
        chances[4..7].copy_from_slice(&[0.3, 0.8, 0.3]);
        chances[10] = 0.35;
        assert_eq!(best(&chances, &offsets(12), 2, NEAR), Some(vec![5, 10]));
    }

    /// Every choice of three ascending units but the first.
    fn threes(n: usize) -> impl Iterator<Item = [usize; 3]> {
        let pairs = (1..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)));
        pairs.flat_map(move |(a, b)| (b + 1..n).map(move |c| [a, b, c]))
    }

    #[test]
    fn chosen_places_lie_apart_and_the_best_are_found() {
        let n = 14;
        for seed in 0..40 {
            let drawn = |i: usize, most: usize| (i * 7919 + seed * 104_729 + i * i * 31) % most;
            let chances = (0..n).map(|i| drawn(i, 97) as f64 / 97.);
            let mut chances = chances.collect::<Vec<_>>();
            chances[0] = 0.;
            // Some units have no words at all.
            let words = (0..n).map(|i| [0., 3., 8., 15.][drawn(i + 50, 4)]);
            let words = words.scan(0., |sum, words| {
                *sum += words;
                Some(*sum)
            });
            let offsets = std::iter::once(0.).chain(words).collect::<Vec<f32>>();
            for apart in [0., 9., 30.] {
                let nearness = Nearness { apart, ..NEAR };
                let worth = |chosen: &[usize]| {
                    let of = |i: usize| {
                        let to = |&j: &usize| nearness.worth((offsets[i] - offsets[j]).abs());
                        chances[i] * chosen.iter().map(to).fold(0., f64::max)
                    };
                    (1..n).map(of).sum::<f64>()
                };
                let fits = |chosen: &[usize]| {
                    let ends = [&[0], chosen, &[n]].concat();
                    let far = |pair: &[usize]| offsets[pair[1]] - offsets[pair[0]] >= apart;
                    ends.windows(2).all(far)
                };
                let all = threes(n).filter(|chosen| fits(chosen));
                let most = all.map(|chosen| worth(&chosen)).max_by(f64::total_cmp);
                let found = best(&chances, &offsets, 3, nearness);
                assert_eq!(found.is_some(), most.is_some());
                if let (Some(found), Some(most)) = (found, most) {
                    assert!((worth(&found) - most).abs() < 1e-9, "{seed} {apart}");
                    let peak = 0.4;
                    let moved = best(&chances, &offsets, 3, Nearness { peak, ..nearness });
                    let moved = moved.unwrap();
                    assert!(fits(&moved) && moved.is_sorted_by(|a, b| a < b));
                }
            }
        }
    }

    #[test]
    fn a_plain_beginning_is_taken_for_less_likely_ones_around_it() {
        let mut chances = [0.; 12];
        chances[4..8].copy_from_slice(&[0.2, 0., 0.2, 0.3]);
        let best = |peak| best(&chances, &offsets(12), 1, Nearness { peak, ..NEAR });
        assert_eq!(best(2.), Some(vec![6]));
        assert_eq!(best(0.4), Some(vec![7]));
    }

    #[test]
    fn a_plain_beginning_is_left_to_the_one_next_to_it() {
        let mut chances = [0.; 12];
        (chances[2], chances[4], chances[6], chances[7]) = (0.2, 0.3, 0.35, 0.9);
        let peak = 0.4;
        let found = best(&chances, &offsets(12), 2, Nearness { peak, ..NEAR });
        assert_eq!(found, Some(vec![4, 7]));
    }

    #[test]
    fn more_than_fit_in_are_not_found() {
        assert_eq!(best(&[0., 0.5], &offsets(2), 2, NEAR), None);
    }
}

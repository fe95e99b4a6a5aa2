//! Which places to choose, from how likely each is one: those by which most of the true ones are expected to lie.
//!
//! The likeliest places one by one may all lie around the same turn, and the likeliest way to cut is but one of many: neither is what somebody
//! who jumps to chapters is served best by. What is looked for is the choice of least expected loss (minimum Bayes risk), where a true place
//! counts for the chosen one next to it, if that is near, and is counted once. It is found exactly, by dynamic programming from left to right.

/// How near a chosen place has to be, and what being exact is worth.
#[derive(Debug, Clone, Copy)]
pub struct Nearness {
    /// Words within which a chosen place counts for a true one.
    pub within: f32,
    /// What one that is near counts for less than the true one itself, which counts 1.
    pub exactness: f64,
    /// Where one place has this part of what is expected near a chosen one, it is chosen instead.
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
        let mut origin = vec![0; n];
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
            (next[i], origin[i]) = best;
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
        last = origin[last];
    }
    chosen.reverse();
    to_peaks(&mut chosen, chances, offsets, &nearness);
    Some(chosen)
}

/// Moves each chosen unit to one near it that has most of what is expected there, if there is such a one: a plain beginning is not missed by a
/// sentence for the sake of others that are less likely.
fn to_peaks(chosen: &mut [usize], chances: &[f64], offsets: &[f32], nearness: &Nearness) {
    for k in 0..chosen.len() {
        let from = k.checked_sub(1).map_or(1, |before| chosen[before] + 1);
        let to = chosen.get(k + 1).copied().unwrap_or(chances.len());
        let off = |&i: &usize| (offsets[i] - offsets[chosen[k]]).abs();
        let near = (from..to).filter(|i| off(i) <= nearness.within);
        let near = near.collect::<Vec<_>>();
        let all = near.iter().map(|&i| chances[i]).sum::<f64>();
        let likeliest = near
            .into_iter()
            .max_by(|&a, &b| chances[a].total_cmp(&chances[b]));
        chosen[k] = likeliest
            .filter(|&i| chances[i] >= nearness.peak * all)
            .unwrap_or(chosen[k]);
    }
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

    #[test]
    fn chosen_places_lie_apart_and_the_best_are_found() {
        let chances = (0..11).map(|i| f64::from((i * 7 + 3) % 11) / 11.);
        let chances = chances.collect::<Vec<_>>();
        let offsets = offsets(11);
        for apart in [0., 15., 30., 50.] {
            let nearness = Nearness { apart, ..NEAR };
            let found = best(&chances, &offsets, 2, nearness);
            let worth = |&(a, b): &(usize, usize)| {
                let of = |i: usize| {
                    let to = |j: usize| nearness.worth((offsets[i] - offsets[j]).abs());
                    chances[i] * to(a).max(to(b))
                };
                (0..11).map(of).sum::<f64>()
            };
            let fits = |&(a, b): &(usize, usize)| {
                let ends = [0., offsets[a], offsets[b], offsets[11]];
                ends.windows(2).all(|pair| pair[1] - pair[0] >= apart)
            };
            let pairs = (1..11).flat_map(|a| (a + 1..11).map(move |b| (a, b)));
            let pairs = pairs.filter(fits).collect::<Vec<_>>();
            let most = pairs.iter().map(worth).fold(f64::NEG_INFINITY, f64::max);
            match found {
                Some(found) => assert!((worth(&(found[0], found[1])) - most).abs() < 1e-9),
                None => assert!(pairs.is_empty()),
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
    fn more_than_fit_in_are_not_found() {
        assert_eq!(best(&[0., 0.5], &offsets(2), 2, NEAR), None);
    }
}

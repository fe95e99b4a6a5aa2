//! How likely a segment begins at each place, over every way to cut into so many segments: forward and backward sums over segments, as in
//! a semi-Markov field (Sarawagi and Cohen 2004). The cheapest way alone says nothing of how near to it others are.

use rayon::prelude::*;

/// Ways so many nats less likely than the likeliest to the same place add nothing that shows.
const NEGLIGIBLE: f64 = 20.;

/// For each unit the chance that a segment begins with it, but for the first, with which one always does (0): a way to cut into `count`
/// segments that weigh at least `least` each has a chance in proportion to exp(-`sharpness` * its cost). Row `i` of `costs` has those of the
/// segments that begin with unit `i`, the shortest first; `offsets` are weights before each unit, and of all. `None` where there is no such way.
pub fn chances(
    costs: &[Vec<f32>],
    offsets: &[f32],
    count: usize,
    least: f32,
    sharpness: f64,
) -> Option<Vec<f64>> {
    let n = costs.len();
    let after = sums(costs, offsets, count, least, sharpness);
    let all = after[count][0];
    if all.is_infinite() {
        return None;
    }
    // The same from the end: the segments that end with a unit, the shortest first.
    let row = |end: usize| {
        let row = (0..=end).rev().map(|begin| costs[begin][end - begin]);
        row.collect::<Vec<_>>()
    };
    let mirrored = (0..n).rev().map(row).collect::<Vec<_>>();
    let backwards = offsets.iter().rev().map(|offset| offsets[n] - offset);
    let backwards = backwards.collect::<Vec<_>>();
    let before = sums(&mirrored, &backwards, count, least, sharpness);
    let begins = |i: usize| {
        let ways = (1..count).map(|k| (before[k][n - i] + after[count - k][i] - all).exp());
        ways.sum::<f64>().min(1.)
    };
    Some((0..n).map(begins).collect())
}

/// Of each number of segments up to `count`, for each unit, the logarithm of the sum over the ways to cut all from there on into so many.
fn sums(
    costs: &[Vec<f32>],
    offsets: &[f32],
    count: usize,
    least: f32,
    sharpness: f64,
) -> Vec<Vec<f64>> {
    let n = costs.len();
    let mut sums = vec![vec![f64::NEG_INFINITY; n + 1]];
    sums[0][n] = 0.;
    for k in 0..count {
        let shorter = &sums[k];
        // k more segments, of a unit each at least, end where all does.
        let last = n - k.min(n);
        let sum = |begin: usize| {
            if begin >= last {
                return f64::NEG_INFINITY;
            }
            let long = |offset: &f32| offset - offsets[begin] < least;
            let first = begin + offsets[begin + 1..].partition_point(long);
            let costs = costs[begin].get(first - begin..).unwrap_or(&[]);
            let ways = || {
                let ways = costs.iter().zip(&shorter[(first + 1).min(last + 1)..=last]);
                ways.map(|(&cost, after)| after - sharpness * f64::from(cost))
            };
            let most = ways().fold(f64::NEG_INFINITY, f64::max);
            let near = ways().map(|way| way - most);
            let near = near.filter(|&way| way > -NEGLIGIBLE).map(f64::exp);
            match most.is_finite() {
                true => most + near.sum::<f64>().ln(),
                false => most,
            }
        };
        let mut longer = (0..n).into_par_iter().map(sum).collect::<Vec<_>>();
        longer.push(f64::NEG_INFINITY);
        sums.push(longer);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weight of every way to cut the units from `begin` on, with the beginnings of its segments.
    fn every_way(
        costs: &[Vec<f32>],
        begin: usize,
        count: usize,
        least: usize,
        sharpness: f64,
    ) -> Vec<(f64, Vec<usize>)> {
        if begin == costs.len() || count == 0 {
            let is_whole = begin == costs.len() && count == 0;
            return if is_whole { vec![(1., vec![])] } else { vec![] };
        }
        let lengths = least.max(1)..=costs.len() - begin;
        let ways = lengths.flat_map(|length| {
            let own = (-sharpness * f64::from(costs[begin][length - 1])).exp();
            let rest = every_way(costs, begin + length, count - 1, least, sharpness);
            rest.into_iter()
                .map(move |(weight, begins)| (own * weight, [vec![begin], begins].concat()))
        });
        ways.collect()
    }

    #[test]
    fn chances_are_those_of_every_way_counted_out() {
        let n = 9;
        let cost = |i: usize, j: usize| ((i * 31 + j * 17) % 13) as f32 / 5.;
        let costs = (0..n).map(|i| (i..n).map(|j| cost(i, j)).collect());
        let costs = costs.collect::<Vec<Vec<f32>>>();
        let offsets = (0..=n).map(|i| i as f32).collect::<Vec<_>>();
        let cases = [(1, 0), (3, 0), (4, 2), (9, 1), (3, 3)];
        let cases = cases.map(|case| [(case, 2.), (case, 40.)]).concat();
        for ((count, least), sharpness) in cases {
            let found = chances(&costs, &offsets, count, least as f32, sharpness).unwrap();
            let ways = every_way(&costs, 0, count, least, sharpness);
            let all = ways.iter().map(|(weight, _)| weight).sum::<f64>();
            for (i, found) in found.iter().enumerate().skip(1) {
                let with = ways.iter().filter(|(_, begins)| begins.contains(&i));
                let expected = with.map(|(weight, _)| weight).sum::<f64>() / all;
                assert!((found - expected).abs() < 1e-6, "{count} {least} {i}");
            }
            assert_eq!(found[0], 0.);
        }
        assert_eq!(chances(&costs, &offsets, 4, 3., 2.), None);
    }
}

//! Where to cut: the segmentation of least cost, exactly, by dynamic programming.
//!
//! A segment's cost is the weighted squared distance of its units' vectors from their mean (k-means over contiguous
//! segments; Fisher 1958, Bellman 1961). Weights are words, so that ten short asides do not outvote a long answer.

/// Something that can begin a segment: a vector and its weight, at least 0.
#[derive(Debug, Clone)]
pub struct Unit {
    pub vector: Vec<f32>,
    pub weight: f32,
}

/// More units than this are merged in neighbouring groups first: cost grows with the square of their number, and
/// at this many a unit is far shorter than a chapter.
const MAX_UNITS: usize = 2000;

/// The first unit of each of `count` segments, in order, beginning with 0.
///
/// No segment is lighter than `least` of the mean weight of a segment where that can be had at all.
/// Returns fewer segments only where there are fewer units.
pub fn segment(units: &[Unit], count: usize, least: f32) -> Vec<usize> {
    let count = count.clamp(1, units.len().max(1));
    if units.is_empty() || count == 1 {
        return vec![0];
    }
    let group = units.len().div_ceil(MAX_UNITS.max(count));
    let grouped = units.chunks(group).map(merge).collect::<Vec<_>>();
    let count = count.min(grouped.len());
    let costs = Costs::new(&grouped);
    let total: f32 = grouped.iter().map(|unit| unit.weight).sum();
    let mut least = least * total / count as f32;
    // A single unit of great weight can make the least unreachable; then it gives way.
    loop {
        if let Some(starts) = cheapest(&costs, &grouped, count, least) {
            return starts.into_iter().map(|start| start * group).collect();
        }
        least = if least > 1. { least / 2. } else { 0. };
    }
}

fn merge(units: &[Unit]) -> Unit {
    let weight: f32 = units.iter().map(|unit| unit.weight).sum();
    let mut vector = vec![0.; units[0].vector.len()];
    for unit in units {
        for (sum, x) in vector.iter_mut().zip(&unit.vector) {
            *sum += x * unit.weight / weight.max(f32::MIN_POSITIVE);
        }
    }
    Unit { vector, weight }
}

/// The cost of every segment `i..=j`.
struct Costs {
    /// Row `i` holds the segments that begin at `i`: `j = i, i + 1, ...`.
    rows: Vec<Vec<f32>>,
}

impl Costs {
    fn new(units: &[Unit]) -> Self {
        Self {
            rows: (0..units.len()).map(|i| Self::row(&units[i..])).collect(),
        }
    }

    /// Costs of the segments that begin with the first unit: sum of w |x|^2 minus |sum of w x|^2 / sum of w.
    fn row(units: &[Unit]) -> Vec<f32> {
        let mut sum = vec![0f32; units[0].vector.len()];
        let (mut squares, mut weight) = (0f64, 0f64);
        units
            .iter()
            .map(|unit| {
                let mut norm = 0f32;
                let mut of_sum = 0f32;
                for (total, x) in sum.iter_mut().zip(&unit.vector) {
                    *total += unit.weight * x;
                    norm += x * x;
                    of_sum += *total * *total;
                }
                squares += f64::from(unit.weight * norm);
                weight += f64::from(unit.weight);
                (squares - f64::from(of_sum) / weight.max(f64::MIN_POSITIVE)).max(0.) as f32
            })
            .collect()
    }
}

/// The cheapest way to cut into `count` segments that weigh at least `least`, or `None` where there is none.
fn cheapest(costs: &Costs, units: &[Unit], count: usize, least: f32) -> Option<Vec<usize>> {
    let n = units.len();
    // weights[i] is the weight before unit i.
    let mut weights = vec![0f32; n + 1];
    for (i, unit) in units.iter().enumerate() {
        weights[i + 1] = weights[i] + unit.weight;
    }
    // best[j]: the least cost of units 0..j in as many segments as rounds done; from[k][j]: where its last begins.
    let mut best = vec![f32::INFINITY; n + 1];
    best[0] = 0.;
    let mut from = Vec::with_capacity(count);
    for _ in 0..count {
        let mut next = vec![f32::INFINITY; n + 1];
        let mut origin = vec![0u32; n + 1];
        for (start, &so_far) in best.iter().enumerate().take(n) {
            if so_far.is_infinite() {
                continue;
            }
            for (length, &cost) in costs.rows[start].iter().enumerate() {
                let end = start + length + 1;
                if so_far + cost < next[end] && weights[end] - weights[start] >= least {
                    next[end] = so_far + cost;
                    origin[end] = start as u32;
                }
            }
        }
        from.push(origin);
        best = next;
    }
    if best[n].is_infinite() {
        return None;
    }
    let mut starts = Vec::with_capacity(count);
    let mut end = n;
    for origin in from.iter().rev() {
        end = origin[end] as usize;
        starts.push(end);
    }
    starts.reverse();
    Some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(values: &[f32]) -> Vec<Unit> {
        values
            .iter()
            .map(|&x| Unit {
                vector: vec![x, 1.],
                weight: 10.,
            })
            .collect()
    }

    /// Every segmentation tried, the slow way.
    fn brute_force(units: &[Unit], count: usize) -> f32 {
        fn go(costs: &Costs, start: usize, n: usize, count: usize) -> f32 {
            if count == 1 {
                return costs.rows[start][n - 1 - start];
            }
            (start + 1..=n + 1 - count)
                .map(|cut| costs.rows[start][cut - 1 - start] + go(costs, cut, n, count - 1))
                .fold(f32::INFINITY, f32::min)
        }
        go(&Costs::new(units), 0, units.len(), count)
    }

    fn cost(units: &[Unit], starts: &[usize]) -> f32 {
        let ends = starts[1..].iter().copied().chain([units.len()]);
        let costs = Costs::new(units);
        let pairs = starts.iter().zip(ends);
        pairs.map(|(&s, e)| costs.rows[s][e - 1 - s]).sum()
    }

    #[test]
    fn plain_changes_are_found() {
        let starts = segment(&units(&[0., 0., 0., 5., 5., 9., 9., 9.]), 3, 0.);
        assert_eq!(starts, [0, 3, 5]);
    }

    #[test]
    fn no_segmentation_is_cheaper() {
        let values = (0..14).map(|i| ((i * 37 + 11) % 17) as f32);
        let units = units(&values.collect::<Vec<_>>());
        for count in 2..6 {
            let found = cost(&units, &segment(&units, count, 0.));
            let least = brute_force(&units, count);
            assert!((found - least).abs() < 1e-2, "{found} {least}");
        }
    }

    #[test]
    fn an_outlier_is_no_segment_of_its_own() {
        let values = [0., 0., 9., 0., 0., 0., 1., 1., 1., 1., 1., 1.];
        assert_eq!(segment(&units(&values), 2, 0.5), [0, 6]);
    }

    #[test]
    fn a_least_weight_that_cannot_be_had_gives_way() {
        let mut units = units(&[0., 1., 2.]);
        units[0].weight = 1000.;
        assert_eq!(segment(&units, 3, 0.9), [0, 1, 2]);
    }

    #[test]
    fn more_segments_than_units_are_as_many_as_units() {
        assert_eq!(segment(&units(&[0., 1.]), 5, 0.3), [0, 1]);
        assert_eq!(segment(&[], 5, 0.3), [0]);
    }

    #[test]
    fn thousands_of_units_keep_their_order() {
        let values = (0..7000).map(|i| (i / 700) as f32).collect::<Vec<_>>();
        let starts = segment(&units(&values), 10, 0.2);
        assert_eq!(starts.len(), 10);
        assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(starts.iter().zip(0..).all(|(s, i)| s.abs_diff(i * 700) < 5));
    }
}

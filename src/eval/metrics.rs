//! How near some boundaries are to those of a person. Boundaries are places inside a text, ascending, without its beginning and end.

/// F1 of boundaries, each matched with at most one of the other side that is no farther than `tolerance` (in the unit of the places).
/// Matches are as many as can be: both sides are ascending, so taking the first that fits loses none. 1 where neither side has any.
pub fn f1(found: &[f64], human: &[f64], tolerance: f64) -> f64 {
    if found.is_empty() && human.is_empty() {
        return 1.;
    }
    let (mut i, mut j, mut matched) = (0, 0, 0);
    while i < found.len() && j < human.len() {
        let apart = found[i] - human[j];
        if apart.abs() <= tolerance {
            matched += 1;
            i += 1;
            j += 1;
        } else if apart < 0. {
            i += 1;
        } else {
            j += 1;
        }
    }
    2. * f64::from(matched) / (found.len() + human.len()) as f64
}

/// What windows of half a human segment's mean length find wrong, as the window moves over a text of `length` units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windowed {
    /// The part of windows whose ends lie in one segment for one side only (Beeferman, Berger and Lafferty 1999).
    pub pk: f64,
    /// The part of windows in which both sides do not have the same number of boundaries (Pevzner and Hearst 2002).
    pub window_diff: f64,
}

/// Both errors, 0 to 1. "No boundary at all" has about 0.4: they are not to be judged by alone.
pub fn windowed(found: &[usize], human: &[usize], length: usize) -> Windowed {
    let window = (length as f64 / (human.len() + 1) as f64 / 2.)
        .round()
        .max(1.) as usize;
    let (found, human) = (before(found, length), before(human, length));
    let windows = length.saturating_sub(window);
    let (mut pk, mut window_diff) = (0, 0);
    for begin in 0..windows {
        // A boundary at place p lies between units p - 1 and p.
        let inside = |counts: &[u32]| counts[begin + window] - counts[begin];
        let (a, b) = (inside(&found), inside(&human));
        pk += usize::from((a == 0) != (b == 0));
        window_diff += usize::from(a != b);
    }
    let part = |count: usize| count as f64 / windows.max(1) as f64;
    Windowed {
        pk: part(pk),
        window_diff: part(window_diff),
    }
}

/// For every place, how many boundaries lie there or before.
fn before(boundaries: &[usize], length: usize) -> Vec<u32> {
    let mut counts = vec![0; length + 1];
    for &place in boundaries.iter().filter(|&&place| place <= length) {
        counts[place] += 1;
    }
    for i in 1..counts.len() {
        counts[i] += counts[i - 1];
    }
    counts
}

/// Units by which a boundary may be off and still count as moved, by half a boundary, instead of one missed and one made up.
const NEAR: usize = 1;

/// Boundary similarity (Fournier 2013) with transpositions over two units (its n_t), 0 to 1: 1 less the edits that turn one side into the
/// other, as a part of all pairs of boundaries. 1 where neither side has any.
pub fn boundary_similarity(found: &[usize], human: &[usize]) -> f64 {
    let alone = |own: &[usize], other: &[usize]| {
        let own = own.iter().filter(|place| !other.contains(place));
        own.copied().collect::<Vec<_>>()
    };
    let mut found_alone = alone(found, human);
    let matched = found.len() - found_alone.len();
    let (mut moved, mut missed) = (0, 0);
    for place in alone(human, found) {
        match found_alone
            .iter()
            .position(|other| other.abs_diff(place) <= NEAR)
        {
            Some(near) => {
                found_alone.remove(near);
                moved += 1;
            }
            None => missed += 1,
        }
    }
    let edits = found_alone.len() + missed;
    let pairs = matched + moved + edits;
    if pairs == 0 {
        return 1.;
    }
    1. - (edits as f64 + 0.5 * f64::from(moved as u32)) / pairs as f64
}

/// The middle 95 % of the means of samples drawn from `values` with replacement (percentile bootstrap; Efron 1979). Draws are seeded.
pub fn interval(values: &[f64]) -> Option<[f64; 2]> {
    if values.len() < 2 {
        return None;
    }
    // SplitMix64 (Steele, Lea and Flood 2014): nothing here needs more.
    let mut state = 0u64;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        values[((x ^ (x >> 31)) % values.len() as u64) as usize]
    };
    let mut mean = || values.iter().map(|_| draw()).sum::<f64>() / values.len() as f64;
    let mut means = (0..RESAMPLES).map(|_| mean()).collect::<Vec<_>>();
    means.sort_by(f64::total_cmp);
    let at = |part: f64| means[(part * (RESAMPLES - 1) as f64).round() as usize];
    Some([at(0.025), at(0.975)])
}

const RESAMPLES: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_matched_once_and_within_the_tolerance() {
        assert_eq!(f1(&[10., 12.], &[11.], 2.), 2. / 3.);
        assert_eq!(f1(&[10., 50.], &[12., 53.], 2.), 0.5);
        assert_eq!(f1(&[10., 50.], &[12., 53.], 3.), 1.);
        // The nearest first would leave one without a match.
        assert_eq!(f1(&[10., 14.], &[13., 17.], 3.), 1.);
        assert_eq!((f1(&[], &[], 1.), f1(&[], &[5.], 1.)), (1., 0.));
    }

    #[test]
    fn windows_see_what_is_missing_and_what_is_near() {
        let same = windowed(&[10, 20], &[10, 20], 30);
        assert_eq!((same.pk, same.window_diff), (0., 0.));
        // Windows of 5 over 30 units; 5 of 25 windows have the one boundary that nobody else has.
        let missing = windowed(&[10], &[10, 20], 30);
        assert_eq!((missing.pk, missing.window_diff), (0.2, 0.2));
        let near = windowed(&[10, 21], &[10, 20], 30);
        assert_eq!(near.pk, 2. / 25.);
        // Two in one window are no more than one to Pk.
        let double = windowed(&[10, 11, 20], &[10, 20], 30);
        assert!(double.pk < double.window_diff);
    }

    #[test]
    fn boundaries_are_alike_by_their_edits() {
        assert_eq!(boundary_similarity(&[3, 7], &[3, 7]), 1.);
        assert_eq!(boundary_similarity(&[3, 8], &[3, 7]), 0.75);
        assert!((boundary_similarity(&[3, 9], &[3, 7]) - 1. / 3.).abs() < 1e-9);
        assert_eq!(boundary_similarity(&[], &[7]), 0.);
        assert_eq!(boundary_similarity(&[], &[]), 1.);
    }

    #[test]
    fn intervals_hold_the_mean_and_are_the_same_every_time() {
        let values = [0.1, 0.4, 0.2, 0.9, 0.5];
        let [low, high] = interval(&values).unwrap();
        assert!((0.1..0.42).contains(&low) && (0.42..=0.9).contains(&high));
        assert_eq!(interval(&values), Some([low, high]));
        assert_eq!(interval(&[0.3]), None);
    }
}

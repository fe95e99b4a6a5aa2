//! How well a sentence of a chapter's summary stands for the whole recording.
//!
//! A linear regression, fitted by `scripts/fit_whole.py` on the sentences of 52 recordings' summaries that were judged by reading
//! (`models/adapters/whole_judged.jsonl`): 0 for what does not belong into three sentences on the whole, 1 for what may, 2 for what an editor
//! would choose.

/// How many signs there are.
const COUNT: usize = 4;

/// The weight of each, in the order of [`signs`], and what is added.
const WEIGHTS: [f32; COUNT] = [0.218, 0.41, 0.895, 0.124];
const BIAS: f32 = -0.235;

/// The chance to be good of a sentence whose model has no probes, and of a quotation: the mean of those judged.
const USUAL: f32 = 0.4;

/// Sentences of other chapters with which one is compared.
const OTHERS: usize = 5;

/// What is known of a sentence:
///
/// 0. the log odds of its chance to be good ([`crate::trust`]), kept from infinity;
/// 1. its cosine with what sets its chapter apart ([`Passage::focus`](crate::chunk::Passage::focus));
/// 2. its mean cosine with the nearest sentences of other chapters' summaries: what comes up again is what the recording is about (LexRank,
///    Erkan and Radev 2004);
/// 3. the logarithm of the number of its words.
pub fn signs(
    good: Option<f32>,
    relevance: f32,
    mut others: Vec<f32>,
    words: usize,
) -> [f32; COUNT] {
    let good = good.unwrap_or(USUAL);
    others.sort_by(|a, b| b.total_cmp(a));
    others.truncate(OTHERS);
    [
        ((good + 0.01) / (1.01 - good)).ln(),
        relevance,
        others.iter().sum::<f32>() / others.len().max(1) as f32,
        (words.max(1) as f32).ln(),
    ]
}

/// The judgement that is to be expected, about 0 to 2.
pub fn value(signs: [f32; COUNT]) -> f32 {
    let terms = signs.into_iter().zip(WEIGHTS);
    BIAS + terms.map(|(sign, weight)| sign * weight).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_counted() {
        let near = vec![0.1, 0.9, 0.2, 0.3, 0.4, 0.5];
        let found = signs(Some(0.5), 0.7, near, 8);
        let wanted = [0., 0.7, 0.46, 8f32.ln()];
        for (found, wanted) in found.into_iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        }
        assert_eq!(signs(None, 0., Vec::new(), 0)[2..], [0., 0.]);
        assert!(signs(Some(1.), 0., Vec::new(), 1)[0].is_finite());
    }

    #[test]
    fn what_is_good_and_comes_up_again_is_worth_more() {
        let of = |good, near| value(signs(Some(good), 0.5, vec![near; 5], 15));
        assert!(of(0.6, 0.3) > of(0.2, 0.3));
        assert!(of(0.3, 0.6) > of(0.3, 0.2));
    }
}

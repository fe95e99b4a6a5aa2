//! Beam search for one text: the most likely few beginnings are continued side by side, and the best ending wins.
//!
//! Reference: `_beam_search` of transformers 5.23, followed in every detail that can change the text: which candidates may end,
//! when ends stop being counted, how length is weighed, when the search is over.

use std::collections::HashSet;

use super::batch::Cache;
use super::generation::{Beams, EarlyStopping};
use super::rules::Rules;

/// The state of one text's search.
pub struct BeamSearch<'a> {
    beams: Beams,
    rules: Rules,
    stops: &'a HashSet<u32>,
    max_tokens: usize,
    /// Best first.
    running: Vec<Hypothesis>,
    /// Best first, at most as many as there are beams. The scores are weighed by length.
    ended: Vec<Hypothesis>,
    /// Whether the ended texts can still be improved on.
    open: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Hypothesis {
    score: f32,
    ids: Vec<u32>,
}

/// A token that may continue a beam, and the score of the beam with it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    score: f32,
    parent: usize,
    token: u32,
}

impl<'a> BeamSearch<'a> {
    /// A search that has written nothing yet: one beam.
    pub fn new(beams: Beams, rules: Rules, stops: &'a HashSet<u32>, max_tokens: usize) -> Self {
        Self {
            beams,
            rules,
            stops,
            max_tokens,
            running: vec![Hypothesis {
                score: 0.,
                ids: Vec::new(),
            }],
            ended: Vec::new(),
            open: true,
        }
    }

    /// Takes the logits that follow each beam, in order and changed in place, and returns the beams of the next step: which of
    /// the present ones each continues, and with which token. None when the search is over.
    pub fn next(&mut self, logits: &mut [Vec<f32>]) -> Vec<(usize, u32)> {
        let count = self.beams.count;
        let candidates = self.candidates(logits);
        let length = self.running[0].ids.len() + 1;
        let ends = |c: &Candidate| length >= self.max_tokens || self.stops.contains(&c.token);
        let full = self.ended.len() >= count;
        if !(full && self.beams.early_stopping == EarlyStopping::AtOnce) {
            // Only what would be a beam may end; the candidates beyond are there to take the places of those that do.
            for candidate in candidates.iter().take(count).filter(|c| ends(c)) {
                let mut ended = self.continued(candidate);
                ended.score /= self.weight(length);
                self.ended.push(ended);
            }
            self.ended.sort_by(|a, b| b.score.total_cmp(&a.score));
            self.ended.truncate(count);
        }
        let kept = candidates.iter().filter(|c| !ends(c)).take(count);
        let kept = kept.copied().collect::<Vec<_>>();
        self.running = kept.iter().map(|c| self.continued(c)).collect();
        self.open = self.open && self.improvable(length);
        let full = self.ended.len() >= count;
        if !self.open || (full && self.beams.early_stopping == EarlyStopping::AtOnce) {
            return Vec::new();
        }
        kept.iter().map(|c| (c.parent, c.token)).collect()
    }

    /// The best text, without the id that ended it.
    pub fn into_text(self) -> Vec<u32> {
        let best = self.ended.into_iter().chain(self.running).next();
        let mut ids = best.map_or_else(Vec::new, |best| best.ids);
        if ids.last().is_some_and(|id| self.stops.contains(id)) {
            ids.pop();
        }
        ids
    }

    /// The best continuations of all beams, best first: so many that enough are left when some of them end.
    fn candidates(&self, logits: &mut [Vec<f32>]) -> Vec<Candidate> {
        let wanted = self.beams.count * (1 + self.stops.len()).max(2);
        let mut best = Vec::<Candidate>::with_capacity(wanted + 1);
        for (parent, (beam, scores)) in self.running.iter().zip(logits).enumerate() {
            log_softmax(scores);
            self.rules.apply(scores, &beam.ids, self.max_tokens);
            for (token, score) in (0u32..).zip(scores.iter()) {
                let score = score + beam.score;
                let worst = best.last().filter(|_| best.len() == wanted);
                let worst = worst.map_or(f32::NEG_INFINITY, |worst| worst.score);
                if score > worst {
                    let place = best.partition_point(|c| c.score >= score);
                    let candidate = Candidate {
                        score,
                        parent,
                        token,
                    };
                    best.insert(place, candidate);
                    best.truncate(wanted);
                }
            }
        }
        best
    }

    fn continued(&self, candidate: &Candidate) -> Hypothesis {
        let mut ids = self.running[candidate.parent].ids.clone();
        ids.push(candidate.token);
        Hypothesis {
            score: candidate.score,
            ids,
        }
    }

    /// Whether the best beam may still become better than the worst of the ended texts.
    fn improvable(&self, length: usize) -> bool {
        let Some(best) = self.running.first() else {
            return false;
        };
        if self.ended.len() < self.beams.count {
            return true;
        }
        let longest =
            self.beams.early_stopping == EarlyStopping::Never && self.beams.length_penalty > 0.;
        let length = if longest { self.max_tokens } else { length };
        let worst = self.ended.last().map_or(f32::NEG_INFINITY, |h| h.score);
        best.score / self.weight(length) > worst
    }

    fn weight(&self, length: usize) -> f32 {
        (length as f64).powf(self.beams.length_penalty) as f32
    }
}

/// Logits to log-probabilities, in place.
fn log_softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - largest).exp())).sum();
    let log_sum = sum.ln() as f32;
    for logit in logits {
        *logit = *logit - largest - log_sum;
    }
}

/// The caches of the next step's beams. Only where several continue the same one is it copied.
pub fn follow(caches: Vec<Cache>, parents: &[usize]) -> candle_core::Result<Vec<Cache>> {
    let mut children = vec![0; caches.len()];
    for parent in parents {
        children[*parent] += 1;
    }
    let mut caches = caches.into_iter().map(Some).collect::<Vec<_>>();
    let mut following = Vec::with_capacity(parents.len());
    for parent in parents {
        children[*parent] -= 1;
        let cache = &mut caches[*parent];
        following.push(match children[*parent] {
            0 => cache.take(),
            _ => cache.as_ref().map(Cache::fork).transpose()?,
        });
    }
    Ok(following.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::engine::batch::Model;
    use crate::engine::generate::{Row, generate_with};
    use crate::engine::generation::GenerationConfig;
    use crate::engine::sampler::Sampling;

    const VOCAB: u32 = 4;
    const STOP: u32 = 0;

    /// Logits after a text: without any order, but always the same.
    fn after(history: &[u32]) -> Vec<f32> {
        let mix = |hash: u64, id: &u32| (hash ^ u64::from(*id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hash = history.iter().fold(7, mix);
        let logit = |id: u32| (mix(hash, &id) >> 40) as f32 / (1 << 22) as f32;
        (0..VOCAB).map(logit).collect()
    }

    /// A model whose logits come from what is in the caches: a beam that continues the wrong one shows.
    struct Toy;

    impl Model for Toy {
        fn forward(
            &self,
            rows: &[&[u32]],
            caches: &mut [&mut Cache],
        ) -> candle_core::Result<Tensor> {
            let mut logits = Vec::new();
            for (row, cache) in rows.iter().zip(caches) {
                let ids = row.iter().map(|id| *id as f32).collect::<Vec<_>>();
                let ids = Tensor::from_vec(ids, (1, row.len(), 1), &Device::Cpu)?;
                let (held, _) = cache.append(0, &ids, &ids)?;
                cache.advance(row.len());
                let held = held.flatten_all()?.to_vec1::<f32>()?;
                let held = held.iter().map(|id| *id as u32).collect::<Vec<_>>();
                logits.extend(after(&held));
            }
            Tensor::from_vec(logits, (rows.len(), VOCAB as usize), &Device::Cpu)
        }

        fn cache(&self, capacity: usize) -> candle_core::Result<Cache> {
            Cache::new(1, (1, capacity, 1), DType::F32, &Device::Cpu)
        }

        fn cache_bytes_per_token(&self) -> usize {
            8
        }
    }

    fn config(beams: Beams) -> GenerationConfig {
        GenerationConfig {
            beams,
            ..GenerationConfig::plain([STOP].into())
        }
    }

    fn write(rows: &[(&[u32], usize)], beams: Beams) -> Vec<Vec<u32>> {
        let row = |(prompt, max_tokens): &(&[u32], usize)| Row {
            prompt: Rc::new(prompt.to_vec()),
            max_tokens: *max_tokens,
            sampling: Sampling::greedy(),
            dictated: None,
            traced: None,
        };
        let rows = rows.iter().map(row).collect::<Vec<_>>();
        let texts = generate_with(&Toy, &rows, &config(beams), &mut |_, _| {}).unwrap();
        texts.into_iter().map(|text| text.ids).collect()
    }

    /// The best of all texts that there are, by trying them.
    fn best_of_all(
        (prompt, max_tokens): (&[u32], usize),
        written: &[u32],
        score: f32,
        penalty: f64,
    ) -> (f64, Vec<u32>) {
        let mut logits = after(&[prompt, written].concat());
        log_softmax(&mut logits);
        let ways = (0..VOCAB).zip(logits).map(|(id, logit)| {
            let score = score + logit;
            let text = [written, &[id]].concat();
            if id != STOP && text.len() < max_tokens {
                return best_of_all((prompt, max_tokens), &text, score, penalty);
            }
            let weight = (text.len() as f64).powf(penalty);
            let text = if id == STOP { written.to_vec() } else { text };
            (f64::from(score) / weight, text)
        });
        ways.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    #[test]
    fn with_beams_enough_for_all_texts_the_best_of_all_is_found() {
        let mut lengths = HashSet::new();
        for prompt in [&[1, 2][..], &[3], &[2, 2, 1], &[1, 3, 3]] {
            for length_penalty in [-1., 0., 0.5, 1., 2.] {
                let beams = Beams {
                    count: 81,
                    length_penalty,
                    early_stopping: EarlyStopping::Never,
                };
                let best = best_of_all((prompt, 4), &[], 0., length_penalty).1;
                lengths.insert(best.len());
                assert_eq!(write(&[(prompt, 4)], beams), [best]);
            }
        }
        assert!(lengths.len() > 2, "{lengths:?}");
    }

    #[test]
    fn rows_with_beams_equal_themselves_alone() {
        let rows = [
            (&[1, 2][..], 9),
            (&[3], 4),
            (&[1, 2], 9),
            (&[2, 1, 1, 3], 12),
        ];
        for count in [2, 3, 5] {
            let beams = Beams {
                count,
                length_penalty: 2.,
                ..Beams::default()
            };
            let together = write(&rows, beams);
            for (row, text) in rows.iter().zip(&together) {
                assert_eq!(write(&[*row], beams), [&text[..]]);
            }
            assert_eq!(together[0], together[2]);
        }
    }

    /// Searches with two beams where the probabilities of 0 (which ends), 1 and 2 after each text are given.
    fn search(
        early_stopping: EarlyStopping,
        probabilities: impl Fn(&[u32]) -> [f32; 3],
    ) -> Vec<u32> {
        let beams = Beams {
            count: 2,
            length_penalty: 1.,
            early_stopping,
        };
        let stops = [STOP].into();
        let mut search = BeamSearch::new(beams, Rules::default(), &stops, 8);
        loop {
            let logits = |beam: &Hypothesis| probabilities(&beam.ids).map(f32::ln).to_vec();
            let mut logits = search.running.iter().map(logits).collect::<Vec<_>>();
            if search.next(&mut logits).is_empty() {
                return search.into_text();
            }
        }
    }

    #[test]
    fn a_search_is_over_at_once_or_when_nothing_better_can_come() {
        // 2 0 ends with 0.18, when 1 1 has 0.4 and is sure to end.
        let probabilities = |text: &[u32]| match text {
            [] => [0.3, 0.5, 0.2],
            [1] => [0.2, 0.8, 0.],
            [2] => [0.9, 0., 0.1],
            _ => [0.9, 0.1, 0.],
        };
        assert_eq!(search(EarlyStopping::AtOnce, probabilities), [2]);
        assert_eq!(search(EarlyStopping::Heuristic, probabilities), [1, 1]);
        // 1 1 now has less than both that have ended, but would have more with what is sure to come.
        let probabilities = |text: &[u32]| match text {
            [] => [0.4, 0.35, 0.25],
            [2] => [1., 0., 0.],
            [1] => [0.3, 0.36, 0.34],
            [1, 1] | [1, 1, 1] => [0., 1., 0.],
            _ => [1., 0., 0.],
        };
        assert_eq!(search(EarlyStopping::Heuristic, probabilities), [2]);
        assert_eq!(search(EarlyStopping::Never, probabilities), [1, 1, 1, 1]);
    }

    #[test]
    fn a_beam_that_ends_gives_its_place_to_the_next_best() {
        let stops = [STOP].into();
        let beams = Beams {
            count: 2,
            early_stopping: EarlyStopping::Never,
            ..Beams::default()
        };
        let mut search = BeamSearch::new(beams, Rules::default(), &stops, 8);
        let logits = [0.5, 0.3, 0.2].map(f32::ln).to_vec();
        assert_eq!(search.next(&mut [logits]), [(0, 1), (0, 2)]);
        assert_eq!(search.ended.len(), 1);
        // The third of the candidates ends, with 0.1, but would not have been a beam.
        let first = [0.1, 0.5, 0.4].map(f32::ln).to_vec();
        let second = [0.5, 0.25, 0.25].map(f32::ln).to_vec();
        assert_eq!(search.next(&mut [first, second]), [(0, 1), (0, 2)]);
        assert_eq!(search.ended.len(), 1);
    }

    #[test]
    fn logarithms_of_probabilities_sum_to_one() {
        let mut scores = [1., 3., 2., -50.];
        log_softmax(&mut scores);
        let sum = scores.iter().map(|x| x.exp()).sum::<f32>();
        assert!((sum - 1.).abs() < 1e-6);
        assert!((scores[1] - scores[0] - 2.).abs() < 1e-6);
    }
}

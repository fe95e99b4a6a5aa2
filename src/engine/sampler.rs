//! Logits to the next token: greedy, or temperature and top-p with a seed per row, after a repetition penalty.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How a row picks its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 picks the most likely token always.
    pub temperature: f32,
    /// The smallest set of tokens whose probabilities reach this sum is drawn from (Holtzman et al. 2019).
    pub top_p: f32,
    /// Logits of tokens already written are divided (when positive) or multiplied by this (Keskar et al. 2019).
    pub repetition_penalty: f32,
    /// A run of so many tokens is never written twice, as `no_repeat_ngram_size` in transformers. 0 is off.
    pub no_repeat_ngram: usize,
    /// Added to the logits of tokens that occur in the prompt: a small model that may say anything invents, one that
    /// is drawn towards the words it was given stays with them. 0 is off.
    pub copy_bias: f32,
    pub seed: u64,
    /// The token with which the answer that there is nothing to say begins. None begins with it; see [`Sampler::refusal`].
    pub refusal: Option<u32>,
}

impl Sampling {
    pub fn greedy() -> Self {
        Self {
            temperature: 0.,
            top_p: 1.,
            repetition_penalty: 1.,
            no_repeat_ngram: 0,
            copy_bias: 0.,
            seed: 0,
            refusal: None,
        }
    }
}

/// What a checkpoint asks of a text, token by token: the logits processors of transformers of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The token before the first one written, which counts as written for `no_repeat_ngram`.
    pub start: Option<u32>,
    /// As in [`Sampling`].
    pub no_repeat_ngram: usize,
    /// A text does not end before it has so many tokens (`min_new_tokens`, `min_length`).
    pub min_tokens: usize,
    /// The tokens that end a text.
    pub ends: Vec<u32>,
    /// The first token, whatever the logits are (`forced_bos_token_id`).
    pub first: Option<u32>,
    /// The last token of a text that has not ended before, one of these (`forced_eos_token_id`).
    pub last: Vec<u32>,
}

impl Rules {
    /// The rules for a text of at most `max_tokens`. One that may not end before it must is meant to be shorter than what the
    /// checkpoint was made for, a title: it ends where it likes.
    pub fn for_length(&self, max_tokens: usize) -> Self {
        let min_tokens = match self.min_tokens < max_tokens {
            true => self.min_tokens,
            false => 0,
        };
        Self {
            min_tokens,
            ..self.clone()
        }
    }

    /// Excludes what may not come after `written`, in the order of transformers.
    pub fn apply(&self, scores: &mut [f32], written: &[u32], max_tokens: usize) {
        if self.no_repeat_ngram > 0 {
            let history = self.start.iter().chain(written).copied();
            forbid_repeats(scores, &history.collect::<Vec<_>>(), self.no_repeat_ngram);
        }
        if written.len() < self.min_tokens {
            for id in &self.ends {
                scores[*id as usize] = f32::NEG_INFINITY;
            }
        }
        if written.is_empty() {
            force(scores, self.first.as_slice());
        }
        if written.len() + 1 == max_tokens {
            force(scores, &self.last);
        }
    }
}

/// Leaves only these ids, all alike; nothing changes where there are none.
fn force(scores: &mut [f32], ids: &[u32]) {
    if ids.is_empty() {
        return;
    }
    scores.fill(f32::NEG_INFINITY);
    for id in ids {
        scores[*id as usize] = 0.;
    }
}

/// The state of one row: its generator depends on its own seed only, so that a row's text does not depend on
/// what else is in the batch.
pub struct Sampler {
    sampling: Sampling,
    rules: Rules,
    max_tokens: usize,
    rng: ChaCha8Rng,
    /// The tokens of the prompt, each once.
    given: Vec<u32>,
    /// Of the tokens picked so far: the sum of the entropies of what they were picked from, and how many.
    entropy: f32,
    picked: usize,
    /// Of those that were dictated: the sum of their surprisals.
    surprise: Option<f32>,
    refusal: Option<f32>,
}

impl Sampler {
    /// For a text after `prompt` of at most `max_tokens` under `rules`.
    pub fn new(sampling: Sampling, prompt: &[u32], rules: Rules, max_tokens: usize) -> Self {
        let mut given = Vec::new();
        if sampling.copy_bias != 0. {
            given.extend_from_slice(prompt);
            given.sort_unstable();
            given.dedup();
        }
        Self {
            given,
            sampling,
            rules,
            max_tokens,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            entropy: 0.,
            picked: 0,
            surprise: None,
            refusal: None,
        }
    }

    /// The mean entropy, in nats, of the model's own distributions for the tokens picked so far, the one that ended the text among them;
    /// what biases, penalties and temperature make of them does not count. `None` before the first.
    pub fn doubt(&self) -> Option<f32> {
        (self.picked > 0).then(|| self.entropy / self.picked as f32)
    }

    /// How likely the model was to answer that there is nothing to say; `None` where that is not known.
    pub fn refusal(&self) -> Option<f32> {
        self.refusal
    }

    /// The mean surprisal, in nats, of the tokens that were dictated; see [`Sampler::dictate`]. `None` where none were.
    pub fn surprise(&self) -> Option<f32> {
        self.surprise.map(|sum| sum / self.picked as f32)
    }

    /// Takes a token as the next, whatever the model would write.
    pub fn dictate(&mut self, logits: &[f32], token: u32) {
        self.entropy += entropy(logits);
        *self.surprise.get_or_insert(0.) -= log_probability(logits, token);
        self.picked += 1;
    }

    /// The next token after `written`. `logits` is changed in place.
    pub fn next(&mut self, logits: &mut [f32], written: &[u32]) -> u32 {
        self.entropy += entropy(logits);
        self.picked += 1;
        if let Some(id) = self.sampling.refusal.filter(|_| written.is_empty()) {
            self.refusal = Some(log_probability(logits, id).exp());
            logits[id as usize] = f32::NEG_INFINITY;
        }
        for id in &self.given {
            logits[*id as usize] += self.sampling.copy_bias;
        }
        penalize(logits, written, self.sampling.repetition_penalty);
        forbid_repeats(logits, written, self.sampling.no_repeat_ngram);
        self.rules.apply(logits, written, self.max_tokens);
        if self.sampling.temperature <= 0. {
            return argmax(logits);
        }
        self.draw(logits)
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let best = logits[argmax(logits) as usize];
        let temperature = self.sampling.temperature;
        // Tokens less likely than e^-12 of the best cannot matter to the sum; leaving them out before the sort
        // turns a sort of the vocabulary into one of some hundreds.
        let mut likely = logits
            .iter()
            .zip(0u32..)
            .map(|(logit, id)| ((logit - best) / temperature, id))
            .filter(|(scaled, _)| *scaled > -12.)
            .map(|(scaled, id)| (scaled.exp(), id))
            .collect::<Vec<_>>();
        likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let total: f32 = likely.iter().map(|(p, _)| p).sum();
        let mut kept = 0.;
        let count = likely
            .iter()
            .take_while(|(p, _)| {
                let more = kept < self.sampling.top_p * total;
                kept += p;
                more
            })
            .count()
            .max(1);
        likely.truncate(count);
        let mut left = self.rng.random::<f32>() * likely.iter().map(|(p, _)| p).sum::<f32>();
        for (p, id) in &likely {
            left -= p;
            if left <= 0. {
                return *id;
            }
        }
        likely[0].1
    }
}

/// Of a token in the distribution that logits stand for.
fn log_probability(logits: &[f32], id: u32) -> f32 {
    let best = logits[argmax(logits) as usize];
    let total = logits.iter().map(|logit| (logit - best).exp()).sum::<f32>();
    logits[id as usize] - best - total.ln()
}

/// Of the distribution that logits stand for, in nats.
fn entropy(logits: &[f32]) -> f32 {
    let best = logits[argmax(logits) as usize];
    // What is less likely than that by e^-12 adds less than a thousandth each, and is most of the vocabulary.
    let likely = logits
        .iter()
        .map(|logit| logit - best)
        .filter(|scaled| *scaled > -12.);
    let (mut total, mut sum) = (0., 0.);
    for scaled in likely {
        let weight = scaled.exp();
        total += weight;
        sum += weight * scaled;
    }
    total.ln() - sum / total
}

fn penalize(logits: &mut [f32], written: &[u32], penalty: f32) {
    if penalty == 1. {
        return;
    }
    let mut seen = written.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        let logit = &mut logits[id as usize];
        *logit = if *logit > 0. {
            *logit / penalty
        } else {
            *logit * penalty
        };
    }
}

/// Excludes every token that would complete a run of `size` tokens written before.
fn forbid_repeats(logits: &mut [f32], written: &[u32], size: usize) {
    if size == 0 || written.len() < size {
        return;
    }
    let tail = &written[written.len() + 1 - size..];
    for run in written.windows(size) {
        if run.starts_with(tail) {
            logits[run[size - 1] as usize] = f32::NEG_INFINITY;
        }
    }
}

/// The first of the largest values: ties go to the lower id, as in llama.cpp and transformers.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(seed: u64) -> Sampling {
        Sampling {
            temperature: 1.,
            top_p: 0.9,
            repetition_penalty: 1.,
            no_repeat_ngram: 0,
            copy_bias: 0.,
            seed,
            refusal: None,
        }
    }

    fn sampler(sampling: Sampling, prompt: &[u32]) -> Sampler {
        Sampler::new(sampling, prompt, Rules::default(), 100)
    }

    #[test]
    fn a_copy_bias_draws_towards_the_prompt() {
        let biased = Sampling {
            copy_bias: 2.,
            ..Sampling::greedy()
        };
        let mut sampler = sampler(biased, &[2, 2, 0]);
        // Given once or twice, the bias is the same.
        assert_eq!(sampler.next(&mut [0., 4., 2.5, 0.], &[]), 2);
        assert_eq!(sampler.next(&mut [0., 5., 2.5, 0.], &[]), 1);
    }

    #[test]
    fn doubt_is_the_mean_entropy_of_the_model_alone() {
        let biased = Sampling {
            copy_bias: 2.,
            repetition_penalty: 1.5,
            ..Sampling::greedy()
        };
        let mut sampler = sampler(biased, &[0]);
        assert_eq!(sampler.doubt(), None);
        sampler.next(&mut [1., 1., 1., 1.], &[]);
        assert!((sampler.doubt().unwrap() - 4f32.ln()).abs() < 1e-6);
        sampler.next(&mut [90., 0., 0., f32::NEG_INFINITY], &[0]);
        assert!((sampler.doubt().unwrap() - 2f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_refusal_is_told_but_not_picked() {
        let sampling = Sampling {
            refusal: Some(1),
            ..Sampling::greedy()
        };
        let mut sampler = sampler(sampling, &[]);
        assert_eq!(sampler.refusal(), None);
        assert_eq!(
            sampler.next(&mut [0., 3f32.ln(), f32::NEG_INFINITY], &[]),
            0
        );
        assert!((sampler.refusal().unwrap() - 0.75).abs() < 1e-6);
        // Further on it is a token like others.
        assert_eq!(sampler.next(&mut [0., 9., 0.], &[0]), 1);
        assert!((sampler.refusal().unwrap() - 0.75).abs() < 1e-6);
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let mut sampler = sampler(Sampling::greedy(), &[]);
        assert_eq!(sampler.next(&mut [0., 3., 3., 1.], &[]), 1);
    }

    #[test]
    fn the_penalty_pushes_written_tokens_down_whatever_their_sign() {
        let mut logits = [2., -1., 0.5];
        penalize(&mut logits, &[0, 1, 0], 2.);
        assert_eq!(logits, [1., -2., 0.5]);
    }

    #[test]
    fn a_run_of_tokens_is_not_written_twice() {
        let sampling = Sampling {
            no_repeat_ngram: 3,
            ..Sampling::greedy()
        };
        let mut sampler = sampler(sampling, &[]);
        let logits = [0., 1., 2., 3.];
        assert_eq!(sampler.next(&mut logits.clone(), &[1, 2, 3, 1, 2]), 2);
        assert_eq!(sampler.next(&mut logits.clone(), &[1, 2, 3, 2]), 3);
        assert_eq!(sampler.next(&mut logits.clone(), &[1, 2]), 3);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens() {
        let draw = |seed| {
            let mut sampler = sampler(sampled(seed), &[]);
            (0..50)
                .map(|_| sampler.next(&mut [1., 1.2, 0.8, 1.1], &[]))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn top_p_never_draws_from_the_tail() {
        let mut sampler = sampler(sampled(1), &[]);
        // Probabilities 0.70, 0.21, 0.08, 0.01: the first two reach 0.9.
        for _ in 0..500 {
            assert!(sampler.next(&mut [4.2, 3., 2., 0.], &[]) < 2);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let whole = Sampling {
            top_p: 1.,
            ..sampled(3)
        };
        let mut sampler = sampler(whole, &[]);
        let zeros = (0..4000)
            .filter(|_| sampler.next(&mut [1., 0.], &[]) == 0)
            .count() as f32;
        // e / (e + 1) = 0.731; three standard deviations are 0.021.
        assert!((zeros / 4000. - 0.731).abs() < 0.021);
    }

    /// The ids that the rules leave after `written`, of five.
    fn left(rules: &Rules, written: &[u32], max_tokens: usize) -> Vec<u32> {
        let mut scores = [1., 2., 3., 4., 5.];
        rules.apply(&mut scores, written, max_tokens);
        let left = (0..).zip(scores).filter(|(_, score)| score.is_finite());
        left.map(|(id, _)| id).collect()
    }

    #[test]
    fn the_rules_hold_where_they_are_meant_to() {
        let rules = Rules {
            start: Some(0),
            no_repeat_ngram: 2,
            min_tokens: 2,
            ends: vec![4],
            first: Some(3),
            last: vec![4],
        };
        assert_eq!(left(&rules, &[], 9), [3]);
        // Too short to end.
        assert_eq!(left(&rules, &[3], 9), [0, 1, 2, 3]);
        assert_eq!(left(&rules, &[3, 1], 9), [0, 1, 2, 3, 4]);
        // The token 3 has followed 0, which is the start; 1 has followed 3.
        assert_eq!(left(&rules, &[3, 1, 0], 9), [0, 1, 2, 4]);
        assert_eq!(left(&rules, &[3, 1, 0, 1, 3], 9), [0, 2, 3, 4]);
        assert_eq!(left(&rules, &[3, 1], 3), [4]);
        // The only token is the first and the last.
        assert_eq!(left(&rules, &[], 1), [4]);
        assert_eq!(left(&Rules::default(), &[3, 3], 3), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_text_that_must_end_before_it_may_ends_where_it_likes() {
        let rules = Rules {
            min_tokens: 30,
            ends: vec![4],
            ..Rules::default()
        };
        assert_eq!(rules.for_length(31), rules);
        assert_eq!(left(&rules.for_length(30), &[], 30), [0, 1, 2, 3, 4]);
    }
}

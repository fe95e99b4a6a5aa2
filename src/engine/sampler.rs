//! Logits to the next token: greedy, or temperature and top-p with a seed per row, after a repetition penalty.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::rules::{Rules, forbid_repeats};

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
}

//! Whether workers of one model write the same tokens, whatever the device, the threads and the type of the weights.
//!
//! Devices add up in another order, so that a near tie can fall otherwise and the text goes another way from there: a
//! difference late in a text is that, one in the first tokens is likelier a fault.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::Subject;
use crate::repo::is_gguf;

/// What a worker wrote after prompts of one length at one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(flatten)]
    pub subject: Subject,
    pub n_prompt: usize,
    pub batch: usize,
    /// Per sequence.
    pub ids: Vec<Vec<u32>>,
}

/// Two workers at the same sizes, the first of the model and another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The name that both have but for the type of their weights.
    pub model: String,
    pub n_prompt: usize,
    pub batch: usize,
    pub a: Subject,
    pub b: Subject,
    /// Sequences compared, and tokens of each.
    pub sequences: usize,
    pub tokens: usize,
    pub equal: bool,
    pub first_difference: Option<Difference>,
}

/// Where two workers part, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub sequence: usize,
    pub token: usize,
    /// The ids there; `None` where one text is at its end.
    pub a: Option<u32>,
    pub b: Option<u32>,
}

/// Compares every worker with the first one of the same model and sizes.
pub fn compare(all: &[Tokens]) -> Vec<Agreement> {
    let key = |tokens: &Tokens| {
        let model = family(&tokens.subject.model);
        (model, tokens.n_prompt, tokens.batch)
    };
    let mut firsts = Vec::<&Tokens>::new();
    let mut found = Vec::new();
    for tokens in all {
        match firsts.iter().find(|first| key(first) == key(tokens)) {
            Some(first) => found.push(pair(first, tokens)),
            None => firsts.push(tokens),
        }
    }
    found
}

fn pair(a: &Tokens, b: &Tokens) -> Agreement {
    let first_difference = difference(&a.ids, &b.ids);
    Agreement {
        model: family(&a.subject.model),
        n_prompt: a.n_prompt,
        batch: a.batch,
        a: a.subject.clone(),
        b: b.subject.clone(),
        sequences: a.ids.len().min(b.ids.len()),
        tokens: a.ids.first().map_or(0, Vec::len),
        equal: first_difference.is_none(),
        first_difference,
    }
}

/// The first difference of those nearest to the beginning of a text.
fn difference(a: &[Vec<u32>], b: &[Vec<u32>]) -> Option<Difference> {
    let texts = a.iter().zip(b).enumerate();
    let differences = texts.filter_map(|(sequence, (a, b))| {
        let token = (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i))?;
        Some(Difference {
            sequence,
            token,
            a: a.get(token).copied(),
            b: b.get(token).copied(),
        })
    });
    differences.min_by_key(|difference| difference.token)
}

/// A model's name without the type of its weights, by which a model's GGUF files differ: `Talk-1B` for
/// `Talk-1B.Q4_K_M.gguf`, `owner/Talk` for `owner/Talk:Q8_0`.
pub fn family(name: &str) -> String {
    const TYPES: [&str; 18] = [
        "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k",
        "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "bf16", "f16", "fp16", "f32",
    ];
    let stem = match is_gguf(name) {
        true => &name[..name.len() - ".gguf".len()],
        false => name,
    };
    let lower = stem.to_ascii_lowercase();
    let separated = |kind: &&str| {
        let before = lower.strip_suffix(*kind)?;
        before.strip_suffix(['-', '.', '_', ':']).map(str::len)
    };
    let typed = TYPES.iter().find_map(separated);
    stem[..typed.unwrap_or(stem.len())].into()
}

impl fmt::Display for Agreement {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            model,
            n_prompt,
            batch,
            a,
            b,
            ..
        } = self;
        write!(f, "{model}, prompt {n_prompt}, batch {batch}: {a} and {b} ")?;
        let Some(at) = self.first_difference else {
            return write!(f, "are equal ({} x {} tokens)", self.sequences, self.tokens);
        };
        let id = |id: Option<u32>| id.map_or_else(|| "the end".into(), |id| id.to_string());
        write!(
            f,
            "differ, first at token {} of sequence {} ({}, {})",
            at.token,
            at.sequence,
            id(at.a),
            id(at.b)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(model: &str, threads: usize, batch: usize, ids: &[&[u32]]) -> Tokens {
        Tokens {
            subject: Subject {
                model: model.into(),
                device: "cpu".into(),
                dtype: "Q8_0".into(),
                threads,
            },
            n_prompt: 20,
            batch,
            ids: ids.iter().map(|ids| ids.to_vec()).collect(),
        }
    }

    #[test]
    fn every_worker_is_compared_with_the_first_of_its_model_and_batch_size() {
        let all = [
            tokens("m", 1, 1, &[&[5, 6]]),
            tokens("m", 1, 2, &[&[5, 6], &[7, 8]]),
            tokens("other", 1, 1, &[&[1, 1]]),
            tokens("m", 2, 1, &[&[5, 6]]),
            tokens("m", 2, 2, &[&[5, 6], &[7, 9]]),
            tokens("m", 4, 1, &[&[4, 6]]),
            Tokens {
                n_prompt: 30,
                ..tokens("m", 1, 1, &[&[9, 9]])
            },
        ];
        let found = compare(&all);
        let pairs = found.iter().map(|f| (f.batch, f.b.threads, f.equal));
        let expected = [(1, 2, true), (2, 2, false), (1, 4, false)];
        assert_eq!(pairs.collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|f| f.a.threads == 1 && f.model == "m"));
        let expected = Difference {
            sequence: 1,
            token: 1,
            a: Some(8),
            b: Some(9),
        };
        assert_eq!(found[1].first_difference, Some(expected));
        let line = "m, prompt 20, batch 2: cpu, 1 thread, Q8_0 and cpu, 2 threads, Q8_0 differ, first at token 1 of sequence 1 (8, 9)";
        assert_eq!(found[1].to_string(), line);
        let line = "m, prompt 20, batch 1: cpu, 1 thread, Q8_0 and cpu, 2 threads, Q8_0 are equal (1 x 2 tokens)";
        assert_eq!(found[0].to_string(), line);
    }

    #[test]
    fn the_difference_named_is_the_one_nearest_to_a_beginning() {
        let a = [vec![1, 2, 3], vec![4, 5, 6]];
        let b = [vec![1, 2, 0], vec![4, 0, 6]];
        let found = difference(&a, &b).unwrap();
        assert_eq!((found.sequence, found.token), (1, 1));
        let shorter = difference(&a[..1], &[vec![1, 2]]).unwrap();
        assert_eq!((shorter.token, shorter.a, shorter.b), (2, Some(3), None));
    }

    #[test]
    fn types_of_weights_do_not_make_another_model() {
        for (name, expected) in [
            ("Talk-1B.Q4_K_M.gguf", "Talk-1B"),
            ("Talk-1B-f16.gguf", "Talk-1B"),
            ("owner/Talk:Q8_0", "owner/Talk"),
            ("smollm2-135m", "smollm2-135m"),
            ("bf16", "bf16"),
            ("model.gguf", "model"),
        ] {
            assert_eq!(family(name), expected);
        }
    }
}

//! What may come next in a text, whatever the model thinks of it.

/// What a checkpoint asks of a text, token by token: the logits processors of transformers of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The token before the first one written, which counts as written for `no_repeat_ngram`.
    pub start: Option<u32>,
    /// As in [`Sampling`](super::sampler::Sampling).
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

/// Excludes every token that would complete a run of `size` tokens written before.
pub fn forbid_repeats(logits: &mut [f32], written: &[u32], size: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

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

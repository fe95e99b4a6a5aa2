//! How a recording says itself what it is about: it is announced ("Today I am going to talk about bells"), or else whoever opens it comes to
//! the matter at once.
//!
//! A linear regression, fitted by `scripts/fit_whole.py` on sentences from the beginning of 52 recordings that were judged by reading
//! (`models/adapters/whole_judged.jsonl`): 0 for what does not tell a newcomer what the recording is about, 1 for what tells it in part, 2 for
//! what names its subject.

use std::ops::RangeInclusive;

use crate::chunk::{Passage, is_question};
use crate::language::Language;
use crate::words::words;

/// Signs of an announcement: that somebody speaks of something, that it is now, that it is still to come.
const SIGNS: [&str; 3] = [
    "talk|talking|speak|speaking|tell you|discuss|discussing|discussion|present|presenting|introduce|introducing|overview|cover|look at|\
     looking at|go over|interview",
    "today|tonight|this is a|this talk|this meeting|this session|this lecture|this podcast|this episode|this panel|this workshop|this class|\
     this video|this morning|this afternoon|this evening|our guest|our topic|agenda|topic|subject|my name",
    "going to|gonna|want to|wanted to|would like to|like to|will|i'll|we'll|let me|let us|my job",
];

/// What is worth how much: how many of these signs there are, centrality ([`Passage::centrality`]), and the logarithm of the place, counted from 1; and
/// what is added.
const WEIGHTS: [f32; 3] = [0.283, 2.64, -0.187];
const BIAS: f32 = -0.476;

/// The judgement that is to be expected of what is taken.
const LEAST: f32 = 0.7;

/// Words of a sentence that says it: what is shorter tells nothing, what is longer was not ended by whoever wrote the captions.
const LENGTH: RangeInclusive<usize> = 7..=40;

/// Sentences among which an announcement is looked for: a twelfth of all, but so many.
const ANNOUNCED: RangeInclusive<usize> = 15..=60;

/// Sentences among which one without signs is looked for.
const FIRST: usize = 15;

/// The sentence that says best what the recording is about; `None` where it begins with something else, or another language than English is spoken.
pub fn opening(document: &Passage, spoken: Option<Language>) -> Option<usize> {
    if spoken.is_some_and(|spoken| spoken != Language::ENGLISH) {
        return None;
    }
    let all = document.sentences.len();
    let among = (all / 12).clamp(*ANNOUNCED.start(), *ANNOUNCED.end());
    let value = |i| {
        let centrality = document.centrality(i);
        let signs = signs(&document.sentences[i].text);
        let may_be = signs > 0 || i < FIRST;
        let values = [signs as f32, centrality, (1. + i as f32).ln()];
        let terms = values.into_iter().zip(WEIGHTS);
        may_be.then(|| BIAS + terms.map(|(value, weight)| value * weight).sum::<f32>())
    };
    let fit = (0..among.min(all)).filter(|&i| is_fit(&document.sentences[i].text));
    let valued = fit.filter_map(|i| Some((i, value(i)?)));
    // Of two of one value the first.
    let best = valued.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.filter(|&(_, value)| value >= LEAST).map(|(i, _)| i)
}

fn is_fit(text: &str) -> bool {
    LENGTH.contains(&text.split_whitespace().count()) && !is_question(text)
}

/// How many of [`SIGNS`] a sentence has. What somebody will not talk about, it is not about.
fn signs(text: &str) -> usize {
    let words = words(&text.replace('’', "'")).collect::<Vec<_>>();
    let is_negation = |word: &String| word == "not" || word.ends_with("n't");
    let text = format!(" {} ", words.join(" "));
    let has = |phrase: &str| text.contains(&format!(" {phrase} "));
    let denied = words.iter().any(is_negation);
    let found = SIGNS.iter().filter(|phrases| phrases.split('|').any(has));
    if denied { 0 } else { found.count() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chapters::embed::Embedding;
    use crate::transcript::Sentence;

    const FAR: &str = "The milk was late because the bridge was closed again.";

    /// Sentences whose meaning is as near to that of the whole as told.
    fn found(said: &[(&str, f32)]) -> Option<usize> {
        let sentence = |(text, _): &(&str, f32)| Sentence {
            text: (*text).into(),
            ..Sentence::default()
        };
        let sentences = said.iter().map(sentence).collect::<Vec<_>>();
        let meaning = |(_, near): &(&str, f32)| Embedding::from([*near, (1. - near * near).sqrt()]);
        let embeddings = said.iter().map(meaning).collect::<Vec<_>>();
        let document = Passage {
            focus: vec![1., 0.],
            ..Passage::new(&sentences, &embeddings, 0..said.len())
        };
        opening(&document, None)
    }

    #[test]
    fn what_is_announced_comes_first() {
        let mut said = [
            ("Check one.", 0.1),
            ("Is this thing on today, shall we talk about it?", 0.2),
            ("The clock of Marlock was made by a farmer.", 0.7),
            (
                "So today we’re going to talk about the clock of Marlock.",
                0.5,
            ),
            ("Then we will speak of the new bell and its founder.", 0.3),
        ];
        assert_eq!(found(&said), Some(3));
        said[3].0 = "Today I am not going to talk about the clock of Marlock.";
        assert_eq!(found(&said), Some(2));
    }

    #[test]
    fn who_comes_to_the_matter_at_once_introduces_it() {
        let said = [
            ("Check one.", 0.9),
            (FAR, 0.1),
            ("The clock of Marlock was made by a farmer.", 0.8),
        ];
        assert_eq!(found(&said), Some(2));
    }

    #[test]
    fn where_it_begins_with_something_else_there_is_none() {
        assert!(found(&[(FAR, 0.2)]).is_none());
        assert!(found(&[]).is_none());
        let mut said = vec![(FAR, 0.2); 40];
        said[30] = (
            "So today we are going to talk about the clock of Marlock.",
            0.9,
        );
        assert!(found(&said).is_none());
    }
}

//! How a recording says itself what it is about: it is announced ("Today I am going to talk about bells"), or else whoever opens it comes to
//! the matter at once.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::chunk::Passage;
use crate::words::words;

/// Of an announcement at least two are found: that somebody speaks of something, that it is now, that it is still to come.
const SIGNS: [&str; 3] = [
    "talk|talking|speak|speaking|tell you|discuss|discussing|discussion|present|presenting|introduce|introducing|overview|cover|look at|\
     looking at|go over|interview",
    "today|tonight|this is a|this talk|this meeting|this session|this lecture|this podcast|this episode|this panel|this workshop|this class|\
     this video|this morning|this afternoon|this evening|our guest|our topic|agenda|topic|subject|my name",
    "going to|gonna|want to|wanted to|would like to|like to|will|i'll|we'll|let me|let us|my job",
];
const LEAST_SIGNS: usize = 2;

/// Words of a sentence that says it: what is shorter tells nothing, what is longer was not ended by whoever wrote the captions.
const LENGTH: RangeInclusive<usize> = 7..=40;

/// Sentences among which an announcement is looked for: a twelfth of all, but so many.
const ANNOUNCED: RangeInclusive<usize> = 15..=60;

/// Sentences among which one that comes to the matter is looked for, and how near its meaning is to that of the whole: below are greetings,
/// tests of microphones and the like.
const FIRST: usize = 15;
const TO_THE_MATTER: f32 = 0.45;
/// The same for what may be quoted beside such a one.
const NEAR_THE_MATTER: f32 = 0.3;

/// At most `count` sentences that say what the recording is about, ascending; none where it begins with something else.
pub fn opening(document: &Passage, count: usize) -> Vec<usize> {
    let announced = announced(document, count);
    match announced.is_empty() {
        true => introduced(document, count),
        false => announced,
    }
}

/// What is announced: the sentences with most signs of that, and most central. In English only.
fn announced(document: &Passage, count: usize) -> Vec<usize> {
    let all = document.sentences.len();
    let among = (all / 12).clamp(*ANNOUNCED.start(), *ANNOUNCED.end());
    let found = |least| {
        first(document, among).central_where(count, |i| {
            is_fit(document, i) && signs(&document.sentences[i].text) >= least
        })
    };
    // One with all signs is surer than two with some.
    let sure = found(SIGNS.len());
    if sure.is_empty() {
        found(LEAST_SIGNS)
    } else {
        sure
    }
}

/// What whoever says most at the beginning says to the matter.
fn introduced(document: &Passage, count: usize) -> Vec<usize> {
    let first = first(document, FIRST);
    let mut said = HashMap::<_, usize>::new();
    for sentence in &first.sentences[first.range.clone()] {
        *said.entry(&sentence.speaker).or_default() += sentence.text.split_whitespace().count();
    }
    // Of two who say as much, the one whose name comes first: any will do, but the same every time.
    let most = said
        .into_iter()
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
    let Some((opener, _)) = most else {
        return Vec::new();
    };
    let found = first.central_where(count, |i| {
        is_fit(document, i)
            && document.sentences[i].speaker == *opener
            && first.centrality(i) >= NEAR_THE_MATTER
    });
    let comes = |&i: &usize| first.centrality(i) >= TO_THE_MATTER;
    if found.iter().any(comes) {
        found
    } else {
        Vec::new()
    }
}

/// So many sentences at the beginning.
fn first<'a>(document: &Passage<'a>, count: usize) -> Passage<'a> {
    Passage {
        range: 0..count.min(document.sentences.len()),
        focus: document.focus.clone(),
        ..*document
    }
}

fn is_fit(document: &Passage, i: usize) -> bool {
    let text = &document.sentences[i].text;
    LENGTH.contains(&text.split_whitespace().count()) && !text.ends_with('?')
}

fn signs(text: &str) -> usize {
    let words = words(&text.replace('’', "'")).collect::<Vec<_>>();
    // What somebody will not talk about, it is not about.
    if words
        .iter()
        .any(|word| word == "not" || word.ends_with("n't"))
    {
        return 0;
    }
    let text = format!(" {} ", words.join(" "));
    let has = |phrase: &str| text.contains(&format!(" {phrase} "));
    SIGNS
        .iter()
        .filter(|phrases| phrases.split('|').any(has))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chapters::embed::Embedding;
    use crate::transcript::Sentence;

    const FAR: &str = "The milk was late because the bridge was closed again.";

    /// Sentences whose meaning is as near to that of the whole as told.
    fn found(said: &[(&str, f32)]) -> Vec<usize> {
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
        opening(&document, 2)
    }

    #[test]
    fn what_is_announced_comes_first() {
        let mut said = [
            ("Check one.", 0.1),
            ("Is this thing on today, shall we talk about it?", 0.2),
            ("The clock of Marlock was made by a farmer.", 0.8),
            (
                "So today we’re going to talk about the clock of Marlock.",
                0.5,
            ),
            ("Then we will speak of the new bell and its founder.", 0.3),
        ];
        assert_eq!(found(&said), [3]);
        said[3].0 = "I want to tell you how the clock of Marlock was made.";
        assert_eq!(found(&said), [3, 4]);
        said[4].0 = "I am not going to talk about the new bell.";
        assert_eq!(found(&said), [3]);
    }

    #[test]
    fn who_comes_to_the_matter_at_once_introduces_it() {
        let said = [
            ("Check one.", 0.9),
            (FAR, 0.1),
            ("The clock of Marlock was made by a farmer.", 0.8),
        ];
        assert_eq!(found(&said), [2]);
    }

    #[test]
    fn where_it_begins_with_something_else_there_is_none() {
        assert!(found(&[(FAR, 0.2)]).is_empty());
        assert!(found(&[]).is_empty());
        let mut said = vec![(FAR, 0.2); 40];
        said[30] = (
            "So today we are going to talk about the clock of Marlock.",
            0.9,
        );
        assert!(found(&said).is_empty());
    }
}

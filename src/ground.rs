//! Checks what the model wrote against what was said, and keeps only what holds.
//!
//! A sentence is kept if every name and number in it occurs in the source, each of its clauses shares its words with one
//! sentence of the source, its meaning is near some sentence there (said by whom it names), and it speaks about people, not as one of
//! them.

use std::collections::HashSet;

use crate::chapters::embed::{Embedding, cosine};
use crate::chunk::Passage;
use crate::transcript::{has_stop, split};
use crate::words::{
    content, is_first_or_second_person, is_reporting, is_stopword, numbers_claimed,
    numbers_mentioned, points_back, stem, without_conjunction, words,
};

/// At least this must be the cosine of a sentence and the sentence of the source nearest to it.
const MEANING_SUPPORTED: f32 = 0.45;
/// Two sentences more alike than this say the same.
const REPEATED: f32 = 0.85;
/// Sentences of a summary.
pub const SENTENCES: usize = 2;
/// A second sentence that holds is worth more than a slightly better single one.
const SECOND: f32 = 0.1;
/// A summary of fewer words says less than a quote.
const LEAST_WORDS: usize = 12;
/// Longest sentence kept, in words.
const LONGEST: usize = 45;

/// What a passage says, as sets to look up.
pub struct Source {
    stems: HashSet<String>,
    numbers: HashSet<String>,
    /// The content words of each text.
    texts: Vec<HashSet<String>>,
    speakers: HashSet<String>,
    /// The content words of their names.
    named: HashSet<String>,
}

impl Source {
    /// From the texts that were said and the names of those who said them.
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut stems = HashSet::new();
        let mut numbers = HashSet::new();
        let mut sets = Vec::new();
        for text in texts {
            stems.extend(words(text).map(|word| stem(&word)));
            numbers.extend(numbers_mentioned(text));
            sets.push(content(text).collect());
        }
        Self {
            stems,
            numbers,
            texts: sets,
            speakers: HashSet::new(),
            named: HashSet::new(),
        }
    }

    pub fn of(passage: &Passage) -> Self {
        let sentences = &passage.sentences[passage.range.clone()];
        let speakers = sentences
            .iter()
            .filter_map(|sentence| sentence.speaker.as_deref());
        let texts = sentences.iter().map(|sentence| sentence.text.as_str());
        Self {
            speakers: speakers.clone().map(str::to_string).collect(),
            named: speakers.clone().flat_map(content).collect(),
            ..Self::new(texts.chain(speakers))
        }
    }

    /// A text without the name of a speaker and a colon before it: a model that was shown a dialogue may go on with it.
    pub fn without_speaker<'t>(&self, text: &'t str) -> &'t str {
        match text.split_once(':') {
            Some((name, rest)) if self.speakers.contains(name.trim()) => rest.trim_start(),
            _ => text,
        }
    }

    /// How well the worst clause of a text is carried by one text of the source: the part of its content words that
    /// occur there, 0 to 1.
    pub fn clause_support(&self, text: &str) -> f32 {
        text.split([',', ';', ':', '—', '–'])
            .map(|clause| {
                // Who said it, and that it was said, stands in no sentence.
                let words = content(clause).filter(|word| !self.is_frame(word));
                let words = words.collect::<Vec<_>>();
                let shared =
                    |set: &HashSet<String>| words.iter().filter(|w| set.contains(*w)).count();
                let most = self.texts.iter().map(shared).max().unwrap_or(0);
                if words.is_empty() {
                    1.
                } else {
                    most as f32 / words.len() as f32
                }
            })
            .fold(1., f32::min)
    }

    /// Whether a text speaks of a speaker where the source knows their names: the model has mixed them up.
    fn loses_names(&self, text: &str) -> bool {
        let words = words(text).collect::<Vec<_>>();
        let mut pairs = words.windows(2);
        !self.named.is_empty() && pairs.any(|pair| pair == ["the", "speaker"])
    }

    /// Whether a text says of some speakers what another one said.
    fn is_misattributed(&self, text: &str, speaker: Option<&str>) -> bool {
        let said = content(text).collect::<HashSet<_>>();
        let named = |name: &str| content(name).any(|word| said.contains(&word));
        let somebody = self.speakers.iter().any(|name| named(name));
        somebody && speaker.is_some_and(|speaker| !named(speaker))
    }

    fn is_frame(&self, word: &str) -> bool {
        is_reporting(word) || self.named.contains(word)
    }

    fn says(&self, word: &str) -> bool {
        self.stems.contains(&stem(word))
    }

    /// The first name or number in a text that the source never mentions.
    pub fn invented(&self, text: &str) -> Option<String> {
        if let Some(number) = numbers_claimed(text)
            .into_iter()
            .find(|number| !self.numbers.contains(number))
        {
            return Some(number);
        }
        names(text).find(|name| !words(name).all(|word| self.says(&word)))
    }

    /// The part of a text's content words that occur in the source, 0 to 1.
    pub fn words_supported(&self, text: &str) -> f32 {
        let content = words(text)
            .filter(|word| !is_stopword(word))
            .collect::<Vec<_>>();
        let said = content.iter().filter(|word| self.says(word)).count();
        said as f32 / content.len().max(1) as f32
    }
}

/// Words written with a capital that do not owe it to the beginning of a sentence: there, only who says something is known to be
/// named.
fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    split(text).into_iter().flat_map(|sentence| {
        let mut words = sentence.split_whitespace();
        let mut after = words.clone();
        let verb = after.find(|word| !word.starts_with(char::is_uppercase));
        if !verb.is_some_and(is_reporting) {
            words.next();
        }
        words
            .flat_map(|word| word.split(['-', '–', '/']))
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
            .filter(|word| {
                word.starts_with(char::is_uppercase) && !is_stopword(&word.to_lowercase())
            })
            .map(str::to_string)
    })
}

/// A sentence of an answer, with what the checks need to know of it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub text: String,
    pub embedding: Embedding,
}

/// The sentences of an answer that are worth checking: whole, about somebody, not too long, no list, no question.
pub fn claims(answer: &str) -> Vec<String> {
    let first_paragraph = answer.trim().split("\n\n").next().unwrap_or("");
    split(first_paragraph)
        .into_iter()
        .map(|sentence| {
            without_conjunction(&sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .filter(|sentence| {
            let words = sentence.split_whitespace().count();
            has_stop(sentence)
                && !sentence.ends_with(['?', ':'])
                && (4..=LONGEST).contains(&words)
                && !is_first_or_second_person(sentence)
                && !repeats_itself(sentence)
        })
        .collect()
}

/// Whether some four words in a row come twice: a small model that has lost its thread goes in circles.
fn repeats_itself(sentence: &str) -> bool {
    let words = words(sentence).collect::<Vec<_>>();
    let mut seen = HashSet::new();
    words.windows(4).any(|four| !seen.insert(four))
}

/// A summary that passed, and how good it is.
#[derive(Debug, Clone)]
pub struct Grounded {
    pub sentences: Vec<Claim>,
    pub score: f32,
}

/// The best of several answers: of each, the sentences that hold; of those, the answer that says most.
/// `None` where nothing holds, or next to nothing.
pub fn choose(
    passage: &Passage,
    source: &Source,
    answers: &[Vec<Claim>],
    clause_support: f32,
) -> Option<Grounded> {
    let mut candidates = answers
        .iter()
        .map(|claims| keep(passage, source, claims, clause_support))
        .filter(|kept| !kept.sentences.is_empty())
        .collect::<Vec<_>>();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut candidates = candidates.into_iter();
    let mut best = candidates.next()?;
    // An answer of which one sentence held is filled up from the others.
    for claim in candidates.flat_map(|other| other.sentences) {
        let stands = !points_back(&claim.text) && is_new(&claim, &best.sentences);
        if best.sentences.len() < SENTENCES && stands {
            best.sentences.push(claim);
        }
    }
    let words = |claim: &Claim| claim.text.split_whitespace().count();
    let told = best.sentences.iter().map(words).sum::<usize>();
    (told >= LEAST_WORDS).then_some(best)
}

/// The sentences of one answer that hold, at most [`SENTENCES`], and their score.
fn keep(passage: &Passage, source: &Source, claims: &[Claim], clause_support: f32) -> Grounded {
    let mut kept = Vec::<(Claim, f32)>::new();
    let mut before_is_kept = false;
    for claim in claims {
        let (nearest, support) = evidence(passage, &claim.embedding);
        let speaker = passage.sentences[nearest].speaker.as_deref();
        // "It" and "they" mean nothing where the sentence they point to was dropped.
        before_is_kept = (before_is_kept || !points_back(&claim.text))
            && source.without_speaker(&claim.text) == claim.text
            && source.invented(&claim.text).is_none()
            && !source.loses_names(&claim.text)
            && !source.is_misattributed(&claim.text, speaker)
            && source.clause_support(&claim.text) >= clause_support
            && support >= MEANING_SUPPORTED
            && kept.iter().all(|(other, _)| !alike(claim, other));
        if before_is_kept {
            let relevance = cosine(&claim.embedding, &passage.focus);
            kept.push((claim.clone(), 0.5 * support + 0.5 * relevance));
        }
    }
    while kept.len() > SENTENCES {
        // One that the next sentence points back to cannot go alone.
        let free = |&i: &usize| {
            kept.get(i + 1)
                .is_none_or(|(next, _)| !points_back(&next.text))
        };
        let worst = (0..kept.len())
            .filter(free)
            .min_by(|&a, &b| kept[a].1.total_cmp(&kept[b].1))
            .unwrap_or(kept.len() - 1);
        kept.remove(worst);
    }
    let mean = kept.iter().map(|(_, score)| score).sum::<f32>() / kept.len().max(1) as f32;
    let score = mean + SECOND * kept.len().saturating_sub(1) as f32;
    Grounded {
        sentences: kept.into_iter().map(|(claim, _)| claim).collect(),
        score,
    }
}

fn alike(a: &Claim, b: &Claim) -> bool {
    let opening = |claim: &Claim| words(&claim.text).take(4).collect::<Vec<_>>();
    opening(a) == opening(b) || cosine(&a.embedding, &b.embedding) > REPEATED
}

fn is_new(claim: &Claim, others: &[Claim]) -> bool {
    others.iter().all(|other| !alike(claim, other))
}

/// The sentence of the passage nearest to a meaning: index and cosine.
pub fn evidence(passage: &Passage, meaning: &[f32]) -> (usize, f32) {
    passage
        .range
        .clone()
        .map(|i| (i, cosine(meaning, &passage.embeddings[i])))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or((passage.range.start, 0.))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Sentence;

    const SAID: &str = "Walter Pym kept the clock at Marlock for thirty years. The rope broke in two thousand and six.";

    fn source() -> Source {
        Source::new(SAID.split(". ").chain(["Guest"]))
    }

    #[test]
    fn names_and_numbers_that_were_never_said_are_found() {
        for (text, invented) in [
            ("Walter Pym kept the clock for 30 years.", None),
            ("The Guest says the rope broke in 2006.", None),
            ("Pym's clock stood at Marlock.", None),
            ("The rope broke in 2016.", Some("2016")),
            ("The clock was kept by Walter Smith.", Some("Smith")),
            ("It was kept for forty years.", Some("40")),
            ("The clock of Penderry-Marlock was kept.", Some("Penderry")),
            ("Smith says the rope broke.", Some("Smith")),
            ("Old ropes broke.", None),
        ] {
            assert_eq!(source().invented(text).as_deref(), invented, "{text}");
        }
    }

    #[test]
    fn a_speaker_before_a_colon_is_taken_off() {
        let mut source = source();
        source.speakers.insert("Guest".into());
        assert_eq!(source.without_speaker("Guest: the rope"), "the rope");
        assert_eq!(
            source.without_speaker("Ropes: old and new"),
            "Ropes: old and new"
        );
    }

    #[test]
    fn content_words_are_counted_by_stem() {
        assert_eq!(source().words_supported("The clocks were kept."), 1.);
        assert_eq!(source().words_supported("The dragon slept."), 0.);
    }

    #[test]
    fn a_speaker_without_a_name_is_one_mixed_up() {
        let mut source = source();
        assert!(!source.loses_names("The speaker says the rope broke."));
        source.named.insert("guest".into());
        assert!(source.loses_names("The speaker says the rope broke."));
        assert!(!source.loses_names("Guest says the rope broke."));
    }

    #[test]
    fn what_one_said_is_not_said_of_another() {
        let mut source = source();
        source.speakers.extend(["Guest".into(), "Ann Host".into()]);
        assert!(source.is_misattributed("Guest says it broke.", Some("Ann Host")));
        assert!(!source.is_misattributed("Guest says it broke.", Some("Guest")));
        assert!(!source.is_misattributed("Ann says it broke.", Some("Ann Host")));
        assert!(!source.is_misattributed("The rope broke.", Some("Guest")));
    }

    #[test]
    fn words_of_two_sentences_do_not_support_a_clause() {
        let support = |text| source().clause_support(text);
        assert_eq!(support("He explains that the rope broke"), 1.);
        assert_eq!(support("The rope broke, Walter Pym kept the clock"), 1.);
        assert_eq!(support("Walter Pym broke the rope"), 0.5);
    }

    #[test]
    fn only_whole_sentences_about_somebody_are_claims() {
        let answer = "The clock is old. I like it a lot. Is it not very old? It is the clock of the \
                      clock of the clock of the town. It was wound by hand until the\n\nNote: ignore this.";
        assert_eq!(claims(answer), ["The clock is old."]);
    }

    fn claim(text: &str, embedding: [f32; 2]) -> Claim {
        Claim {
            text: text.into(),
            embedding: embedding.to_vec(),
        }
    }

    #[test]
    fn the_answer_with_the_most_that_holds_is_chosen() {
        let sentences = SAID.split(". ").map(|text| Sentence {
            text: text.into(),
            ..Sentence::default()
        });
        let sentences = sentences.collect::<Vec<_>>();
        let embeddings = vec![vec![1., 0.], vec![0., 1.]];
        let passage = Passage::new(&sentences, &embeddings, 0..2);
        let source = Source::of(&passage);
        let good = claim("Walter Pym kept the clock for thirty years.", [0.9, 0.43]);
        let wrong = claim("Walter Pym kept the clock for forty years.", [1., 0.]);
        let other = claim("The rope broke in 2006.", [0.1, 0.99]);
        let answers = [vec![wrong.clone()], vec![good], vec![other]];
        let best = choose(&passage, &source, &answers, 0.7);
        let texts = best.unwrap().sentences.into_iter().map(|c| c.text);
        let mut texts = texts.collect::<Vec<_>>();
        texts.sort();
        assert_eq!(
            texts,
            [
                "The rope broke in 2006.",
                "Walter Pym kept the clock for thirty years."
            ]
        );
        assert!(choose(&passage, &source, &[vec![wrong]], 0.7).is_none());
    }
}

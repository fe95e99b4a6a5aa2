//! What was said, to be looked up: its words, names and numbers, and who said it.

use std::collections::HashSet;

use crate::chunk::Passage;
use crate::numbers::{numbers_claimed, numbers_mentioned};
use crate::transcript::{Sentence, split};
use crate::words::{content, is_reporting, is_stopword, stem, words};

/// What a passage says, to be looked up.
pub struct Source {
    stems: HashSet<String>,
    numbers: HashSet<String>,
    /// The content words of each text, in order.
    texts: Vec<Vec<String>>,
    speakers: HashSet<String>,
    /// The content words of their names.
    named: HashSet<String>,
}

impl Source {
    /// From the texts that were said and the names of those who said them.
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut stems = HashSet::new();
        let mut numbers = HashSet::new();
        let mut contents = Vec::new();
        for text in texts {
            stems.extend(words(text).map(|word| stem(&word)));
            numbers.extend(numbers_mentioned(text));
            contents.push(content(text).collect());
        }
        Self {
            stems,
            numbers,
            texts: contents,
            speakers: HashSet::new(),
            named: HashSet::new(),
        }
    }

    /// Of a whole passage, sentence by sentence.
    pub fn of(passage: &Passage) -> Self {
        Self::of_sentences(passage.sentences[passage.range.clone()].iter())
    }

    /// Of what the model was given to read. A quote counts as one text: a report may join its sentences.
    pub fn of_reading(passage: &Passage, reading: &[usize], quote: bool) -> Self {
        let sentences = reading.iter().map(|&i| &passage.sentences[i]);
        let mut source = Self::of_sentences(sentences);
        if quote {
            source.texts = vec![source.texts.into_iter().flatten().collect()];
        }
        source.speakers = speakers(passage.sentences[passage.range.clone()].iter());
        source
    }

    fn of_sentences<'a>(sentences: impl Iterator<Item = &'a Sentence> + Clone) -> Self {
        let speakers = speakers(sentences.clone());
        let texts = sentences.map(|sentence| sentence.text.as_str());
        let source = Self::new(texts.chain(speakers.iter().map(String::as_str)));
        Self {
            named: speakers.iter().flat_map(|name| content(name)).collect(),
            speakers,
            ..source
        }
    }

    /// With more texts that are taken for said: sentences that were checked.
    pub fn and<'a>(mut self, texts: impl Iterator<Item = &'a str>) -> Self {
        self.texts.extend(texts.map(|text| content(text).collect()));
        self
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
                    |said: &Vec<String>| words.iter().filter(|word| said.contains(word)).count();
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
    pub fn loses_names(&self, text: &str) -> bool {
        let words = words(text).collect::<Vec<_>>();
        let mut pairs = words.windows(2);
        !self.named.is_empty() && pairs.any(|pair| pair == ["the", "speaker"])
    }

    /// Whether a text says of some speakers what another one said.
    pub fn is_misattributed(&self, text: &str, speaker: Option<&str>) -> bool {
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
        self.invented_number(text)
            .or_else(|| self.invented_name(text))
    }

    pub fn invented_number(&self, text: &str) -> Option<String> {
        let mut numbers = numbers_claimed(text).into_iter();
        numbers.find(|number| !self.numbers.contains(number))
    }

    pub fn invented_name(&self, text: &str) -> Option<String> {
        names(text).find(|name| !words(name).all(|word| self.says(&word)))
    }

    /// Whether one text of the source has the content words of this one in the same order: who does what to whom is not turned
    /// round then.
    pub fn tells_in_order(&self, text: &str) -> bool {
        let wanted = content(text).collect::<Vec<_>>();
        self.texts.iter().any(|said| {
            let mut said = said.iter();
            wanted.iter().all(|word| said.any(|other| other == word))
        })
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

fn speakers<'a>(sentences: impl Iterator<Item = &'a Sentence>) -> HashSet<String> {
    sentences
        .filter_map(|sentence| sentence.speaker.clone())
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

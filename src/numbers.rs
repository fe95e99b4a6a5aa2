//! Numbers of a text as values, whether written in digits or in English words.

use std::collections::HashSet;

/// Whether a word counts: digits, or a number in words.
pub fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) || spelled(word).is_some()
}

/// Every value a text can be said to mention: of "two thousand and six" 2006, and 2, 1000, 2000 and 6 as well.
pub fn numbers_mentioned(text: &str) -> HashSet<String> {
    let mut mentioned = HashSet::new();
    for run in runs(text) {
        mentioned.extend(run.parts);
        mentioned.insert(run.value);
    }
    mentioned
}

/// The values a text states, each run of number words as one. `one` and ordinals up to third are left out: they
/// mostly count nothing ("one of them", "at first").
pub fn numbers_claimed(text: &str) -> Vec<String> {
    runs(text)
        .into_iter()
        .filter(|run| !run.vague)
        .map(|run| run.value)
        .collect()
}

/// A run of words and digits that name one number.
struct Run {
    value: String,
    parts: Vec<String>,
    vague: bool,
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut open: Option<Spelled> = None;
    for token in text.split(|c: char| c.is_whitespace() || "-–—/()\"“”$€£%".contains(c))
    {
        let ends = token.ends_with([',', ';', ':', '.', '?', '!']);
        let word = token.trim_matches(|c: char| !c.is_alphanumeric());
        let lower = word.to_lowercase();
        if let Some(value) = spelled(&lower) {
            // "two fifths", "seven eight": a digit after a digit begins a number of its own.
            if value < 10 && open.as_ref().is_some_and(|run| (1..10).contains(&run.last)) {
                runs.extend(open.take().map(Spelled::close));
            }
            let run = open.get_or_insert_with(Spelled::default);
            run.add(&lower, value);
        } else if !(lower == "and" && open.as_ref().is_some_and(|run| run.last >= 100)) {
            runs.extend(open.take().map(Spelled::close));
            runs.extend(digits(word));
        }
        if ends {
            runs.extend(open.take().map(Spelled::close));
        }
    }
    runs.extend(open.map(Spelled::close));
    runs
}

/// A number in digits: `1,900`, `2.5`, `14th`, `2010s`, `3pm`.
fn digits(word: &str) -> Option<Run> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number = word
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | ':'))
        .filter(|c| *c != ',')
        .collect::<String>();
    let number = number.trim_end_matches(['.', ':']).to_string();
    let parts = number.split(['.', ':']).map(str::to_string).collect();
    Some(Run {
        value: number,
        parts,
        vague: false,
    })
}

/// A number in words, as it is read from left to right.
#[derive(Default)]
struct Spelled {
    /// Whole thousands and more, closed by a multiplier.
    high: u64,
    low: u64,
    last: u64,
    words: Vec<String>,
    parts: Vec<String>,
}

impl Spelled {
    fn add(&mut self, word: &str, value: u64) {
        match value {
            100 => self.low = self.low.max(1) * 100,
            1000.. => {
                self.high += self.low.max(1) * value;
                self.low = 0;
            }
            // "nineteen forty-three": two pairs of digits.
            10.. if (10..100).contains(&self.low) => self.low = self.low * 100 + value,
            _ => self.low += value,
        }
        self.last = value;
        self.words.push(word.into());
        self.parts.push(value.to_string());
        self.parts.push((self.high + self.low).to_string());
    }

    fn close(self) -> Run {
        const VAGUE: [&str; 4] = ["one", "first", "second", "third"];
        Run {
            value: (self.high + self.low).to_string(),
            parts: self.parts,
            vague: matches!(&self.words[..], [word] if VAGUE.contains(&word.trim_end_matches('s'))),
        }
    }
}

/// The value of an English number word, cardinal or ordinal.
fn spelled(word: &str) -> Option<u64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    const ORDINALS: [(&str, u64); 8] = [
        ("first", 1),
        ("second", 2),
        ("third", 3),
        ("fifth", 5),
        ("eighth", 8),
        ("ninth", 9),
        ("twelfth", 12),
        ("dozen", 12),
    ];
    let cardinal = |word: &str| {
        let small = SMALL.iter().zip(0..).find(|(name, _)| **name == word);
        let tens = || TENS.iter().zip(2..).find(|(name, _)| **name == word);
        small
            .map(|(_, value)| value)
            .or_else(|| tens().map(|(_, value)| value * 10))
            .or(match word {
                "hundred" => Some(100),
                "thousand" => Some(1000),
                "million" => Some(1_000_000),
                "billion" => Some(1_000_000_000),
                _ => None,
            })
    };
    let ordinal = || ORDINALS.iter().find(|(name, _)| *name == word).map(|o| o.1);
    let plural = word.strip_suffix('s').unwrap_or(word);
    cardinal(word)
        .or_else(ordinal)
        .or_else(|| cardinal(plural))
        .or_else(|| {
            ORDINALS
                .iter()
                .find(|(name, _)| *name == plural)
                .map(|o| o.1)
        })
        .or_else(|| {
            plural
                .strip_suffix("ieth")
                .and_then(|tens| cardinal(&format!("{tens}y")))
        })
        .or_else(|| plural.strip_suffix("th").and_then(cardinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_words_and_digits() {
        for (text, value) in [
            ("two thousand and six", "2006"),
            ("three hundred and ten kilos", "310"),
            ("in nineteen forty-three", "1943"),
            ("ninety-six steps", "96"),
            ("1,900 kilos", "1900"),
            ("the 14th of May", "14"),
            ("the fourteenth of May", "14"),
            ("the twentieth time", "20"),
            ("2.5 metres", "2.5"),
            ("two fifths", "2"),
            ("$10 million", "10"),
        ] {
            assert_eq!(numbers_claimed(text)[0], value, "{text}");
        }
    }

    #[test]
    fn a_sentence_end_ends_a_number() {
        assert_eq!(numbers_claimed("He had two. Three came."), ["2", "3"]);
        assert_eq!(numbers_claimed("seven towers and eight bells"), ["7", "8"]);
    }

    #[test]
    fn one_of_them_claims_nothing() {
        assert!(numbers_claimed("one of them came first, a second later").is_empty());
    }

    #[test]
    fn parts_of_a_number_are_mentioned_too() {
        let mentioned = numbers_mentioned("two hundred and forty turns");
        for value in ["240", "200", "40", "2"] {
            assert!(mentioned.contains(value), "{value}");
        }
        assert!(!mentioned.contains("24"));
    }
}

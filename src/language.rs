//! Languages: which one a transcript is in, and which one the summary is to be in.

use std::fmt;
use std::str::FromStr;

use whatlang::{Detector, Lang};

/// A language, named by its ISO 639 codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(isolang::Language);

impl Language {
    pub const ENGLISH: Self = Self(isolang::Language::Eng);

    /// The language of a text, found from its letters and their trigrams (whatlang); `None` where that is a guess.
    pub fn detect(text: &str) -> Option<Self> {
        let info = whatlang::detect(text)?;
        let found = isolang::Language::from_639_3(info.lang().code())?;
        info.is_reliable().then_some(Self(found))
    }

    /// Whether a text is rather in this language than in `other`. One that the detector does not know is taken for granted.
    pub fn is_of(self, text: &str, other: Self) -> bool {
        let known = |language: Self| Lang::from_code(language.0.to_639_3());
        let (Some(own), Some(other)) = (known(self), known(other)) else {
            return true;
        };
        let found = Detector::with_allowlist(vec![own, other]).detect_lang(text);
        own == other || found.is_none_or(|found| found == own)
    }

    /// Whether every noun is written with a capital, as names are.
    pub fn capitalizes_nouns(self) -> bool {
        ["de", "lb"].contains(&self.code())
    }

    /// Of two letters where there is one, else of three: `en`, `gsw`.
    pub fn code(self) -> &'static str {
        self.0.to_639_1().unwrap_or_else(|| self.0.to_639_3())
    }
}

/// Its English name, as a prompt says it.
impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // ISO 639 has "Spanish" but "Modern Greek (1453-)".
        let name = self.0.to_name();
        f.write_str(name.split(" (").next().unwrap_or(name))
    }
}

/// A code of two or three letters or an English name: `de`, `deu`, `German`.
impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let found = match lower.len() {
            2 => isolang::Language::from_639_1(&lower),
            3 => isolang::Language::from_639_3(&lower),
            _ => None,
        };
        found
            .or_else(|| isolang::Language::from_name_lowercase(&lower))
            .map(Self)
            .ok_or_else(|| "expected a language: a code as 'de', or its English name".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GERMAN: &str =
        "Die Uhr im Turm wird jede Woche von Hand aufgezogen, und das dauert zwanzig Minuten.";
    const ENGLISH: &str =
        "The clock in the tower is wound by hand every week, and that takes twenty minutes.";

    #[test]
    fn a_language_is_named_by_codes_and_names() {
        for name in ["de", "deu", "German", " german "] {
            assert_eq!(name.parse::<Language>().unwrap().code(), "de", "{name}");
        }
        assert_eq!(
            "el".parse::<Language>().unwrap().to_string(),
            "Modern Greek"
        );
        assert!(
            "klingonish"
                .parse::<Language>()
                .unwrap_err()
                .contains("'de'")
        );
    }

    #[test]
    fn texts_are_told_apart() {
        assert_eq!(Language::detect(GERMAN).unwrap().to_string(), "German");
        assert_eq!(
            Language::detect(&ENGLISH.repeat(2)),
            Some(Language::ENGLISH)
        );
        assert_eq!(Language::detect("12 34"), None);
        let german = "de".parse::<Language>().unwrap();
        assert!(german.is_of(GERMAN, Language::ENGLISH));
        assert!(!german.is_of(ENGLISH, Language::ENGLISH));
        assert!(german.is_of(ENGLISH, german));
    }
}

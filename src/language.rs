//! Languages: which one a transcript is in, and which one the summary is to be in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use whatlang::{Detector, Lang};

use crate::transcript::Sentence;

/// A language, named by its ISO 639 codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Language(isolang::Language);

/// Languages that detectors name, and the macrolanguages of ISO 639 that people do: Mandarin is asked for as Chinese.
const COMPRISED: [(&str, &str); 3] = [("cmn", "zho"), ("nob", "nor"), ("pes", "fas")];

impl Language {
    pub const ENGLISH: Self = Self(isolang::Language::Eng);

    /// The language of a text, found from its letters and their trigrams (whatlang); `None` where that is a guess.
    pub fn detect(text: &str) -> Option<Self> {
        let info = whatlang::detect(text)?;
        let found = Self::from_639_3(info.lang().code())?;
        info.is_reliable().then_some(found)
    }

    /// The language of what is said, if it can be told.
    pub fn spoken_in(sentences: &[Sentence]) -> Option<Self> {
        let texts = sentences.iter().map(|sentence| sentence.text.as_str());
        Self::detect(&texts.collect::<Vec<_>>().join(" "))
    }

    /// Whether a text, be it a single short sentence, is rather in this language than in `other`. One that no detector knows is taken for granted.
    pub fn is_of(self, text: &str, other: Self) -> bool {
        if self == other {
            return true;
        }
        let codes = [self, other].map(Self::detected_code);
        // whichlang knows sixteen languages only, but tells those apart better.
        let found = whichlang::detect_language(text).three_letter_code();
        let known = whichlang::LANGUAGES.map(|language| language.three_letter_code());
        if codes.iter().all(|code| known.contains(code)) && codes.contains(&found) {
            return found == codes[0];
        }
        let [Some(own), Some(other)] = codes.map(Lang::from_code) else {
            return true;
        };
        let found = Detector::with_allowlist(vec![own, other]).detect_lang(text);
        found.is_none_or(|found| found == own)
    }

    /// A language by its code of three letters, or that which comprises it where people name only that.
    fn from_639_3(code: &str) -> Option<Self> {
        let comprised = COMPRISED.iter().find(|(own, _)| *own == code);
        let code = comprised.map_or(code, |(_, whole)| whole);
        isolang::Language::from_639_3(code).map(Self)
    }

    /// The code that detectors have for it.
    fn detected_code(self) -> &'static str {
        let code = self.0.to_639_3();
        let comprised = COMPRISED.iter().find(|(_, whole)| *whole == code);
        comprised.map_or(code, |(own, _)| own)
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

impl TryFrom<String> for Language {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.code().into()
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
            .and_then(|found| Self::from_639_3(found.to_639_3()))
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

    #[test]
    fn a_short_sentence_is_enough() {
        let language = |code: &str| code.parse::<Language>().unwrap();
        for (code, text) in [
            ("de", "Brandt bäckt montags nie."),
            (
                "de",
                "Der Sprecher sagt, dass Lightning-Nodes ein Backup der Channels brauchen.",
            ),
            ("fr", "La ruche pèse quarante kilos."),
            ("es", "El horno se apaga los domingos."),
            ("it", "Il forno resta freddo la domenica."),
            ("zh", "时钟每周用手上一次发条。"),
            ("pl", "Zegar nakręca się ręcznie co tydzień."),
        ] {
            assert!(language(code).is_of(text, Language::ENGLISH), "{text}");
            assert!(!Language::ENGLISH.is_of(text, language(code)), "{text}");
        }
        for text in [
            "Guest says that when he died, in 1997, he left a oil can and nineteen notebooks.",
            "The oven stays cold on Sundays.",
            "Marina Alvarez says that the pasta is made in Bologna.",
        ] {
            for code in ["de", "fr", "es", "it", "nl", "pt", "sv"] {
                assert!(!language(code).is_of(text, Language::ENGLISH), "{text}");
            }
        }
    }

    #[test]
    fn a_language_is_the_same_by_whatever_name() {
        for (a, b) in [
            ("zh", "cmn"),
            ("zh", "chinese"),
            ("no", "nb"),
            ("fa", "pes"),
        ] {
            assert_eq!(a.parse::<Language>(), b.parse(), "{a} {b}");
        }
        let said = "时钟每周用手上一次发条，需要二十分钟。钟楼很高。".repeat(3);
        assert_eq!(Language::detect(&said).unwrap().code(), "zh");
    }
}

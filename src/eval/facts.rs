//! Whether a summary says what nobody said: a word that begins with a capital inside a sentence, or a number, has to stand in the
//! passage. It reads numbers and sentences with the code of the checks that choose sentences, so that what passed those is
//! nearly bound to pass here: for the program's own summaries the count says that the checks work, not that nothing is wrong.

use std::collections::HashSet;

use crate::numbers::{numbers_claimed, numbers_mentioned};
use crate::transcript::split;
use crate::words::is_stopword;

/// Names and numbers of a text that are not in `said`, the passage with the names of its speakers.
pub fn unsupported(text: &str, said: &str) -> Vec<String> {
    let known = forms(said).collect::<HashSet<_>>();
    let numbers = numbers_mentioned(said);
    let mut missing = numbers_claimed(text);
    missing.retain(|number| !numbers.contains(number) && !known.contains(number));
    for sentence in split(text) {
        let words = sentence.split_whitespace().skip(1);
        let names = words.flat_map(|word| word.split(['-', '–', '/']));
        for name in names.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())) {
            let named = name.starts_with(char::is_uppercase)
                && name.chars().any(|c| !c.is_ascii_digit())
                && !is_stopword(&name.to_lowercase());
            if named && !forms(name).all(|form| known.contains(&form)) {
                missing.push(name.into());
            }
        }
    }
    missing
}

/// Words in lower case, without possessive and plural endings and with letters and digits apart from signs.
fn forms(text: &str) -> impl Iterator<Item = String> {
    let text = text.to_lowercase().replace('’', "'").replace("'s", "");
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    let forms = words.map(|word| word.strip_suffix('s').unwrap_or(word).to_string());
    forms.collect::<Vec<_>>().into_iter()
}

/// Whether a line or sentence begins as in a transcript: a name, and a colon after it.
pub fn imitates_dialogue(text: &str) -> bool {
    text.lines().flat_map(split).any(|sentence| {
        sentence.split_once(':').is_some_and(|(name, rest)| {
            let words = name.split_whitespace().collect::<Vec<_>>();
            (1..=3).contains(&words.len())
                && !rest.trim().is_empty()
                && words
                    .iter()
                    .all(|word| word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_said_is_found() {
        let said = "Ann Lee: It cost twelve euros. BBC news was on, in Marlow’s.";
        for (text, missing) in [
            ("Ann Lee says that it cost 12 euros.", vec![]),
            ("It cost 15 euros.", vec!["15"]),
            ("She watched the BBC at Marlow's.", vec![]),
            ("It was said by Bob in Paris.", vec!["Bob", "Paris"]),
        ] {
            assert_eq!(unsupported(text, said), missing, "{text}");
        }
    }

    #[test]
    fn a_name_and_a_colon_imitate_a_dialogue() {
        assert!(imitates_dialogue("User Interface: We need buttons."));
        assert!(imitates_dialogue("It was late.\nAnn: Yes."));
        assert!(!imitates_dialogue("Two things matter: price and size."));
    }
}

//! Speakers named in the text itself: `Host: welcome`, `>> MARY JONES: thanks`.
//!
//! A colon alone makes no speaker ("Remember: ..."), so the names of a whole file are gathered before any is believed.

use std::collections::{HashMap, HashSet};

use super::has_word;
use super::source::PlacedCue;

const MAX_NAME_WORDS: usize = 4;
const MAX_NAME_BYTES: usize = 80;

/// Small words inside names, and the words by which transcribers name voices they do not know.
const LOWERCASE_IN_NAMES: &str =
    "al and bin da de del della den der di du el la le of ten van von y speaker voice member";

/// Words that stand before a colon in ordinary speech or in the head of a file.
const ORDINARY: &str = "action agenda also answer answers attendees background because caution chapter conclusion \
    context danger date definition description disclaimer duration email example exercise fact \
    figure file finally first goal here hint idea important language lesson link location \
    meaning module note notes number option part participants phase point present problem \
    question questions reason recap recorded remember result rule second section solution \
    source step subject summary time tip title topic";

/// How far into a file the only name may come for the first time: who is introduced at all is introduced early.
const MAX_FIRST: usize = 5;

/// The names by which a file marks who speaks; empty in a file that does not.
pub(super) struct Names(HashSet<String>);

/// How often a possible name occurs, and in which cue first.
struct Tally {
    count: usize,
    first: usize,
}

impl Names {
    /// Gathers the names from the beginnings of all cues or lines.
    ///
    /// A name counts if it occurs twice, or once in a file that has other names and marks most cues or some name twice.
    /// An ordinary word ("Question:") counts only twice or more, and beside another name with that many.
    pub fn gather<'a>(starts: impl Iterator<Item = &'a str>) -> Names {
        let mut tallies: HashMap<&str, Tally> = HashMap::new();
        let (mut cues, mut marked) = (0, 0);
        for (index, start) in starts.enumerate() {
            cues += 1;
            if let Some((name, _)) = candidate(start) {
                marked += 1;
                tallies
                    .entry(name)
                    .or_insert(Tally {
                        count: 0,
                        first: index,
                    })
                    .count += 1;
            }
        }
        let frequent = tallies.values().filter(|tally| tally.count >= 2).count();
        let proper = tallies.keys().filter(|name| !is_ordinary(name)).count();
        let once_is_enough = proper >= 2 && (frequent > 0 || marked * 2 >= cues);
        tallies.retain(|name, tally| match is_ordinary(name) {
            true => tally.count >= 2 && frequent >= 2,
            false => tally.count >= 2 || once_is_enough,
        });
        if tallies.len() == 1 {
            tallies.retain(|_, tally| tally.first < MAX_FIRST);
        }
        Names(tallies.into_keys().map(String::from).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The speaker that `text` begins with, and the text without.
    pub fn split<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        candidate(text).filter(|(name, _)| self.0.contains(*name))
    }
}

/// Moves speaker prefixes from the texts of caption cues into their speakers. A cue without one continues the speaker of
/// the cue before; a bare `>>` says that it is somebody else, not who. Files with speakers of their own stay as they are.
pub(super) fn from_prefixes(cues: &mut [PlacedCue]) {
    let names = Names::gather(cues.iter().map(|placed| placed.cue.text.as_str()));
    if names.is_empty() || cues.iter().any(|placed| placed.cue.speaker.is_some()) {
        return;
    }
    let mut current: Option<String> = None;
    for PlacedCue { cue, .. } in cues {
        if let Some((name, rest)) = names.split(&cue.text) {
            current = Some(name.to_string());
            cue.text = rest.to_string();
        } else if cue.text.trim_start().starts_with(">>") {
            current = None;
        }
        cue.speaker.clone_from(&current);
    }
}

/// `text` as name and rest, if it has the form `Name: rest`.
fn candidate(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '>' | '-' | '–'));
    let (colon, width) = text
        .char_indices()
        .take_while(|&(at, c)| at <= MAX_NAME_BYTES && c != '\n')
        .find_map(|(at, c)| matches!(c, ':' | '：').then_some((at, c.len_utf8())))?;
    let (name, rest) = (&text[..colon], &text[colon + width..]);
    // "10:30" and "https://" have no space after the colon; the wide colon of Chinese and Japanese needs none.
    let separated = width > 1 || rest.is_empty() || rest.starts_with(char::is_whitespace);
    (separated && looks_like_name(name)).then_some((name, rest.trim_start()))
}

/// At most four words of letters and digits, each with a capital, a digit or a letter of a script without capitals first.
pub(super) fn looks_like_name(text: &str) -> bool {
    let mut words = 0;
    for word in text.split_whitespace() {
        words += 1;
        let initial = word
            .trim_start_matches(['(', '"'])
            .chars()
            .next()
            .unwrap_or('(');
        let begins_well = initial.is_alphanumeric() && !initial.is_lowercase();
        if !(begins_well || (words > 1 && has_word(LOWERCASE_IN_NAMES, word)) || word == "&") {
            return false;
        }
    }
    let is_name_char = |c: char| c.is_alphanumeric() || " .-_'’()&/#\"\u{a0}".contains(c);
    (1..=MAX_NAME_WORDS).contains(&words)
        && text.chars().all(is_name_char)
        && text.contains(char::is_alphabetic)
}

fn is_ordinary(name: &str) -> bool {
    let first = name
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    has_word(ORDINARY, &first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Cue;
    use crate::transcript::source::Place;

    fn assigned(texts: &[&str]) -> Vec<(Option<String>, String)> {
        let placed = |text: &&str| PlacedCue {
            place: Place::Line(1),
            cue: Cue {
                text: text.to_string(),
                ..Cue::default()
            },
        };
        let mut cues: Vec<PlacedCue> = texts.iter().map(placed).collect();
        from_prefixes(&mut cues);
        cues.into_iter()
            .map(|placed| (placed.cue.speaker, placed.cue.text))
            .collect()
    }

    fn speakers(texts: &[&str]) -> Vec<String> {
        assigned(texts)
            .into_iter()
            .map(|(speaker, _)| speaker.unwrap_or("-".to_string()))
            .collect()
    }

    #[test]
    fn names_have_a_form() {
        for text in [
            "Host: hi",
            "Dr. Mary Jones: hi",
            "SPEAKER_01: hi",
            "1st Voice: hi",
            "Ludwig van Dyck: hi",
            "A:",
            "主持人：好",
        ] {
            assert!(candidate(text).is_some(), "{text}");
        }
        for text in [
            "10:30 we met",
            "https://a.b",
            "he said: no",
            "My point is: no",
            "A, b: no",
            "One Two Three Four Five: no",
            "12: no",
            ": no",
            "no",
        ] {
            assert!(candidate(text).is_none(), "{text}");
        }
    }

    #[test]
    fn prefixes_become_speakers_and_last() {
        assert_eq!(
            assigned(&[
                ">> HOST: Welcome.",
                "Let us begin.",
                "- Ann Lee: Thanks.",
                ">> No name."
            ]),
            [
                (Some("HOST".to_string()), "Welcome.".to_string()),
                (Some("HOST".to_string()), "Let us begin.".to_string()),
                (Some("Ann Lee".to_string()), "Thanks.".to_string()),
                (None, ">> No name.".to_string()),
            ]
        );
    }

    #[test]
    fn ordinary_words_are_no_speakers() {
        assert_eq!(speakers(&["Note: this.", "and that"]), ["-", "-"]);
        assert_eq!(speakers(&["Question: why?", "Remember: no."]), ["-", "-"]);
        assert_eq!(
            speakers(&["a", "Spoiler: b", "c", "d", "Warning: e", "f"]),
            ["-"; 6]
        );
        assert_eq!(
            speakers(&["a", "b", "c", "d", "e", "Spoiler: f", "Spoiler: g"]),
            ["-"; 7]
        );
        assert_eq!(speakers(&["Nobody: this.", "and that"]), ["-", "-"]);
        assert_eq!(
            speakers(&["Question: a", "Answer: b", "Question: c", "Answer: d"]),
            ["Question", "Answer", "Question", "Answer"]
        );
    }
}

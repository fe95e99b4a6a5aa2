//! What every format's parser is given and gives back, and the one way they word errors:
//! `talk.srt:41: expected a time like 00:01:02,500, found '1:02'`.

use std::fmt;

use anyhow::{Error, anyhow};

use super::Cue;

/// As much of the input as an error message repeats, in characters.
const MAX_FOUND: usize = 40;

/// A decoded input: lines end in `\n`, and the text is not empty.
pub(super) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// Where in its file a cue stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// Counted from 1.
    Line(usize),
    /// An entry of a JSON list, such as `segments[3]`, counted from 0; `serde_json` keeps no lines for values.
    Entry(&'static str, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, ":{line}"),
            Place::Entry(list, index) => write!(f, ": {list}[{index}]"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct PlacedCue {
    pub place: Place,
    pub cue: Cue,
}

impl<'a> Source<'a> {
    /// The lines with their numbers, which count from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// An error about what stands at `place`.
    pub fn expected(&self, place: &Place, what: &str, found: &str) -> Error {
        anyhow!(
            "{}{place}: expected {what}, found '{}'",
            self.name,
            excerpt(found)
        )
    }

    /// The same, with what to do about it.
    pub fn expected_and(&self, place: &Place, what: &str, found: &str, advice: &str) -> Error {
        anyhow!("{}; {advice}", self.expected(place, what, found))
    }

    /// An error about a file that was understood and holds nothing to work on.
    pub fn no_cues(&self, reason: &str) -> Error {
        anyhow!("{}: no cues: {reason}", self.name)
    }
}

/// The beginning of `text` on one line, without control characters.
fn excerpt(text: &str) -> String {
    let mut chars = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(MAX_FOUND).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_cut_and_kept_on_one_line() {
        assert_eq!(excerpt(" a\tb\u{0} "), "a b ");
        assert_eq!(excerpt(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(excerpt(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
    }
}

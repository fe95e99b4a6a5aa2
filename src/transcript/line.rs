//! What stands before the words of a line of plain text: a time, or a name and a time.

use super::speaker::looks_like_name;
use super::time;

/// A line, and what was written before its words.
#[derive(Default)]
pub(super) struct Line<'a> {
    pub start: Option<f64>,
    pub end: Option<f64>,
    pub speaker: Option<&'a str>,
    pub words: &'a str,
}

/// Splits `[1:02] words` and its like. A time of day ("1:02 pm") is not one of the recording.
pub(super) fn split_time(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    let (stamp, words) = match bracketed(line) {
        Some(parts) => parts,
        None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
    };
    let words = words.trim_start();
    let next_word = words
        .split([' ', ','])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    if ["am", "pm", "a.m.", "p.m."].contains(&next_word.as_str()) {
        return None;
    }
    let (start, end) = match stamp.split_once("-->").or_else(|| stamp.split_once(" - ")) {
        Some((start, end)) => (time::parse(start.trim())?, Some(time::parse(end.trim())?)),
        None => (time::parse(stamp.trim_end_matches([':', '-', '–']))?, None),
    };
    let words = words.trim_start_matches(['-', '–', '—', '|']).trim_start();
    Some(Line {
        start: Some(start),
        end,
        words,
        ..Line::default()
    })
}

/// The content of the bracket that a line begins with, and the rest.
fn bracketed(line: &str) -> Option<(&str, &str)> {
    let (inside, close) = match line.strip_prefix('[') {
        Some(inside) => (inside, ']'),
        None => (line.strip_prefix('(')?, ')'),
    };
    inside.split_once(close)
}

/// A bracket that was meant as a time and is none.
pub(super) fn bad_time(line: &str) -> Option<&str> {
    let (stamp, _) = bracketed(line.trim())?;
    let meant = stamp.starts_with(|c: char| c.is_ascii_digit())
        && stamp.contains(':')
        && stamp
            .chars()
            .all(|c| c.is_ascii_digit() || ":.,".contains(c));
    (meant && time::parse(stamp).is_none()).then_some(stamp)
}

/// Splits `Ann Lee  1:02`, `[Ann Lee] 10:11:12` and `Ann Lee (1:02):`.
pub(super) fn split_heading(line: &str) -> Option<Line<'_>> {
    let line = line.trim().trim_end_matches(':');
    let (name, stamp) = line.rsplit_once(char::is_whitespace)?;
    let start = time::parse(stamp.trim_matches(['[', ']', '(', ')']))?;
    let name = name
        .trim()
        .trim_start_matches('[')
        .trim_end_matches([']', ',', '-', '–', '|'])
        .trim();
    looks_like_name(name).then_some(Line {
        start: Some(start),
        speaker: Some(name),
        ..Line::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_split_from_words() {
        let cases = [
            ("[00:01:02] Hi", Some((62.0, "Hi"))),
            ("(1:02) - Hi", Some((62.0, "Hi"))),
            ("  1:02: Hi", Some((62.0, "Hi"))),
            ("1:02", Some((62.0, ""))),
            ("[0:01 - 0:05] Hi", Some((1.0, "Hi"))),
            ("10:30 am is late", None),
            ("10:30, P.M.", None),
            ("[Music] Hi", None),
            ("[1:02", None),
            ("1:02pm", None),
        ];
        for (line, expected) in cases {
            let found = split_time(line).map(|line| (line.start.unwrap_or_default(), line.words));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn headings_are_a_name_and_a_time() {
        let cases = [
            ("Ann Lee  1:02", Some("Ann Lee")),
            ("[Ann Lee] 00:01:02", Some("Ann Lee")),
            ("Ann Lee (01:02):", Some("Ann Lee")),
            ("Speaker 1 - 1:02", Some("Speaker 1")),
            ("we met at 1:02", None),
            ("1:02", None),
            ("Ann Lee", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                split_heading(line).and_then(|line| line.speaker),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn a_bracket_with_a_broken_time_is_told_from_other_brackets() {
        assert_eq!(bad_time("[00:61:00] Hi"), Some("00:61:00"));
        for line in ["[00:01:00] Hi", "[Music]", "[1]", "00:61:00"] {
            assert_eq!(bad_time(line), None, "{line}");
        }
    }
}

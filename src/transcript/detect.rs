//! The format of a transcript. The content decides; the extension only where the content does not tell.

use std::path::Path;

use serde::de::IgnoredAny;

use super::source::Source;
use super::{Format, time, vtt};

/// The first times of a SubRip file stand within so many lines.
const TOP: usize = 200;

pub(super) fn detect(source: &Source) -> Format {
    let extension = Path::new(source.name)
        .extension()
        .and_then(|e| e.to_str())
        .and_then(|e| e.parse().ok());
    if vtt::has_signature(source.text) {
        Format::Vtt
    } else if is_json(source.text) {
        Format::Json
    } else if source
        .text
        .lines()
        .take(TOP)
        .any(|line| time::parse_range(line).is_ok())
    {
        Format::Srt
    } else {
        extension.unwrap_or(Format::Txt)
    }
}

/// Whole JSON, or damaged JSON that begins as an object does: an error about it helps more than its text as speech.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let begins_object = text
        .strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with('"'));
    begins_object
        || (text.starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_before_the_extension() {
        let cases = [
            (
                "a.txt",
                "WEBVTT\n\n00:01.000 --> 00:02.000\nHi",
                Format::Vtt,
            ),
            ("a.txt", "WEBVTTX is a word", Format::Txt),
            ("a.vtt", "1\n00:00:01,000 --> 00:00:02,000\nHi", Format::Srt),
            (
                "a.txt",
                "A title\n\n00:00:01,000 --> 00:00:02,000\nHi",
                Format::Srt,
            ),
            ("a.srt", " {\"segments\": []}", Format::Json),
            ("-", "[{\"start\": 1}]", Format::Json),
            ("-", "{\"segments\": [", Format::Json),
            ("a.json", "[{\"start\": ", Format::Json),
            ("a.json", "[00:01] Hi", Format::Json),
            ("-", "[00:01] Hi", Format::Txt),
            ("-", "[00:00.000 --> 00:05.000]  Hi", Format::Txt),
            ("a.SRT", "1\n00:00:0x,000 --> 00:00:02,000\nHi", Format::Srt),
            ("a.md", "# Notes", Format::Txt),
        ];
        for (name, text, expected) in cases {
            assert_eq!(detect(&Source { name, text }), expected, "{name}: {text:?}");
        }
    }
}

//! A transcript as a list of cues, read from WebVTT, SubRip, Whisper's JSON or plain text.
//!
//! `open` and `parse` go from bytes to cues: `decode` finds the encoding, `detect` the format, one file per format does
//! the rest, and `check` refuses times that run backwards. What a caller does next is `clean`, then `sentences`.

mod clean;
mod decode;
mod detect;
mod ends;
mod line;
mod markup;
mod rolling;
mod sentences;
mod source;
mod speaker;
mod split;
mod srt;
mod text;
pub mod time;
mod vtt;
mod whisper;

use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

pub use clean::clean;
pub use ends::{has_stop, split};
pub use sentences::{Sentence, sentences};
use source::{PlacedCue, Source};

/// A start may lie this many seconds before the start of the preceding cue: captions of two speakers do overlap.
const MAX_STEP_BACK: f64 = 2.0;

/// The transcript formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Vtt,
    Srt,
    Json,
    Txt,
}

impl Format {
    pub const ALL: [Format; 4] = [Format::Vtt, Format::Srt, Format::Json, Format::Txt];

    /// The name used on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Format::Vtt => "vtt",
            Format::Srt => "srt",
            Format::Json => "json",
            Format::Txt => "txt",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Format::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
            .with_context(|| {
                format!("unknown transcript format '{name}'; expected vtt, srt, json or txt")
            })
    }
}

/// One caption, segment, line or paragraph of the input file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cue {
    /// Seconds from the beginning of the recording; `None` where the file names no time.
    pub start: Option<f64>,
    /// Seconds from the beginning of the recording, never before `start`.
    pub end: Option<f64>,
    pub speaker: Option<String>,
    /// The words, without markup. Lines of a caption stay apart by `\n` until `clean` joins them.
    pub text: String,
}

/// A file's cues in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The path as it was given; `-` is standard input.
    pub path: String,
    pub format: Format,
    pub cues: Vec<Cue>,
}

impl Transcript {
    /// Seconds until the last cue ends (or starts, where it has no end); `None` without any times.
    pub fn duration(&self) -> Option<f64> {
        self.cues
            .iter()
            .filter_map(|cue| cue.end.or(cue.start))
            .reduce(f64::max)
    }

    /// The number of words, separated by white space, in all cues.
    pub fn words(&self) -> usize {
        self.cues
            .iter()
            .map(|cue| cue.text.split_whitespace().count())
            .sum()
    }
}

/// Reads the transcript in a file, or on standard input where `path` is `-`.
///
/// `from` overrides the detection of the format. Errors are one line that names the file and, for a bad cue, its line.
pub fn open(path: &str, from: Option<Format>) -> Result<Transcript> {
    parse(path, &read(path)?, from)
}

/// Reads the transcript in `bytes`; `name` stands in messages, and its extension helps where the content does not tell.
pub fn parse(name: &str, bytes: &[u8], from: Option<Format>) -> Result<Transcript> {
    let text = decode::decode(bytes)
        .map_err(|reason| anyhow::anyhow!("{name}: not a text file ({reason})"))?;
    if text.trim().is_empty() {
        bail!("{name}: the file is empty");
    }
    let source = Source { name, text: &text };
    let format = from.unwrap_or_else(|| detect::detect(&source));
    let cues = match format {
        Format::Vtt => vtt::parse(&source),
        Format::Srt => srt::parse(&source),
        Format::Json => whisper::parse(&source),
        Format::Txt => text::parse(&source),
    }?;
    check(&source, &cues)?;
    Ok(Transcript {
        path: name.to_string(),
        format,
        cues: cues.into_iter().map(|placed| placed.cue).collect(),
    })
}

fn read(path: &str) -> Result<Vec<u8>> {
    if path == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("-: cannot read standard input")?;
        return Ok(bytes);
    }
    // Asked first, because reading a directory fails with a different message on each system.
    if Path::new(path).is_dir() {
        bail!("{path}: is a directory; name a transcript file");
    }
    std::fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("{path}: no such file"),
        _ => anyhow::anyhow!("{path}: {error}"),
    })
}

/// Refuses a transcript without words, and cues out of order: chapters made of those would be wrong without a sign.
fn check(source: &Source, cues: &[PlacedCue]) -> Result<()> {
    if cues.iter().all(|placed| placed.cue.text.trim().is_empty()) {
        return Err(source.no_cues("none of its cues has any text"));
    }
    let mut before = 0.0;
    for PlacedCue { place, cue } in cues {
        let Some(start) = cue.start else { continue };
        if start < before - MAX_STEP_BACK {
            let expected = format!(
                "a start at or after {}, that of the cue before",
                time::precise(before)
            );
            let advice = "put the cues in order of time";
            return Err(source.expected_and(place, &expected, &time::precise(start), advice));
        }
        if let Some(end) = cue.end.filter(|&end| end < start) {
            let expected = format!("an end at or after the start {}", time::precise(start));
            let advice = "correct one of the two times";
            return Err(source.expected_and(place, &expected, &time::precise(end), advice));
        }
        before = start;
    }
    Ok(())
}

/// Whether `word` is in a list of words that spaces separate.
fn has_word(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, bytes: &[u8], from: Option<Format>) -> String {
        match parse(name, bytes, from) {
            Ok(transcript) => panic!("{name} was read: {transcript:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn errors_say_where_what_and_what_to_do() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("a.srt", b"", "a.srt: the file is empty"),
            ("a.txt", b"\xef\xbb\xbf \n\n", "a.txt: the file is empty"),
            (
                "a.srt",
                b"1\n00:00:01,000 --> 1:02\nHi\n",
                "a.srt:2: expected a time like 00:01:02,500, found '1:02'",
            ),
            (
                "a.srt",
                b"1\n00:00:09,000 --> 00:00:08,000\nHi\n",
                "a.srt:2: expected an end at or after the start 00:00:09.000, found '00:00:08.000'; correct one of the two times",
            ),
            (
                "a.srt",
                b"1\n00:00:09,000 --> 00:00:10,000\nHi\n\n2\n00:00:03,000 --> 00:00:04,000\nHo\n",
                "a.srt:6: expected a start at or after 00:00:09.000, that of the cue before, found '00:00:03.000'; put the cues in order of time",
            ),
            (
                "a.vtt",
                b"WEBVTT\n\n00:01.000 --> 00:02.000\n\n",
                "a.vtt: no cues: none of its cues has any text",
            ),
            (
                "a.json",
                b"{\"text\": \"Hi\",\n \"segments\": [}",
                "a.json:2: expected valid JSON (expected value), found '}'",
            ),
            (
                "a.txt",
                b"[00:00:01] Hi\n[00:61:00] Ho\n",
                "a.txt:2: expected a time like 00:01:02, found '00:61:00'",
            ),
            (
                "a.doc",
                b"PK\x03\x04rest",
                "a.doc: not a text file (a ZIP archive or an Office document; save it as plain text)",
            ),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(message(name, bytes, None), expected);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        assert_eq!(
            format!("{:#}", open("/nowhere/talk.srt", None).unwrap_err()),
            "/nowhere/talk.srt: no such file"
        );
        assert_eq!(
            format!("{:#}", open("/", None).unwrap_err()),
            "/: is a directory; name a transcript file"
        );
    }

    #[test]
    fn a_small_step_back_is_allowed() {
        let srt = b"00:00:09,000 --> 00:00:10,000\nHi\n\n00:00:07,500 --> 00:00:12,000\nHo\n";
        assert_eq!(parse("a.srt", srt, None).unwrap().cues.len(), 2);
    }

    #[test]
    fn duration_and_words_count_all_cues() {
        let transcript = parse("-", b"[0:01] one two\n[0:05] three\n", None).unwrap();
        assert_eq!((transcript.duration(), transcript.words()), (Some(5.0), 3));
        assert_eq!(parse("-", b"one two three", None).unwrap().duration(), None);
    }

    #[test]
    fn format_names_are_read_and_listed() {
        assert_eq!("SRT".parse::<Format>().unwrap(), Format::Srt);
        let error = "docx".parse::<Format>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown transcript format 'docx'; expected vtt, srt, json or txt"
        );
    }
}

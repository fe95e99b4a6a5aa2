//! WebVTT (W3C Candidate Recommendation, 4 April 2019; file structure in section 4, cue text in sections 4.2 and 6.4).
//!
//! Two deviations, so that no speech is lost: times that cannot be read are an error, not a cue left out, and a block
//! without times that is no NOTE, STYLE or REGION continues the cue before (some writers put empty lines into captions).

use anyhow::Result;

use super::markup::{self, Piece};
use super::source::{Place, PlacedCue, Source};
use super::{Cue, speaker, time};

const SIGNATURE: &str = "WEBVTT";

/// One numbered line.
type Line<'a> = (usize, &'a str);

pub(super) fn has_signature(text: &str) -> bool {
    text.strip_prefix(SIGNATURE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n']))
}

pub(super) fn parse(source: &Source) -> Result<Vec<PlacedCue>> {
    if !has_signature(source.text) {
        let found = source.text.lines().next().unwrap_or_default();
        return Err(source.expected(&Place::Line(1), "WEBVTT at the start of the file", found));
    }
    let lines: Vec<Line> = source.lines().collect();
    let header = lines
        .iter()
        .skip(1)
        .take_while(|(_, line)| !is_blank(line) && !line.contains("-->"))
        .count();
    let mut cues = Vec::new();
    for block in lines[1 + header..]
        .split(|(_, line)| is_blank(line))
        .filter(|block| !block.is_empty())
    {
        read_block(source, block, &mut cues)?;
    }
    if cues.is_empty() {
        return Err(
            source.no_cues("there is no line with times like 00:01:02.500 --> 00:01:05.000")
        );
    }
    for PlacedCue { cue, .. } in &mut cues {
        (cue.speaker, cue.text) = read_text(&cue.text);
    }
    speaker::from_prefixes(&mut cues);
    Ok(cues)
}

/// Reads the lines between two empty ones: a comment, a definition, or a cue with or without an identifier.
fn read_block(source: &Source, block: &[Line], cues: &mut Vec<PlacedCue>) -> Result<()> {
    let times = block
        .iter()
        .take(2)
        .position(|(_, line)| line.contains("-->"));
    let text = match times {
        Some(times) => {
            cues.push(begin_cue(source, block[times])?);
            &block[times + 1..]
        }
        None if is_comment_or_definition(block[0].1) => return Ok(()),
        None => block,
    };
    for &(number, line) in text {
        if time::looks_like_range(line) {
            drop_identifier(cues);
            cues.push(begin_cue(source, (number, line))?);
        } else if let Some(PlacedCue { cue, .. }) = cues.last_mut() {
            push_line(&mut cue.text, line);
        }
    }
    Ok(())
}

fn begin_cue(source: &Source, (number, line): Line) -> Result<PlacedCue> {
    let place = Place::Line(number);
    let (start, end) = time::parse_range(line)
        .map_err(|found| source.expected(&place, "a time like 00:01:02.500", found))?;
    let cue = Cue {
        start: Some(start),
        end: Some(end),
        ..Cue::default()
    };
    Ok(PlacedCue { place, cue })
}

/// Where the empty line between two cues is missing, the number of the second was taken for text of the first.
fn drop_identifier(cues: &mut [PlacedCue]) {
    let Some(PlacedCue { cue, .. }) = cues.last_mut() else {
        return;
    };
    let (rest, last) = cue.text.rsplit_once('\n').unwrap_or(("", &cue.text));
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        cue.text.truncate(rest.len());
    }
}

fn is_comment_or_definition(line: &str) -> bool {
    line == "NOTE"
        || line.starts_with("NOTE ")
        || line.starts_with("NOTE\t")
        || matches!(line.trim_end(), "STYLE" | "REGION")
}

/// Some writers put a space on a line that should be empty, and YouTube puts one on a line that is part of a caption:
/// only a line without any character ends a block.
fn is_blank(line: &str) -> bool {
    line.is_empty()
}

pub(super) fn push_line(text: &mut String, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line.trim());
}

/// The first voice of a cue and its text without tags. Words of a second voice keep its name: "Hello. Ann: Hi."
fn read_text(raw: &str) -> (Option<String>, String) {
    let mut speaker: Option<String> = None;
    let mut voice: Option<String> = None;
    let mut text = String::with_capacity(raw.len());
    for piece in markup::pieces(raw) {
        match piece {
            Piece::Text(part) => text.push_str(&markup::decode_references(part)),
            Piece::Tag(tag) => {
                let Some(name) = voice_name(tag) else {
                    continue;
                };
                if voice.as_ref().is_some_and(|voice| *voice != name) {
                    text.extend([name.as_str(), ": "]);
                }
                speaker.get_or_insert_with(|| name.clone());
                voice = Some(name);
            }
        }
    }
    (speaker, text)
}

/// `v Ann Lee` and `v.loud Ann Lee` name Ann Lee.
fn voice_name(tag: &str) -> Option<String> {
    let (kind, name) = tag.split_once(char::is_whitespace)?;
    let name = markup::decode_references(name.trim());
    ((kind == "v" || kind.starts_with("v.")) && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues(text: &str) -> Vec<(f64, f64, Option<String>, String)> {
        let source = Source {
            name: "a.vtt",
            text,
        };
        let flat = |placed: PlacedCue| {
            let Cue {
                start,
                end,
                speaker,
                text,
            } = placed.cue;
            (start.unwrap(), end.unwrap(), speaker, text)
        };
        parse(&source).unwrap().into_iter().map(flat).collect()
    }

    fn error(text: &str) -> String {
        parse(&Source {
            name: "a.vtt",
            text,
        })
        .unwrap_err()
        .to_string()
    }

    fn cue(start: f64, end: f64, text: &str) -> (f64, f64, Option<String>, String) {
        (start, end, None, text.to_string())
    }

    #[test]
    fn blocks_that_are_no_cues_are_skipped() {
        let text = "WEBVTT - A talk\nKind: captions\n\nNOTE one\ntwo\n\nSTYLE\n::cue {}\n\nREGION\nid:x\n\n\
                    intro\n00:01.000 --> 00:02.000 align:start\nOne\ntwo\n\n100:00:00.000 --> 100:00:01.000\nThree";
        assert_eq!(
            cues(text),
            [
                cue(1.0, 2.0, "One\ntwo"),
                cue(360_000.0, 360_001.0, "Three")
            ]
        );
    }

    #[test]
    fn missing_and_surplus_empty_lines_lose_nothing() {
        let text =
            "WEBVTT\n00:01.000 --> 00:02.000\nOne\n2\n00:02.000 --> 00:03.000\nTwo\n\nstill two\n";
        assert_eq!(
            cues(text),
            [cue(1.0, 2.0, "One"), cue(2.0, 3.0, "Two\nstill two")]
        );
    }

    #[test]
    fn voices_name_speakers() {
        let cases = [
            ("<v Ann Lee>Hi", Some("Ann Lee"), "Hi"),
            ("<v.loud.x Ann>Hi</v>", Some("Ann"), "Hi"),
            (
                "<v Ann>Hi.</v> <v Bob &amp; Co>Yes.</v> <v Bob &amp; Co>No.",
                Some("Ann"),
                "Hi. Bob & Co: Yes. No.",
            ),
            (
                "<c.x>a</c><00:00:01.000><i>b</i> <lang en>c</lang> <ruby>d<rt>e</rt></ruby>",
                None,
                "ab c de",
            ),
            ("1 &lt; 2 < 3 &amp;&#39;", None, "1 < 2 < 3 &'"),
        ];
        for (raw, speaker, text) in cases {
            assert_eq!(
                read_text(raw),
                (speaker.map(String::from), text.to_string()),
                "{raw}"
            );
        }
    }

    #[test]
    fn broken_files_are_refused_by_line() {
        assert_eq!(
            error("Hi\n"),
            "a.vtt:1: expected WEBVTT at the start of the file, found 'Hi'"
        );
        assert_eq!(
            error("WEBVTT\n\nx\n00:01.000 --> 00:0z\nHi"),
            "a.vtt:4: expected a time like 00:01:02.500, found '00:0z'"
        );
        assert!(error("WEBVTT\n\nHi\n").starts_with("a.vtt: no cues: there is no line with times"));
    }
}

//! SubRip (.srt), which has no specification: a number, `00:01:02,500 --> 00:01:05,000`, lines of text, an empty line.
//!
//! Only the lines with times are relied on. A number before them is optional, and so is the empty line; an empty line
//! inside a caption does not end it.

use anyhow::Result;

use super::source::{Place, PlacedCue, Source};
use super::vtt::push_line;
use super::{Cue, markup, speaker, time};

pub(super) fn parse(source: &Source) -> Result<Vec<PlacedCue>> {
    let lines: Vec<(usize, &str)> = source.lines().collect();
    let is_numbered = is_numbered(&lines);
    let mut cues: Vec<PlacedCue> = Vec::new();
    for (index, &(number, line)) in lines.iter().enumerate() {
        if time::looks_like_range(line) {
            cues.push(begin_cue(source, number, line)?);
        } else if let Some(PlacedCue { cue, .. }) = cues.last_mut() {
            let next = lines.get(index + 1).map_or("", |(_, next)| next);
            if !(is_numbered && is_number(line) && time::looks_like_range(next)) {
                push_line(&mut cue.text, line);
            }
        }
    }
    if cues.is_empty() {
        let reason = "there is no line with times like 00:01:02,500 --> 00:01:05,000; pass --from txt for plain text";
        return Err(source.no_cues(reason));
    }
    for PlacedCue { cue, .. } in &mut cues {
        let text = markup::strip_html(&drop_positions(&cue.text));
        cue.text = markup::decode_references(&text);
    }
    speaker::from_prefixes(&mut cues);
    Ok(cues)
}

fn begin_cue(source: &Source, number: usize, line: &str) -> Result<PlacedCue> {
    let place = Place::Line(number);
    let (start, end) = time::parse_range(line)
        .map_err(|found| source.expected(&place, "a time like 00:01:02,500", found))?;
    let cue = Cue {
        start: Some(start),
        end: Some(end),
        ..Cue::default()
    };
    Ok(PlacedCue { place, cue })
}

/// Whether the first cue has a number. If not, a number before the times of a later one was spoken.
fn is_numbered(lines: &[(usize, &str)]) -> bool {
    let first = lines
        .iter()
        .position(|(_, line)| time::looks_like_range(line))
        .unwrap_or(0);
    first > 0 && is_number(lines[first - 1].1)
}

fn is_number(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())
}

/// Removes the overrides of SubStation Alpha that SubRip files carry, such as `{\an8}`.
fn drop_positions(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{\\") {
        kept.push_str(before);
        let Some((_, after)) = after.split_once('}') else {
            kept.push_str("{\\");
            rest = after;
            break;
        };
        rest = after;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues(text: &str) -> Vec<(f64, f64, String)> {
        let flat = |placed: PlacedCue| {
            (
                placed.cue.start.unwrap(),
                placed.cue.end.unwrap(),
                placed.cue.text,
            )
        };
        parse(&Source {
            name: "a.srt",
            text,
        })
        .unwrap()
        .into_iter()
        .map(flat)
        .collect()
    }

    fn error(text: &str) -> String {
        parse(&Source {
            name: "a.srt",
            text,
        })
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn numbers_and_empty_lines_may_be_missing() {
        let expected = [
            (1.0, 2.5, "One\ntwo".to_string()),
            (2.5, 3.0, "Three".to_string()),
        ];
        for text in [
            "1\n00:00:01,000 --> 00:00:02,500\nOne\ntwo\n\n2\n00:00:02,500 --> 00:00:03,000\nThree\n",
            "00:00:01.000 --> 00:00:02.500\nOne\ntwo\n\n00:00:02.500 --> 00:00:03.000\nThree",
            "1\n0:00:01,0 --> 0:00:02,5 X1:10\nOne\n\ntwo\n2\n0:00:02,5 --> 0:00:03,0\nThree",
        ] {
            assert_eq!(cues(text), expected, "{text}");
        }
    }

    #[test]
    fn a_number_that_is_spoken_stays() {
        let text = "00:00:01,000 --> 00:00:02,000\n42\n00:00:02,000 --> 00:00:03,000\nThree";
        assert_eq!(cues(text)[0].2, "42");
        let text =
            "1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:02,000 --> 00:00:03,000\nThree";
        assert_eq!(cues(text)[0].2, "42");
    }

    #[test]
    fn markup_goes() {
        let text = "00:00:01,000 --> 00:00:02,000\n{\\an8}<i>Hi</i> {you} <font size=\"3\">R&amp;D</font> {\\x";
        assert_eq!(cues(text)[0].2, "Hi {you} R&D {\\x");
    }

    #[test]
    fn broken_times_are_refused_by_line() {
        assert_eq!(
            error("1\n00:00:01,000 --> 00:00:02,000\nHi\n2\n00:00:0x,000 --> 00:00:02,000\nHi"),
            "a.srt:5: expected a time like 00:01:02,500, found '00:00:0x,000'"
        );
        assert!(error("Hi").starts_with("a.srt: no cues: there is no line with times"));
    }
}

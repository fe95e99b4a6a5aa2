//! Plain text, in the layouts that people and meeting software write:
//!
//! * lines that begin with a time: `[00:01:02] words`, `(1:02) words`, `1:02 words`, `[00:01.000 --> 00:02.500] words`;
//! * headings `Ann Lee  1:02` (Zoom, Otter, Teams, Rev) with the words on the lines below;
//! * lines that begin with a speaker, `Ann Lee: words`;
//! * else paragraphs, separated by empty lines.
//!
//! A cue of more than 1,000 characters is split, so that a chapter can begin inside it.

use anyhow::Result;

use super::line::{Line, bad_time, split_heading, split_time};
use super::source::{Place, PlacedCue, Source};
use super::speaker::Names;
use super::split::split_long;
use super::{Cue, ends};

/// Lines that may precede the first time or heading: a title, a date, who took part.
const MAX_PREAMBLE: usize = 5;

/// What the lines of a file begin with.
struct Layout {
    has_times: bool,
    has_headings: bool,
    names: Names,
}

pub(super) fn parse(source: &Source) -> Result<Vec<PlacedCue>> {
    let layout = Layout::of(source);
    let mut cues = read_lines(source, &layout)?;
    fill_ends(&mut cues);
    Ok(cues.into_iter().flat_map(split_long).collect())
}

impl Layout {
    fn of(source: &Source) -> Layout {
        let lines: Vec<&str> = source
            .text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let top = &lines[..lines.len().min(MAX_PREAMBLE + 1)];
        let bare_times = lines.iter().filter(|line| has_bare_time(line)).count();
        let headings = lines
            .iter()
            .filter(|line| split_heading(line).is_some())
            .count();
        Layout {
            // A bare time can also begin an ordinary line ("10:30 was late"): it has to begin every fourth line.
            has_times: top.iter().any(|line| has_bracketed_time(line))
                || (top.iter().any(|line| has_bare_time(line)) && bare_times * 4 >= lines.len()),
            has_headings: headings >= 2 && top.iter().any(|line| split_heading(line).is_some()),
            names: Names::gather(
                lines
                    .iter()
                    .map(|line| split_time(line).map_or(*line, |line| line.words)),
            ),
        }
    }

    fn read<'a>(&self, line: &'a str) -> Line<'a> {
        if let Some(heading) = self.has_headings.then(|| split_heading(line)).flatten() {
            return heading;
        }
        let timed = self.has_times.then(|| split_time(line)).flatten();
        let line = timed.unwrap_or(Line {
            words: line.trim(),
            ..Line::default()
        });
        match self.names.split(line.words) {
            Some((name, words)) => Line {
                speaker: Some(name),
                words,
                ..line
            },
            None => line,
        }
    }

    /// Whether an empty line ends a cue. Below a time or a heading, it only separates paragraphs of the same cue.
    fn has_paragraphs(&self) -> bool {
        !self.has_times && !self.has_headings
    }
}

fn has_bracketed_time(line: &str) -> bool {
    line.trim_start().starts_with(['[', '('])
        && (split_time(line).is_some() || bad_time(line).is_some())
}

fn has_bare_time(line: &str) -> bool {
    !line.trim_start().starts_with(['[', '(']) && split_time(line).is_some()
}

fn read_lines(source: &Source, layout: &Layout) -> Result<Vec<PlacedCue>> {
    let every_line_is_a_paragraph = layout.has_paragraphs() && lines_are_paragraphs(source.text);
    let mut cues: Vec<PlacedCue> = Vec::new();
    let mut after_empty = true;
    for (number, raw) in source.lines() {
        if raw.trim().is_empty() {
            after_empty = true;
            continue;
        }
        if let Some(found) = bad_time(raw).filter(|_| layout.has_times) {
            return Err(source.expected(&Place::Line(number), "a time like 00:01:02", found));
        }
        let line = layout.read(raw);
        let begins = line.start.is_some() || line.speaker.is_some();
        let continues =
            !(begins || every_line_is_a_paragraph || (after_empty && layout.has_paragraphs()));
        after_empty = false;
        match cues.last_mut() {
            Some(PlacedCue { cue, .. }) if continues => push_words(&mut cue.text, line.words),
            before => {
                let cue = begin_cue(&line, before.map(|placed| &placed.cue));
                cues.push(PlacedCue {
                    place: Place::Line(number),
                    cue,
                });
            }
        }
    }
    Ok(cues)
}

/// What a line does not say of itself it has from the cue before: the speaker goes on, and so does the time.
fn begin_cue(line: &Line, before: Option<&Cue>) -> Cue {
    Cue {
        start: line.start.or(before.and_then(|cue| cue.start)),
        end: line.end,
        speaker: line
            .speaker
            .map(String::from)
            .or_else(|| before.and_then(|cue| cue.speaker.clone())),
        text: line.words.to_string(),
    }
}

fn push_words(text: &mut String, words: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(words);
}

/// A cue without an end lasts until the next one that starts later.
fn fill_ends(cues: &mut [PlacedCue]) {
    let mut next: Option<(f64, Option<f64>)> = None;
    for PlacedCue { cue, .. } in cues.iter_mut().rev() {
        let Some(start) = cue.start else { continue };
        if cue.end.is_none() {
            cue.end = next.and_then(|(next_start, next_end)| {
                if next_start > start {
                    Some(next_start)
                } else {
                    next_end
                }
            });
            cue.end = cue.end.filter(|&end| end >= start);
        }
        next = Some((start, cue.end));
    }
}

/// Text without any empty line, whose lines end as sentences do, is not one wrapped paragraph.
fn lines_are_paragraphs(text: &str) -> bool {
    let (mut lines, mut closed) = (0, 0);
    for line in text.trim().lines() {
        if line.trim().is_empty() {
            return false;
        }
        lines += 1;
        closed += usize::from(ends::has_stop(line.trim_end()));
    }
    closed * 5 >= lines * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    type Flat = (Option<f64>, Option<f64>, Option<String>, String);

    fn cues(text: &str) -> Vec<Flat> {
        let flat = |placed: PlacedCue| {
            let Cue {
                start,
                end,
                speaker,
                text,
            } = placed.cue;
            (start, end, speaker, text)
        };
        parse(&Source {
            name: "a.txt",
            text,
        })
        .unwrap()
        .into_iter()
        .map(flat)
        .collect()
    }

    fn cue(
        start: impl Into<Option<f64>>,
        end: impl Into<Option<f64>>,
        speaker: &str,
        text: &str,
    ) -> Flat {
        let speaker = (!speaker.is_empty()).then(|| speaker.to_string());
        (start.into(), end.into(), speaker, text.to_string())
    }

    #[test]
    fn times_begin_cues() {
        let expected = [cue(1.0, 62.0, "", "One two"), cue(62.0, None, "", "Three")];
        for text in [
            "[00:00:01] One\ntwo\n\n[00:01:02] Three",
            "(0:01) One two\n(1:02) Three",
            "0:01 - One two\n1:02 - Three",
            "0:01\nOne two\n1:02\nThree",
        ] {
            assert_eq!(cues(text), expected, "{text}");
        }
        let ranged = "[00:00.500 --> 00:02.000]  One\n[00:02.000 --> 00:03.000]  Two";
        assert_eq!(
            cues(ranged),
            [cue(0.5, 2.0, "", "One"), cue(2.0, 3.0, "", "Two")]
        );
    }

    #[test]
    fn headings_name_speaker_and_time() {
        let expected = [
            cue(1.0, 62.0, "Ann Lee", "One two. Three."),
            cue(62.0, None, "Bob", "Four."),
        ];
        for text in [
            "Ann Lee  0:01\nOne two.\n\nThree.\n\nBob  1:02\nFour.",
            "[Ann Lee] 00:00:01\nOne two.\nThree.\n[Bob] 00:01:02\nFour.",
            "Ann Lee (00:01):\nOne two.\nThree.\n\nBob (01:02):\nFour.",
        ] {
            assert_eq!(cues(text), expected, "{text}");
        }
    }

    #[test]
    fn speakers_begin_cues() {
        assert_eq!(
            cues("Ann: One\ntwo.\nBob: Three.\n\nFour.\nAnn:\nFive."),
            [
                cue(None, None, "Ann", "One two."),
                cue(None, None, "Bob", "Three."),
                cue(None, None, "Bob", "Four."),
                cue(None, None, "Ann", "Five."),
            ]
        );
        assert_eq!(
            cues("[0:01] Ann: One.\nBob: Two.\n[0:05] Bob: Three."),
            [
                cue(1.0, 5.0, "Ann", "One."),
                cue(1.0, 5.0, "Bob", "Two."),
                cue(5.0, None, "Bob", "Three.")
            ]
        );
    }

    #[test]
    fn else_paragraphs_are_cues() {
        assert_eq!(
            cues("One\ntwo.\n\nThree: 4."),
            [
                cue(None, None, "", "One two."),
                cue(None, None, "", "Three: 4.")
            ]
        );
        assert_eq!(cues("One.\nTwo!\nThree.").len(), 3);
        assert_eq!(
            cues("We met. At\n10:30 it was\nover, I think,\nand so on\nto the end").len(),
            1
        );
        assert_eq!(cues("10:30 am is late.\nSo is 11:00.").len(), 2);
    }
}

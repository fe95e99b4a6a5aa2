//! Markdown, for a terminal, a wiki or show notes.

use std::fmt::Write;

use super::Layout;
use crate::summary::{Chapter, Evidence, Summary};
use crate::transcript::time;

pub fn render(summary: &Summary, layout: Layout) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, summary, layout.evidence);
    match layout.width {
        Some(width) => wrap(&text, width),
        None => text,
    }
}

/// Paragraphs broken between words; headings stay whole, for a line break would end them.
fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            wrapped.push_str(line);
        } else {
            let hang = if line.starts_with("- ") { "  " } else { "" };
            let options = textwrap::Options::new(width).subsequent_indent(hang);
            wrapped.push_str(&textwrap::fill(line, options));
        }
        wrapped.push('\n');
    }
    wrapped
}

fn write(out: &mut String, summary: &Summary, evidence: bool) -> std::fmt::Result {
    let source = &summary.source;
    let name = source
        .path
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or(&source.path);
    let name = if name == "-" { "Standard input" } else { name };
    writeln!(out, "# {}\n", escape(name))?;
    let mut facts = Vec::new();
    facts.extend(source.duration.map(time::short));
    facts.push(count(source.words, "word"));
    facts.push(count(summary.chapters.len(), "chapter"));
    writeln!(out, "{}", facts.join(", "))?;
    if let Some(overview) = &summary.summary {
        writeln!(out, "\n{}", escape(overview))?;
        if evidence && !summary.summary_evidence.is_empty() {
            writeln!(out, "\n{}", said_at(&summary.summary_evidence))?;
        }
    }
    if summary.summary.is_none() || !summary.key_points.is_empty() {
        writeln!(out)?;
    }
    for point in &summary.key_points {
        let chapter = format!("chapter {}:", point.chapter + 1);
        let place = place(point.evidence.start, &chapter);
        writeln!(out, "- {place} {}", escape(&point.text))?;
    }
    for (number, chapter) in (1..).zip(&summary.chapters) {
        write_chapter(out, number, chapter)?;
        if evidence && !chapter.evidence.is_empty() {
            writeln!(out, "\n{}", said_at(&chapter.evidence))?;
        }
    }
    Ok(())
}

fn write_chapter(out: &mut String, number: usize, chapter: &Chapter) -> std::fmt::Result {
    let place = place(chapter.start, &format!("{number}."));
    let Some(title) = &chapter.title else {
        let cues = format!("cues {} to {}", chapter.first_cue, chapter.last_cue);
        writeln!(out, "- {place} ({cues})")?;
        for topic in &chapter.topics {
            let cues = format!("cues {} to {}", topic.first_cue, topic.last_cue);
            let place = self::place(topic.start, "topic:");
            writeln!(out, "  - {place} ({cues})")?;
        }
        return Ok(());
    };
    writeln!(out, "\n## {place} {}\n", escape(title))?;
    writeln!(
        out,
        "{}",
        escape(chapter.summary.as_deref().unwrap_or_default())
    )?;
    for (k, topic) in chapter.topics.iter().enumerate() {
        let gap = if k == 0 { "\n" } else { "" };
        let place = self::place(topic.start, &format!("cue {}:", topic.first_cue));
        let title = escape(topic.title.as_deref().unwrap_or_default());
        writeln!(out, "{gap}- {place} {title}")?;
    }
    Ok(())
}

/// Where the sentences were said on which a summary rests, in their order there: `Said at 4:12, 6:30.`
fn said_at(evidence: &[Evidence]) -> String {
    let mut evidence = evidence.iter().collect::<Vec<_>>();
    evidence.sort_by_key(|evidence| evidence.first_cue);
    let cue = |evidence: &Evidence| format!("cue {}", evidence.first_cue);
    let places = evidence.iter().map(|e| place(e.start, &cue(e)));
    let mut places = places.collect::<Vec<_>>();
    places.dedup();
    let timed = evidence.iter().any(|evidence| evidence.start.is_some());
    let at = if timed { "at" } else { "in" };
    format!("Said {at} {}.", places.join(", "))
}

/// A time as people write it, or what stands for it where there are none.
fn place(start: Option<f64>, otherwise: &str) -> String {
    start.map_or_else(|| otherwise.into(), time::short)
}

/// What would be markup in Markdown as plain characters, and nothing that a terminal would obey.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '*' | '_' | '`' | '[' | ']' | '<' | '>' | '#' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// `1 word`, `5,164 words`.
fn count(n: usize, unit: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", indicatif::HumanCount(n as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Coverage, KeyPoint, Method, SourceInfo};

    fn summary() -> Summary {
        Summary {
            version: 1,
            source: SourceInfo {
                path: "talks/a_b.vtt".into(),
                format: "vtt",
                duration: Some(3725.4),
                cues: 2,
                words: 1,
                language: Some("en"),
            },
            model: None,
            summary: Some("All of it.".into()),
            summary_evidence: Vec::new(),
            key_points: Vec::new(),
            chapters: vec![Chapter {
                start: Some(62.),
                end: Some(3725.4),
                first_cue: 0,
                last_cue: 1,
                title: Some("Ropes *and* weights".into()),
                summary: Some("It fell.".into()),
                method: Method::Generated,
                evidence: Vec::new(),
                topics: Vec::new(),
                coverage: Coverage::default(),
            }],
            coverage: Coverage::default(),
        }
    }

    #[test]
    fn a_summary_is_headings_and_paragraphs() {
        assert_eq!(
            render(&summary(), Layout::default()),
            "# a\\_b.vtt\n\n1:02:05, 1 word, 1 chapter\n\nAll of it.\n\n## 1:02 Ropes \\*and\\* weights\n\nIt fell.\n"
        );
    }

    #[test]
    fn evidence_is_where_it_was_said() {
        let evidence = |first_cue, start| Evidence {
            sentence: 0,
            last_sentence: 0,
            first_cue,
            last_cue: first_cue,
            start,
            score: 0.5,
        };
        let shown = |places: [Option<f64>; 2], start| {
            let mut summary = summary();
            summary.chapters[0].start = start;
            summary.chapters[0].evidence = vec![evidence(1, places[1]), evidence(0, places[0])];
            let layout = Layout {
                evidence: true,
                ..Layout::default()
            };
            render(&summary, layout)
        };
        let text = shown([Some(62.), Some(125.)], Some(62.));
        assert!(
            text.ends_with("It fell.\n\nSaid at 1:02, 2:05.\n"),
            "{text}"
        );
        let text = shown([None, None], None);
        assert!(text.ends_with("\n\nSaid in cue 0, cue 1.\n"), "{text}");
    }

    #[test]
    fn key_points_are_a_list_with_times() {
        let mut summary = summary();
        let evidence = Evidence {
            sentence: 0,
            last_sentence: 0,
            first_cue: 0,
            last_cue: 0,
            start: Some(70.),
            score: 0.5,
        };
        summary.key_points = vec![KeyPoint {
            text: "The weight fell.".into(),
            chapter: 0,
            evidence,
        }];
        let layout = Layout {
            width: Some(12),
            ..Layout::default()
        };
        let text = render(&summary, layout);
        assert!(
            text.contains("All of it.\n\n- 1:10 The\n  weight\n  fell.\n\n## "),
            "{text}"
        );
    }

    #[test]
    fn on_a_terminal_paragraphs_break_between_words_and_headings_do_not() {
        let mut summary = summary();
        summary.summary = Some("The weight fell through two floors.".into());
        let layout = Layout {
            width: Some(20),
            ..Layout::default()
        };
        let text = render(&summary, layout);
        assert!(
            text.contains("\nThe weight fell\nthrough two floors.\n"),
            "{text}"
        );
        assert!(
            text.contains("\n## 1:02 Ropes \\*and\\* weights\n"),
            "{text}"
        );
    }

    #[test]
    fn boundaries_are_a_list() {
        let mut summary = summary();
        summary.summary = None;
        summary.chapters[0].title = None;
        assert_eq!(
            render(&summary, Layout::default()),
            "# a\\_b.vtt\n\n1:02:05, 1 word, 1 chapter\n\n- 1:02 (cues 0 to 1)\n"
        );
    }

    #[test]
    fn without_times_chapters_are_numbered() {
        let mut summary = summary();
        summary.source.duration = None;
        summary.chapters[0].start = None;
        assert!(render(&summary, Layout::default()).contains("\n1 word, 1 chapter\n"));
        assert!(render(&summary, Layout::default()).contains("## 1. Ropes"));
    }
}

//! Markdown, for a terminal, a wiki or show notes.

use std::fmt::Write;

use crate::summary::{Chapter, Summary};
use crate::transcript::time;

pub fn render(summary: &Summary, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, summary);
    match width {
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
            wrapped.push_str(&textwrap::fill(line, width));
        }
        wrapped.push('\n');
    }
    wrapped
}

fn write(out: &mut String, summary: &Summary) -> std::fmt::Result {
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
    }
    if summary.summary.is_none() {
        writeln!(out)?;
    }
    for (number, chapter) in (1..).zip(&summary.chapters) {
        write_chapter(out, number, chapter)?;
    }
    Ok(())
}

fn write_chapter(out: &mut String, number: usize, chapter: &Chapter) -> std::fmt::Result {
    let place = match chapter.start {
        Some(start) => time::short(start),
        None => format!("{number}."),
    };
    let Some(title) = &chapter.title else {
        let cues = format!("cues {} to {}", chapter.first_cue, chapter.last_cue);
        return writeln!(out, "- {place} ({cues})");
    };
    writeln!(out, "\n## {place} {}\n", escape(title))?;
    writeln!(
        out,
        "{}",
        escape(chapter.summary.as_deref().unwrap_or_default())
    )
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
    use crate::summary::{Coverage, Method, SourceInfo};

    fn summary() -> Summary {
        Summary {
            version: 1,
            source: SourceInfo {
                path: "talks/a_b.vtt".into(),
                format: "vtt",
                duration: Some(3725.4),
                cues: 2,
                words: 1,
            },
            model: None,
            summary: Some("All of it.".into()),
            chapters: vec![Chapter {
                start: Some(62.),
                end: Some(3725.4),
                first_cue: 0,
                last_cue: 1,
                title: Some("Ropes *and* weights".into()),
                summary: Some("It fell.".into()),
                method: Method::Generated,
                evidence: Vec::new(),
            }],
            coverage: Coverage {
                cues: 2,
                covered: 2,
            },
        }
    }

    #[test]
    fn a_summary_is_headings_and_paragraphs() {
        assert_eq!(
            render(&summary(), None),
            "# a\\_b.vtt\n\n1:02:05, 1 word, 1 chapter\n\nAll of it.\n\n## 1:02 Ropes \\*and\\* weights\n\nIt fell.\n"
        );
    }

    #[test]
    fn on_a_terminal_paragraphs_break_between_words_and_headings_do_not() {
        let mut summary = summary();
        summary.summary = Some("The weight fell through two floors.".into());
        let text = render(&summary, Some(20));
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
            render(&summary, None),
            "# a\\_b.vtt\n\n1:02:05, 1 word, 1 chapter\n\n- 1:02 (cues 0 to 1)\n"
        );
    }

    #[test]
    fn without_times_chapters_are_numbered() {
        let mut summary = summary();
        summary.source.duration = None;
        summary.chapters[0].start = None;
        assert!(render(&summary, None).contains("\n1 word, 1 chapter\n"));
        assert!(render(&summary, None).contains("## 1. Ropes"));
    }
}

//! The report as Markdown, for people: columns line up as plain text too.

use super::environment::{Build, Host};
use super::report::{Report, Row};
use crate::machine::size;

/// The whole document.
pub fn render(report: &Report) -> String {
    let mut text = format!(
        "# Benchmark\n\n{}  \n{}\n",
        machine(&report.machine),
        build(&report.build)
    );
    if let Some(row) = report.results.first() {
        text += &format!(
            "\nPrompts of so many tokens, {} written after each. Mean ± standard deviation of {} after a warm-up; tokens per \
             second count all sequences of a batch; a cold start is loading and a first prompt; × compares with the first row of the same prompt and batch.\n\n{}",
            row.n_gen,
            times(report.repetitions),
            speeds(&report.results)
        );
    }
    if !report.end_to_end.is_empty() {
        text += "\n## From a transcript to chapters\n\n\
                 The built-in example (36 minutes) once, models loaded before.\n\n";
        text += &whole_way(report);
    }
    let agreement = report.agreement.iter().map(ToString::to_string);
    text += &list("The same tokens?", agreement);
    text += &list("Failed", report.failures.iter().map(ToString::to_string));
    text
}

/// `5 rounds`.
pub fn times(repetitions: usize) -> String {
    match repetitions {
        1 => "one round".into(),
        n => format!("{n} rounds"),
    }
}

/// One line of words.
pub fn machine(host: &Host) -> String {
    let cpu = if host.cpu.is_empty() {
        "unknown processor"
    } else {
        &host.cpu
    };
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let mut parts = vec![cpu.to_string()];
    parts.extend(host.cores.map(|cores| count(cores, "core")));
    parts.push(count(host.threads, "thread"));
    parts.push(format!("{} of memory", size(host.memory)));
    parts.push(format!("{} ({})", host.os, host.arch));
    if !host.features.is_empty() {
        parts.push(host.features.join(" "));
    }
    parts.extend(host.isa.iter().map(|isa| format!("CHAPTERIZE_ISA={isa}")));
    parts.join(", ")
}

/// Likewise.
pub fn build(build: &Build) -> String {
    let mut parts = vec![
        format!("chapterize {}", build.version),
        build.profile.clone(),
        build.target.clone(),
    ];
    parts.extend(build.features.iter().map(|name| format!("with {name}")));
    parts.extend(build.commit.iter().map(|id| format!("commit {id}")));
    parts.join(", ")
}

fn speeds(rows: &[Row]) -> String {
    let header = [
        "model",
        "type",
        "device",
        "threads",
        "prompt",
        "batch",
        "load s",
        "cold start s",
        "first token s",
        "prefill tok/s",
        "×",
        "decode tok/s",
        "×",
        "total s",
        "peak memory",
    ];
    let line = |row: &Row| {
        let sizes = |row: &Row| (row.n_prompt, row.batch);
        let first = rows.iter().find(|other| sizes(other) == sizes(row));
        let first = first.unwrap_or(row);
        let subject = &row.subject;
        vec![
            escaped(&subject.model),
            subject.dtype.clone(),
            subject.device.clone(),
            subject.threads.to_string(),
            row.n_prompt.to_string(),
            row.batch.to_string(),
            digits(row.load_s),
            digits(row.cold_start_s),
            digits(row.ttft_s),
            spread(row.prefill_tps, row.prefill_tps_stddev),
            format!("{:.2}", row.prefill_tps / first.prefill_tps),
            spread(row.decode_tps, row.decode_tps_stddev),
            format!("{:.2}", row.decode_tps / first.decode_tps),
            digits(row.total_s),
            row.peak_rss_bytes.map_or_else(|| "?".into(), size),
        ]
    };
    table(&header, 3, &rows.iter().map(line).collect::<Vec<_>>())
}

fn whole_way(report: &Report) -> String {
    let header = [
        "model",
        "type",
        "device",
        "threads",
        "seconds",
        "seconds per hour of speech",
        "peak memory",
    ];
    let none = || "–".to_string();
    let lines = report.end_to_end.iter().map(|found| {
        let subject = &found.subject;
        vec![
            escaped(&subject.model),
            subject.dtype.clone(),
            subject.device.clone(),
            subject.threads.to_string(),
            found.seconds.map_or_else(none, digits),
            found.seconds_per_hour.map_or_else(none, digits),
            found.peak_rss_bytes.map_or_else(|| "?".into(), size),
        ]
    });
    let table = table(&header, 3, &lines.collect::<Vec<_>>());
    let reasons = report
        .end_to_end
        .iter()
        .filter(|found| found.reason.is_some());
    let reasons = reasons.map(|found| format!("\n{}\n", escaped(&found.to_string())));
    table + &reasons.collect::<String>()
}

/// Nothing where there are no lines.
fn list(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines = lines.map(|line| format!("- {}\n", escaped(&line)));
    let lines = lines.collect::<String>();
    match lines.is_empty() {
        true => lines,
        false => format!("\n## {title}\n\n{lines}"),
    }
}

/// A table whose first `words` columns are aligned to the left and the others, figures, to the right.
fn table(header: &[&str], words: usize, lines: &[Vec<String>]) -> String {
    let length = |text: &str| text.chars().count();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| length(&line[column]));
        cells.max().unwrap_or(0).max(length(header[column])).max(3)
    };
    let widths = (0..header.len()).map(width).collect::<Vec<_>>();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(i, (cell, w))| {
            let w = *w;
            if i < words {
                format!(" {cell:<w$} |")
            } else {
                format!(" {cell:>w$} |")
            }
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rules = widths.iter().enumerate().map(|(i, w)| {
        let dashes = "-".repeat(w + 1);
        if i < words {
            format!("{dashes}-|")
        } else {
            format!("{dashes}:|")
        }
    });
    let rows = lines
        .iter()
        .map(|cells| line(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
    let rule = format!("|{}\n", rules.collect::<String>());
    line(header) + &rule + &rows.collect::<String>()
}

/// In three or more digits: `0.0421`, `4.21`, `42.1`, `4212`.
pub fn digits(value: f64) -> String {
    match value.abs() {
        0. => "0".into(),
        v if v >= 100. => format!("{value:.0}"),
        v if v >= 10. => format!("{value:.1}"),
        v if v >= 1. => format!("{value:.2}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// A mean with as many decimals as [`digits`] gives it, and its deviation with the same: `212 ± 3`.
pub fn spread(mean: f64, stddev: f64) -> String {
    let mean = digits(mean);
    let decimals = mean.split_once('.').map_or(0, |(_, part)| part.len());
    format!("{mean} ± {stddev:.decimals$}")
}

/// Names come from files and may hold what Markdown takes for its own.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::agreement::{Tokens, compare};
    use super::super::report::tests::{report, row};
    use super::super::report::{EndToEnd, Failure};
    use super::*;

    #[test]
    fn figures_have_three_digits_or_more() {
        let values = [0., 0.04213, 0.4213, 4.213, 42.13, 421.3, 4213.].map(digits);
        assert_eq!(
            values,
            ["0", "0.0421", "0.421", "4.21", "42.1", "421", "4213"]
        );
        assert_eq!(spread(42.13, 0.678), "42.1 ± 0.7");
        assert_eq!(spread(421.3, 2.5), "421 ± 2");
    }

    #[test]
    fn the_document_has_a_section_for_all_that_was_found() {
        let mut report = report(vec![row("m", 1, 1, 40.), row("m", 2, 1, 60.)]);
        let tokens = |threads| Tokens {
            subject: row("m", threads, 1, 1.).subject,
            n_prompt: 512,
            batch: 1,
            ids: vec![vec![7]],
        };
        report.build.commit = None;
        report.build.profile = "release".into();
        report.build.features = Vec::new();
        report.build.target = "x86_64-linux-gnu".into();
        report.agreement = compare(&[tokens(1), tokens(2)]);
        report.end_to_end = vec![EndToEnd {
            subject: row("m", 1, 1, 1.).subject,
            seconds: Some(14.),
            seconds_per_hour: Some(22.9),
            peak_rss_bytes: None,
            reason: None,
        }];
        let subject = row("m", 2, 1, 1.).subject;
        let impossible = EndToEnd::impossible(subject, "no tokens for the text");
        report.end_to_end.push(impossible);
        report.failures = vec![Failure {
            model: "m".into(),
            device: Some("metal".into()),
            threads: None,
            error: "not here".into(),
        }];
        let expected = concat!(
            "# Benchmark\n\n",
            "Fast CPU, 1 core, 2 threads, 16 GB of memory, Linux (x86_64), avx2 fma  \n",
            "chapterize ",
            env!("CARGO_PKG_VERSION"),
            ", release, x86_64-linux-gnu\n\n",
            "Prompts of so many tokens, 32 written after each. Mean ± standard deviation of 5 rounds after a warm-up; tokens per \
             second count all sequences of a batch; a cold start is loading and a first prompt; × compares with the first row of the same prompt and batch.\n\n",
            "| model | type | device | threads | prompt | batch | load s | cold start s | first token s | prefill tok/s |    × | decode tok/s |    × | total s | peak memory |\n",
            "|-------|------|--------|--------:|-------:|------:|-------:|-------------:|--------------:|--------------:|-----:|-------------:|-----:|--------:|------------:|\n",
            "| m     | Q4_1 | cpu    |       1 |    512 |     1 |  0.250 |         2.00 |          1.50 |       160 ± 2 | 1.00 |   40.0 ± 0.5 | 1.00 |    12.0 |      472 MB |\n",
            "| m     | Q4_1 | cpu    |       2 |    512 |     1 |  0.250 |         2.00 |          1.50 |       240 ± 2 | 1.50 |   60.0 ± 0.5 | 1.50 |    12.0 |      472 MB |\n",
            "\n## From a transcript to chapters\n\nThe built-in example (36 minutes) once, models loaded before.\n\n",
            "| model | type | device | threads | seconds | seconds per hour of speech | peak memory |\n",
            "|-------|------|--------|--------:|--------:|---------------------------:|------------:|\n",
            "| m     | Q4_1 | cpu    |       1 |    14.0 |                       22.9 |           ? |\n",
            "| m     | Q4_1 | cpu    |       2 |       – |                          – |           ? |\n",
            "\nm, cpu, 2 threads, Q4_1: no tokens for the text\n",
            "\n## The same tokens?\n\n- m, prompt 512, batch 1: cpu, 1 thread, Q4_1 and cpu, 2 threads, Q4_1 are equal (1 x 1 tokens)\n",
            "\n## Failed\n\n- m, metal: not here\n",
        );
        let found = render(&report);
        assert_eq!(found, expected, "\n{found}");
    }
}

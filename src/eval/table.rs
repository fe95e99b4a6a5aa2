//! The scores as a table.

use serde_json::json;

use super::{Scores, TableFormat};

/// Ends in a newline.
pub fn render(format: TableFormat, subject: &str, scores: &[Scores]) -> String {
    match format {
        TableFormat::Json => {
            format!("{:#}\n", json!({"model": subject, "results": scores}))
        }
        TableFormat::Md => markdown(subject, scores),
    }
}

fn markdown(subject: &str, scores: &[Scores]) -> String {
    let passages = scores.first().map_or(0, |scores| scores.passages);
    let mut text = format!("{passages} passages, written with {subject}\n\n");
    text += "| way | ROUGE-1 | ROUGE-2 | ROUGE-L | cosine | unsupported | dialogue | quoted | words | title ROUGE-L | title cosine |\n";
    text += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for s in scores {
        let way = serde_json::to_value(s.way).unwrap_or_default();
        let percent = |value: f64| format!("{:.1}", 100. * value);
        let optional =
            |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or_else(String::new, show);
        text += &format!(
            "| {} | {} | {} | {} | {:.2} | {:.2} | {} | {:.0} % | {:.0} | {} | {} |\n",
            way.as_str().unwrap_or_default(),
            percent(s.rouge_1),
            percent(s.rouge_2),
            percent(s.rouge_l),
            s.cosine,
            s.unsupported,
            s.dialogue,
            100. * s.extractive,
            s.words,
            optional(s.title_rouge_l, &percent),
            optional(s.title_cosine, &|value| format!("{value:.2}")),
        );
    }
    text + "\nROUGE as F1 in per cent. Unsupported: names and numbers per summary that the passage does not have. Dialogue: summaries that go on \
            with it. Quoted: summaries of the passage's own sentences.\n"
}

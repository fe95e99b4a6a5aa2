//! The scores as tables.

use serde_json::json;

use super::TableFormat;
use super::boundaries::{Found, Mean};
use super::summaries::Scores;

/// The table of boundaries; JSON has every document, too. Ends in a newline.
pub fn boundaries(
    format: TableFormat,
    given_count: bool,
    means: &[Mean],
    found: &[Found],
) -> String {
    match format {
        TableFormat::Json => format!(
            "{:#}\n",
            json!({"given_count": given_count, "results": means, "documents": found})
        ),
        TableFormat::Md => boundaries_markdown(given_count, means),
    }
}

fn boundaries_markdown(given_count: bool, means: &[Mean]) -> String {
    let titled = means.iter().any(|mean| mean.scores.title_cosine.is_some());
    let mut text = String::from(
        "| set | method | F1, 40 words | F1, 3 s | F1, 10 s | Pk | WindowDiff | boundary similarity | chapters |",
    );
    text += if titled {
        " title ROUGE-L | title cosine |\n"
    } else {
        "\n"
    };
    text += "|---|---|---:|---:|---:|---:|---:|---:|---:|";
    text += if titled { "---:|---:|\n" } else { "\n" };
    let mut set = "";
    for mean in means {
        let name = if mean.set == set {
            String::new()
        } else {
            format!("{} ({})", mean.set, mean.documents)
        };
        set = &mean.set;
        let scores = &mean.scores;
        let optional =
            |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let interval = mean.f1_interval.map_or_else(String::new, |[low, high]| {
            format!(" ({low:.2} to {high:.2})")
        });
        text += &format!(
            "| {name} | {} | {:.2}{interval} | {} | {} | {:.2} | {:.2} | {:.2} | {:.1} of {:.1} |",
            mean.method.name(),
            scores.f1,
            optional(scores.f1_3_seconds),
            optional(scores.f1_10_seconds),
            scores.pk,
            scores.window_diff,
            scores.boundary_similarity,
            scores.chapters,
            scores.human_chapters,
        );
        if titled {
            let [rouge, cosine] = [scores.title_rouge_l, scores.title_cosine].map(optional);
            text += &format!(" {rouge} | {cosine} |");
        }
        text.push('\n');
    }
    let count = match given_count {
        true => "The number of chapters is the person's.",
        false => "The number of chapters is the program's.",
    };
    format!(
        "{text}\n{count} Means over documents, in brackets 95 % of the means of documents drawn anew. Higher is better, but for Pk and \
         WindowDiff, in which no boundary at all has about 0.4.\n"
    )
}

/// The table of summaries. Ends in a newline.
pub fn summaries(format: TableFormat, subject: &str, scores: &[Scores]) -> String {
    match format {
        TableFormat::Json => {
            format!("{:#}\n", json!({"model": subject, "results": scores}))
        }
        TableFormat::Md => summaries_markdown(subject, scores),
    }
}

fn summaries_markdown(subject: &str, scores: &[Scores]) -> String {
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

//! `chapterize eval` for boundaries: data that cannot be used, and tables of data that can.

#[path = "common/program.rs"]
mod program;

use chapterize::chapters::{Count, Levels};
use chapterize::engine::fake::FakeEncoder;
use chapterize::eval::boundaries::{Found, Mean, Text};
use chapterize::eval::methods::Method;
use chapterize::eval::{self, TableFormat, titles};
use chapterize::progress::Progress;
use chapterize::prompt::Style;
use chapterize::reading::Effort;
use chapterize::summarize::{Models, Options, summarize};
use program::Program;
use serde_json::{Value, json};

/// A document about three things, of eight utterances each.
fn document() -> Value {
    let about = |thing: &'static str| {
        (0..8).map(move |i| {
            format!(
                "The {thing} is item {i} of all we say about the {thing} and its {thing} parts."
            )
        })
    };
    let texts = ["clock", "bread", "river"].into_iter().flat_map(about);
    let utterances = texts.enumerate().map(
        |(i, text)| json!({"start": 10 * i, "end": 10 * i + 9, "speaker": "Ann", "text": text}),
    );
    let chapters = [0, 8, 16].map(|start| json!({"start_utterance": start}));
    json!({"id": "three", "utterances": utterances.collect::<Vec<_>>(), "chapters": chapters})
}

#[test]
fn plain_changes_are_found_and_the_tables_say_so() {
    let program = Program::new();
    program.write("three.jsonl", format!("{}\n\n", document()));
    let documents = eval::divided(&program.path("three.jsonl")).unwrap();
    let text = Text::new(&documents[0], &FakeEncoder, None, true).unwrap();
    let found = Method::ALL.map(|method| text.find(method));
    // Treeseg, which embeds each sentence with those before it, is a sentence late.
    assert_eq!(
        (found[2].scores.f1, found[2].scores.f1_3_seconds),
        (1., Some(0.))
    );
    for Found { method, scores, .. } in &found[3..] {
        let all = [
            scores.f1,
            scores.f1_3_seconds.unwrap(),
            scores.boundary_similarity,
        ];
        assert_eq!(all, [1.; 3], "{method:?}");
        assert_eq!((scores.pk, scores.window_diff), (0., 0.));
        assert_eq!((scores.chapters, scores.human_chapters), (3., 3.));
    }
    let alone = Text::new(&documents[0], &FakeEncoder, None, false).unwrap();
    let own = alone.find(Method::Learned);
    assert_ne!(own.scores.chapters, 3., "the program counts for itself");
    let means = Method::ALL.map(|method| Mean::of("three", method, &found));
    let table = eval::boundaries_table(TableFormat::Md, true, &means, &found);
    assert!(table.contains("| three (1) | equidistant |"), "{table}");
    assert!(
        table.contains("|  | learned | 1.00 | 1.00 | 1.00 | 0.00 | 0.00 | 1.00 | 3.0 of 3.0 |"),
        "{table}"
    );
    let json = eval::boundaries_table(TableFormat::Json, true, &means, &found);
    let json = serde_json::from_str::<Value>(&json).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), Method::ALL.len());
    assert_eq!(json["documents"][4]["method"], "learned");
    assert_eq!(json["documents"][4]["f1"], 1.);
}

#[test]
fn titles_are_compared_where_a_chapter_begins_at_the_same_place() {
    let program = Program::new();
    let mut document = document();
    for (chapter, title) in ["The clock", "The bread", "The river"].iter().enumerate() {
        document["chapters"][chapter]["title"] = json!(title);
    }
    program.write("three.jsonl", document.to_string());
    let documents = eval::divided(&program.path("three.jsonl")).unwrap();
    let text = Text::new(&documents[0], &FakeEncoder, None, true).unwrap();
    let models = Models {
        encoder: &FakeEncoder,
        boundaries: None,
        writer: None,
    };
    let options = Options {
        count: Count::Exactly(3),
        levels: Levels::One,
        seed: 0,
        temperature: 0.,
        style: Style::default(),
        effort: Effort::Balanced,
        language: None,
    };
    let transcript = documents[0].transcript();
    let mut summary = summarize(transcript, &models, &options, Progress::hidden()).unwrap();
    let compare = |summary: &_| titles::compare(&text, &documents[0], summary, &FakeEncoder);
    assert_eq!(compare(&summary).unwrap(), None);
    for (chapter, title) in summary
        .chapters
        .iter_mut()
        .zip(["The clock", "The sea", "The river"])
    {
        chapter.title = Some(title.into());
    }
    let found = compare(&summary).unwrap().unwrap();
    assert!(
        (found.rouge_l - (1. + 0.5 + 1.) / 3.).abs() < 1e-6,
        "{found:?}"
    );
    assert!(found.cosine > 0.6 && found.cosine < 0.7, "{found:?}");
    // A chapter that begins elsewhere has nobody's title beside it.
    summary.chapters[1].first_cue += 5;
    let found = compare(&summary).unwrap().unwrap();
    assert!((found.rouge_l - 1.).abs() < 1e-6, "{found:?}");
    let mut all = [text.find(Method::Learned)];
    all[0].scores.set_titles(Some(found));
    let means = [Mean::of("three", Method::Learned, &all)];
    let table = eval::boundaries_table(TableFormat::Md, true, &means, &all);
    assert!(
        table.contains("| title ROUGE-L | title cosine |\n"),
        "{table}"
    );
    assert!(table.contains("| 3.0 of 3.0 | 1.00 | 1.00 |\n"), "{table}");
}

#[test]
fn data_that_cannot_be_used_are_named_with_file_and_line() {
    let program = Program::new();
    let mut backwards = document();
    backwards["chapters"][1]["start_utterance"] = json!(20);
    program.write("backwards.jsonl", format!("{}\n{backwards}\n", document()));
    program.write(
        "bare.jsonl",
        json!({"id": "a", "utterances": [{"text": "Tea."}]}).to_string(),
    );
    program.write("broken.jsonl", "{\"id\": 3}\n");
    for (file, message) in [
        (
            "backwards.jsonl",
            "backwards.jsonl:2: expected chapters in order, each with a 'start_utterance' below 24",
        ),
        (
            "bare.jsonl",
            "bare.jsonl: no document in it has two 'chapters'; boundaries are compared with those (or give --summaries)",
        ),
        (
            "broken.jsonl",
            "broken.jsonl:1: not a document as 'chapterize eval --help' describes it",
        ),
        ("none.jsonl", "none.jsonl: cannot read"),
    ] {
        let line = program.run(&["eval", "--offline", file]).failed(1);
        assert!(line.starts_with(message), "{line}");
    }
}

#[test]
fn settings_of_boundaries_and_summaries_are_not_mixed() {
    let program = Program::new();
    for flags in [
        &["--method", "dp", "--summaries"][..],
        &["--given-count", "--summaries"],
        &["--texts", "a.jsonl"],
        &["--titles", "--summaries"],
        &["--titles", "--method", "dp"],
        &["--encoder", "nobody"],
    ] {
        let output = program.run(&[&["eval", "a.jsonl"], flags].concat());
        assert_eq!(output.code, 2, "{flags:?}");
    }
}

//! The contract of the command line, through the built program: what is printed, where, and with which exit code.
//! `--fake-models` answers from a fixed rule, so that no weights are needed.

#[path = "common/program.rs"]
mod program;
#[path = "common/schema.rs"]
mod schema;

use std::collections::HashSet;
use std::fs;
use std::process::Stdio;

use program::{Program, interview};
use serde_json::Value;

const WORDS: u64 = 5164;

fn chapters(summary: &Value) -> &[Value] {
    summary["chapters"].as_array().unwrap()
}

/// Start and end of every cue, read from the file without the program's own parser.
fn times(vtt: &str) -> Vec<(f64, f64)> {
    let seconds = |time: &str| {
        let fields = time.split(':').map(|field| field.parse::<f64>().unwrap());
        fields.fold(0., |sum, field| sum * 60. + field)
    };
    let ranges = vtt.lines().filter_map(|line| line.split_once(" --> "));
    ranges.map(|(a, b)| (seconds(a), seconds(b))).collect()
}

fn near(a: &Value, b: f64) -> bool {
    (a.as_f64().unwrap() - b).abs() < 1e-6
}

#[test]
fn markdown_is_a_heading_the_facts_and_a_section_per_chapter() {
    let program = Program::new();
    let text = program.summarize(&[&interview("vtt")]).done();
    let sections = text.matches("\n## ").count();
    let top = format!("# interview.vtt\n\n36:40, 5,164 words, {sections} chapters\n\n");
    assert!(text.starts_with(&top), "{text}");
    assert!(text.contains("\n## 0:00 "), "{text}");
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
}

#[test]
fn every_cue_lies_in_one_chapter_and_times_are_those_of_cues() {
    let program = Program::new();
    for extension in ["vtt", "rolling.vtt"] {
        let file = interview(extension);
        let summary = program.summarize(&[&file, "--format", "json"]).json();
        let text = fs::read_to_string(&file).unwrap();
        let times = times(&text.replace(" align:start position:0%", ""));
        assert_eq!(summary["source"]["cues"], times.len());
        assert_eq!(summary["coverage"]["covered"], times.len());
        let mut next = 0;
        for chapter in chapters(&summary) {
            let [first, last] = ["first_cue", "last_cue"].map(|key| chapter[key].as_u64());
            let (first, last) = (first.unwrap() as usize, last.unwrap() as usize);
            assert!(first == next && last >= first, "{chapter}");
            assert!(near(&chapter["start"], times[first].0), "{chapter}");
            let ends = times[first..=last].iter().map(|(_, end)| *end);
            assert!(near(&chapter["end"], ends.fold(0., f64::max)), "{chapter}");
            for evidence in chapter["evidence"].as_array().unwrap() {
                let cue = evidence["first_cue"].as_u64().unwrap() as usize;
                assert!((first..=last).contains(&cue), "{chapter}");
            }
            next = last + 1;
        }
        assert_eq!(next, times.len());
    }
}

#[test]
fn titles_are_unlike_each_other_short_and_without_quotes() {
    let program = Program::new();
    for extension in ["vtt", "srt", "txt", "rolling.vtt", "whisper.json"] {
        let args = [
            &interview(extension),
            "--format",
            "json",
            "--chapters",
            "20",
        ];
        let summary = program.summarize(&args).json();
        let mut seen = HashSet::new();
        for chapter in chapters(&summary) {
            let title = chapter["title"].as_str().unwrap();
            assert!((1..=70).contains(&title.chars().count()), "{title}");
            assert!(!title.contains(['"', '“', '”', '\n']), "{title}");
            assert!(seen.insert(title.to_lowercase()), "twice: {title}");
        }
    }
}

#[test]
fn topics_fill_their_chapters_and_have_titles_of_their_own() {
    let program = Program::new();
    let file = interview("vtt");
    let summary = program
        .summarize(&[&file, "--levels=2", "--format=json"])
        .json();
    let mut seen = HashSet::new();
    let mut count = 0;
    for chapter in chapters(&summary) {
        let topics = chapter["topics"].as_array().unwrap();
        count += topics.len();
        let mut next = &chapter["first_cue"];
        for (k, topic) in topics.iter().enumerate() {
            assert_eq!(&topic["first_cue"], next, "{topic}");
            match topics.get(k + 1) {
                Some(after) => {
                    let last = topic["last_cue"].as_u64().unwrap();
                    assert_eq!(after["first_cue"], last + 1);
                    next = &after["first_cue"];
                }
                None => assert_eq!(topic["last_cue"], chapter["last_cue"]),
            }
        }
        let titles = topics.iter().map(|topic| &topic["title"]);
        for title in titles.chain([&chapter["title"]]) {
            assert!(
                seen.insert(title.as_str().unwrap().to_lowercase()),
                "twice: {title}"
            );
        }
    }
    assert!(count > 2 * chapters(&summary).len(), "{count}");
    let text = program.summarize(&[&file, "--levels=2"]).done();
    let listed = text.split("\n## ").skip(1).flat_map(str::lines);
    assert_eq!(listed.filter(|line| line.starts_with("- ")).count(), count);
    let text = program
        .summarize(&[&file, "--levels=2", "--boundaries-only"])
        .done();
    assert_eq!(text.matches("\n  - ").count(), count);
    let one = program.summarize(&[&file, "--format=json"]).json();
    assert!(
        chapters(&one)
            .iter()
            .all(|chapter| chapter["topics"] == Value::Array(Vec::new()))
    );
}

#[test]
fn json_is_what_the_schema_describes() {
    let program = Program::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.schema.json");
    let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    program.write(
        "untimed.txt",
        "Host: We talk about tea.\n\nGuest: And milk.\n",
    );
    let inputs = [
        vec![interview("vtt")],
        vec!["untimed.txt".into()],
        vec![interview("srt"), "--boundaries-only".into()],
        vec![interview("txt"), "--levels=2".into()],
    ];
    for input in &inputs {
        let mut args = input.iter().map(String::as_str).collect::<Vec<_>>();
        args.extend(["--format", "json"]);
        let summary = program.summarize(&args).json();
        assert_eq!(schema::errors(&schema, &summary), [] as [&str; 0]);
    }

    // The check finds what it is there for.
    let args = [&inputs[0][0], "--format", "json"];
    let mut summary = program.summarize(&args).json();
    summary["extra"] = 1.into();
    summary["version"] = 2.into();
    summary["source"]["cues"] = "411".into();
    summary["chapters"][0]["method"] = "guessed".into();
    summary["chapters"][1]["title"] = "x".repeat(71).into();
    summary["chapters"][2]
        .as_object_mut()
        .unwrap()
        .remove("end");
    let mut errors = schema::errors(&schema, &summary);
    errors.sort();
    let expected = [
        "$.chapters[0].method: enum",
        "$.chapters[1].title: maxLength",
        "$.chapters[2]: required",
        "$.extra: not described",
        "$.source.cues: type",
        "$.version: const",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn every_format_of_the_same_interview_has_the_same_words() {
    let program = Program::new();
    let files = ["vtt", "srt", "txt", "rolling.vtt", "whisper.json"].map(interview);
    for (file, format) in files.iter().zip(["vtt", "srt", "txt", "vtt", "json"]) {
        let args = [file, "--format", "json", "--boundaries-only"];
        let summary = program.summarize(&args).json();
        assert_eq!(summary["source"]["words"], WORDS, "{file}");
        assert_eq!(summary["source"]["format"], format);
        assert_eq!(summary["source"]["path"], file.as_str());
    }
}

#[test]
fn a_dash_reads_standard_input() {
    let program = Program::new();
    let input = fs::read(interview("srt")).unwrap();
    let from_file = program.summarize(&[&interview("srt")]).done();
    let from_input = program.summarize_input(&["-"], &input).done();
    assert_eq!(
        from_input,
        from_file.replace("# interview.srt", "# Standard input")
    );
    let message = program.summarize_input(&["-"], b"").failed(1);
    assert_eq!(message, "-: the file is empty");
}

#[test]
fn quiet_prints_the_result_and_nothing_else() {
    let program = Program::new();
    let quiet = program.summarize(&["--quiet", &interview("vtt")]);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.stdout, program.summarize(&[&interview("vtt")]).done());
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let program = Program::new();
    for format in ["markdown", "json"] {
        let args = [&interview("vtt"), "--seed", "7", "--format", format];
        assert_eq!(program.summarize(&args), program.summarize(&args));
    }
    let args = [&interview("vtt"), "--seed", "7", "--format", "json"];
    assert_eq!(program.summarize(&args).json()["model"]["seed"], 7);
}

#[test]
fn no_color_changes_nothing_where_there_is_no_terminal() {
    let program = Program::new();
    let args = ["summarize", "--fake-models", &interview("vtt")];
    let output = program.command(&args).env("NO_COLOR", "1").output();
    let plain = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(plain, program.run(&args).done());
}

#[test]
fn chapters_makes_exactly_so_many() {
    let program = Program::new();
    for wanted in [1, 3, 12, 40] {
        let (file, number) = (interview("vtt"), wanted.to_string());
        let args = [&file, "--chapters", &number, "--format", "json"];
        assert_eq!(chapters(&program.summarize(&args).json()).len(), wanted);
    }
}

#[test]
fn more_chapters_than_there_are_places_for_is_an_error_that_names_the_flag() {
    let program = Program::new();
    program.write("short.txt", "Tea comes first.\n\nThen comes the milk.\n");
    let message = program
        .summarize(&["short.txt", "--chapters", "5"])
        .failed(1);
    assert!(
        message.starts_with("short.txt: --chapters 5 is more than the 2 places"),
        "{message}"
    );
}

#[test]
fn chapter_minutes_makes_chapters_of_about_that_length() {
    let program = Program::new();
    for (minutes, expected) in [("5", 7), ("10", 4), ("500", 1)] {
        let file = interview("vtt");
        let args = [&file, "--format", "json", "--chapter-minutes", minutes];
        let found = chapters(&program.summarize(&args).json()).len();
        assert!(found.abs_diff(expected) <= 1, "{minutes}: {found}");
    }
}

#[test]
fn boundaries_only_writes_no_words() {
    let program = Program::new();
    let file = interview("vtt");
    let args = [&file, "--boundaries-only"];
    let in_json = [&file, "--boundaries-only", "--format", "json"];
    let summary = program.summarize(&in_json).json();
    assert_eq!(summary["model"], Value::Null);
    assert_eq!(summary["summary"], Value::Null);
    for chapter in chapters(&summary) {
        assert_eq!(chapter["title"], Value::Null);
        assert_eq!(chapter["summary"], Value::Null);
    }
    let list = program.summarize(&args).done();
    assert_eq!(list.matches("\n- ").count(), chapters(&summary).len());
    assert!(list.contains("\n- 0:00 (cues 0 to "), "{list}");
}

#[test]
fn a_closed_pipe_is_a_success() {
    let program = Program::new();
    let args = ["summarize", "--fake-models", &interview("vtt")];
    let mut command = program.command(&args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn help_shows_no_flag_that_is_only_for_tests() {
    let program = Program::new();
    let help = program.run(&["summarize", "--help"]).done();
    assert!(help.contains("--boundaries-only") && !help.contains("fake"));
    let version = program.run(&["--version"]).done();
    assert_eq!(
        version,
        concat!("chapterize ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn without_models_and_without_a_network_it_says_what_to_run_and_leaves_no_trace() {
    let program = Program::new();
    let message = program
        .run(&["summarize", "--offline", &interview("vtt")])
        .failed(1);
    assert!(message.contains("not on this machine"), "{message}");
    assert!(message.contains("run 'chapterize models get"), "{message}");
    assert!(!program.path("home").exists());
}

#[cfg(not(feature = "metal"))]
#[test]
fn a_device_that_is_not_there_is_reported_before_models_are_looked_for() {
    let program = Program::new();
    let args = [
        "summarize",
        "--offline",
        "--device",
        "metal",
        &interview("vtt"),
    ];
    let message = program.run(&args).failed(1);
    assert!(message.starts_with("--device metal: "), "{message}");
    assert!(message.ends_with("; use --device cpu"), "{message}");
}

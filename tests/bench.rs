//! `chapterize bench` through the built program, with tiny random checkpoints: what is written in every format, what is
//! compared, and what goes wrong. Times are whatever they are, and no test waits for or compares any.

#[path = "common/models.rs"]
mod models;
#[path = "common/program.rs"]
mod program;
#[path = "common/tiny.rs"]
mod tiny;

use std::fs;

use program::{Output, Program};
use serde_json::{Map, Value};

const FIELDS: [&str; 16] = [
    "model",
    "device",
    "dtype",
    "threads",
    "n_prompt",
    "n_gen",
    "batch",
    "load_s",
    "cold_start_s",
    "ttft_s",
    "prefill_tps",
    "prefill_tps_stddev",
    "decode_tps",
    "decode_tps_stddev",
    "total_s",
    "peak_rss_bytes",
];

/// The path of a tiny checkpoint.
fn checkpoint(family: &str) -> String {
    tiny::folder(family).display().to_string()
}

/// Small sizes of the Llama checkpoint, and what else is asked for.
fn bench(program: &Program, args: &[&str]) -> Output {
    let model = checkpoint("llama");
    let small = ["bench", "-m", &model, "--device", "cpu", "-p", "12"];
    let rest = ["-n", "3", "-b", "2,1", "-r", "2", "--offline"];
    program.run(&[&small[..], &rest, args].concat())
}

fn objects(value: &Value) -> Vec<&Map<String, Value>> {
    let rows = value.as_array().unwrap().iter();
    rows.map(|row| row.as_object().unwrap()).collect()
}

/// Checks one result, and gives its threads and batch size.
fn check(row: &Map<String, Value>) -> (u64, u64) {
    assert_eq!(row.keys().collect::<Vec<_>>(), FIELDS);
    assert_eq!(row["model"], "llama");
    assert_eq!(row["device"], "cpu");
    assert_eq!(row["dtype"], "F32");
    assert_eq!((&row["n_prompt"], &row["n_gen"]), (&12.into(), &3.into()));
    for name in ["load_s", "ttft_s", "prefill_tps", "decode_tps", "total_s"] {
        let figure = row[name].as_f64().unwrap();
        assert!(figure.is_finite() && figure > 0., "{name}: {figure}");
    }
    for name in ["prefill_tps_stddev", "decode_tps_stddev"] {
        let figure = row[name].as_f64().unwrap();
        assert!(figure.is_finite() && figure >= 0., "{name}: {figure}");
    }
    if cfg!(target_os = "linux") {
        assert!(row["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    }
    (
        row["threads"].as_u64().unwrap(),
        row["batch"].as_u64().unwrap(),
    )
}

#[test]
fn json_has_the_machine_the_build_and_a_result_for_every_combination() {
    let program = Program::new();
    let report = bench(&program, &["-t", "2,1", "--format", "json"]).json();
    let rows = objects(&report["results"]).into_iter().map(check);
    assert_eq!(rows.collect::<Vec<_>>(), [(2, 1), (2, 2), (1, 1), (1, 2)]);
    assert!(report["machine"]["memory"].as_u64().unwrap() > 0);
    assert!(report["machine"]["features"].is_array());
    assert_eq!(report["build"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["end_to_end"], Value::Array(Vec::new()));
    assert_eq!(report["failures"], Value::Array(Vec::new()));
    let pairs = objects(&report["agreement"]);
    let equal = pairs
        .iter()
        .map(|pair| (pair["batch"].as_u64(), pair["equal"].as_bool()));
    assert_eq!(
        equal.collect::<Vec<_>>(),
        [(Some(1), Some(true)), (Some(2), Some(true))]
    );
    assert_eq!(pairs[0]["a"]["threads"], 2);
    assert_eq!(pairs[0]["b"]["threads"], 1);
    // The first of the prefill, and one a step.
    assert_eq!(pairs[0]["tokens"], 4);
    assert_eq!(pairs[0]["first_difference"], Value::Null);
}

#[test]
fn lines_and_tables_have_the_same_results() {
    let program = Program::new();
    let lines = bench(&program, &["-t", "1", "--format", "jsonl"]).done();
    let rows = lines.lines().map(|line| {
        let mut row = serde_json::from_str::<Map<String, Value>>(line).unwrap();
        // Each is told with what it was measured on and with.
        assert!(row.remove("machine").unwrap()["memory"].is_u64());
        assert!(row.remove("build").unwrap()["version"].is_string());
        check(&row)
    });
    assert_eq!(rows.collect::<Vec<_>>(), [(1, 1), (1, 2)]);

    let csv = bench(&program, &["-t", "1", "--format", "csv"]).done();
    let lines = csv.lines().collect::<Vec<_>>();
    let names = lines[0].strip_prefix(&FIELDS.join(",")).unwrap();
    assert!(names.starts_with(",machine_os,") && names.ends_with(",build_commit"));
    assert!(
        lines[1].starts_with("llama,cpu,F32,1,12,3,1,"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("llama,cpu,F32,1,12,3,2,"),
        "{}",
        lines[2]
    );
    assert_eq!(lines.len(), 3);

    let markdown = bench(&program, &["-t", "1,2"]).done();
    assert_eq!(
        markdown.matches("\n| llama | F32  | cpu ").count(),
        4,
        "{markdown}"
    );
    assert!(markdown.contains("Mean ± standard deviation of 2 rounds"));
    let equal = "\n- llama, prompt 12, batch 2: cpu, 1 thread, F32 and cpu, 2 threads, F32 are equal (2 x 4 tokens)\n";
    assert!(markdown.contains(equal), "{markdown}");

    let svg = bench(&program, &["-t", "1", "--format", "svg"]).done();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("class=\"decode\"").count(), 2);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn prompts_of_several_lengths_are_measured_and_one_too_long_is_one_failure() {
    let program = Program::new();
    let model = checkpoint("llama");
    let args = ["bench", "-m", &model, "-p", "9,9000,20", "-n", "2"];
    let rest = [
        "-b", "1,2", "-r", "1", "-t", "1,2", "--format", "json", "-q",
    ];
    let output = program.run(&[&args[..], &rest].concat());
    assert_eq!(output.code, 1);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let number = |row: &Map<String, Value>, name: &str| row[name].as_u64().unwrap();
    let rows = objects(&report["results"]).into_iter();
    let rows = rows.map(|row| ["threads", "n_prompt", "batch"].map(|name| number(row, name)));
    let expected = [1, 2].map(|t| [[t, 9, 1], [t, 9, 2], [t, 20, 1], [t, 20, 2]]);
    assert_eq!(rows.collect::<Vec<_>>(), expected.concat());
    let pairs = objects(&report["agreement"]).into_iter();
    let pairs = pairs.map(|pair| (number(pair, "n_prompt"), number(pair, "batch")));
    assert_eq!(
        pairs.collect::<Vec<_>>(),
        [(9, 1), (9, 2), (20, 1), (20, 2)]
    );
    let failures = objects(&report["failures"]);
    assert_eq!(failures.len(), 2);
    let error = failures[0]["error"].as_str().unwrap();
    assert!(error.contains("--prompt 9000"), "{error}");
}

#[test]
fn results_are_written_where_they_are_wanted() {
    let program = Program::new();
    for (format, name) in [("csv", "out.csv"), ("jsonl", "out.jsonl")] {
        let args = ["-t", "1", "--format", format, "-o", name, "-q"];
        let output = bench(&program, &args);
        assert_eq!((&output.stdout[..], &output.stderr[..]), ("", ""));
        assert!(program.read(name).contains("llama"));
    }
    fs::create_dir(program.path("runs")).unwrap();
    for format in ["md", "jsonl"] {
        let args = ["-t", "1", "--format", format, "-o", "runs"];
        assert_eq!(bench(&program, &args).done(), "");
    }
    assert_eq!(program.names("runs"), ["bench.jsonl", "bench.md"]);
    for format in ["json", "jsonl"] {
        let args = ["--format", format, "-o", "no/where", "-q"];
        let message = bench(&program, &args).failed(2);
        assert!(message.starts_with("--output"), "{message}");
    }
}

#[test]
fn an_encoder_decoder_is_measured_too() {
    let program = Program::new();
    let model = checkpoint("t5");
    let args = ["bench", "-m", &model, "-p", "9", "-n", "2", "-b", "2"];
    let report = program.run(&[&args[..], &["-r", "1", "--format", "json"]].concat());
    let report = report.json();
    let rows = objects(&report["results"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["batch"], 2);
    assert!(rows[0]["ttft_s"].as_f64().unwrap() > 0.);
    assert_eq!(rows[0]["decode_tps_stddev"], 0.);
}

#[test]
fn weights_that_write_other_tokens_are_told_from_those_that_do_not() {
    let program = Program::new();
    for (family, name) in [
        ("llama", "tiny.F32"),
        ("llama", "tiny.F16"),
        ("smollm2", "tiny.Q8_0"),
    ] {
        fs::create_dir(program.path(name)).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            let from = tiny::folder(family).join(file);
            fs::copy(from, program.path(name).join(file)).unwrap();
        }
    }
    let models = "tiny.F32,tiny.F16,tiny.Q8_0";
    let args = ["bench", "-m", models, "-p", "20", "-n", "8", "-b", "2"];
    let run = |format| program.run(&[&args[..], &["-r", "1", "--format", format]].concat());
    let report = run("json").json();
    let pairs = objects(&report["agreement"]);
    assert_eq!(pairs.len(), 2);
    assert_eq!(pairs[0]["model"], "tiny");
    assert_eq!(pairs[0]["equal"], true);
    assert_eq!(pairs[1]["b"]["model"], "tiny.Q8_0");
    assert_eq!(pairs[1]["equal"], false);
    let at = &pairs[1]["first_difference"];
    assert!(
        at["token"].as_u64().unwrap() < 9 && at["a"] != at["b"],
        "{at}"
    );
    // Where the format has no place for it, it is noted.
    let notes = run("csv").stderr;
    let differ = notes
        .lines()
        .filter(|line| line.contains(" differ, first at token "));
    assert_eq!(differ.count(), 1, "{notes}");
}

#[cfg(not(feature = "metal"))]
#[test]
fn a_combination_that_fails_is_one_line_and_the_others_go_on() {
    let program = Program::new();
    let model = checkpoint("llama");
    let missing = "tests/no-such:Q8_0";
    let models = format!("{missing},{model}");
    let args = ["bench", "-m", &models, "--device", "metal,cpu", "-t", "1"];
    let sizes = [
        "-p",
        "4",
        "-n",
        "1",
        "-b",
        "1",
        "-r",
        "1",
        "--offline",
        "-q",
    ];
    let output = program.run(&[&args[..], &sizes, &["--format", "json"]].concat());
    assert_eq!(output.code, 1);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(objects(&report["results"]).len(), 1);
    let lines = output.stderr.lines().collect::<Vec<_>>();
    let [first, second] = lines[..] else {
        panic!("{}", output.stderr)
    };
    assert!(
        first.starts_with(&format!("chapterize: {missing}: ")),
        "{first}"
    );
    let start = "chapterize: llama, metal, 1 thread: --device metal: ";
    assert!(second.starts_with(start), "{second}");
    let failures = objects(&report["failures"]);
    assert_eq!(failures[0]["model"], missing);
    assert_eq!(failures[1]["device"], "metal");
}

#[test]
fn sizes_beyond_the_window_are_refused_in_one_line() {
    let program = Program::new();
    let model = checkpoint("llama");
    let args = ["bench", "-m", &model, "-p", "9000", "-n", "3", "-q"];
    let output = program.run(&[&args[..], &["--format", "jsonl"]].concat());
    let message = output.failed(1);
    assert!(
        message.contains("--prompt 9000 and --write 3 do not fit"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    let program = Program::new();
    for args in [
        ["-b", "0"],
        ["-b", "1,x"],
        ["-t", "0"],
        ["-p", "0"],
        ["-n", "-1"],
        ["-r", "0"],
        ["--device", "gpu"],
        ["--format", "html"],
    ] {
        let output = program.run(&[&["bench"], &args[..]].concat());
        assert_eq!((output.code, &output.stdout[..]), (2, ""), "{args:?}");
        let message = output.stderr;
        assert!(message.starts_with("error: invalid value '"), "{message}");
    }
    let message = program.run(&["bench", "-m", "smollm2-13b"]).failed(2);
    assert!(message.starts_with("--model: "), "{message}");
    let message = program.run(&["bench", "-m", "all-minilm-l6-v2"]).failed(2);
    assert!(message.contains("is an encoder"), "{message}");
}

#[test]
fn the_whole_way_needs_the_encoder_and_is_timed_where_it_is() {
    let program = Program::new();
    let args = ["-t", "1", "--format", "json", "--end-to-end", "-q"];
    let output = bench(&program, &args);
    assert_eq!(output.code, 1);
    let start = "chapterize: all-minilm-l6-v2: model 'all-minilm-l6-v2' is not on this machine";
    assert!(output.stderr.starts_with(start), "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(objects(&report["results"]).len(), 2);

    models::files("all-minilm-l6-v2");
    let model = checkpoint("qwen3");
    let args = [
        "bench", "-m", &model, "-p", "4", "-n", "1", "-b", "1", "-r", "1",
    ];
    let mut command = program.command(&args);
    command.args(["--offline", "--end-to-end", "--format", "json"]);
    // The caller's own cache, in which the encoder is.
    command.env_remove("HF_HOME");
    for name in ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = command.output().unwrap();
    let report = serde_json::from_slice::<Value>(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{output:?}"));
    let found = objects(&report["end_to_end"]);
    assert_eq!(found.len(), 1, "{}", report["failures"]);
    let [seconds, per_hour] = ["seconds", "seconds_per_hour"].map(|name| found[0][name].as_f64());
    // The example lasts 36 minutes and 40 seconds at the least.
    let ratio = per_hour.unwrap() / seconds.unwrap();
    assert!(
        seconds.unwrap() > 0. && (1.5..1.7).contains(&ratio),
        "{ratio}"
    );
}

#[test]
fn help_shows_no_flag_that_is_only_for_the_program_itself() {
    let help = Program::new().run(&["bench", "--help"]).done();
    assert!(help.contains("--repetitions") && !help.contains("--worker"));
}

//! Files that cannot be read, places that cannot be written to, and wrong usage: what is said, and what is left alone.

#[path = "common/program.rs"]
mod program;

use std::fs;

use program::{Program, interview};

const CAPTIONS: &str = "WEBVTT\n\n00:01.000 --> 00:05.000\nThe café in Zürich opens at six.\n\n\
                        00:05.000 --> 00:09.000\nIts bread is baked in the cellar below.\n";

#[test]
fn a_file_that_is_no_transcript_is_named_with_the_reason() {
    let program = Program::new();
    fs::create_dir(program.path("folder")).unwrap();
    let times = "00:00:09,000 --> 00:00:10,000\nHi\n\n00:00:03,000 --> 00:00:04,000\nHo\n";
    let cases: [(&str, &[u8], &str); 11] = [
        (
            "folder",
            b"",
            "folder: is a directory; name a transcript file",
        ),
        ("gone.vtt", b"", "gone.vtt: no such file"),
        ("empty.vtt", b"\n", "empty.vtt: the file is empty"),
        (
            "header.vtt",
            b"WEBVTT\n\n",
            "header.vtt: no cues: there is no line with times like 00:01:02.500 --> 00:01:05.000",
        ),
        (
            "numbers.srt",
            b"1\n\n2\n",
            "numbers.srt: no cues: there is no line with times like 00:01:02,500 --> 00:01:05,000; \
             pass --from txt for plain text",
        ),
        (
            "list.json",
            b"{\"segments\": []}",
            "list.json: no cues: the list 'segments' is empty",
        ),
        (
            "binary.vtt",
            b"WEBVTT\0\0\x01",
            "binary.vtt: not a text file (a zero byte at offset 6)",
        ),
        (
            "talk.doc",
            b"PK\x03\x04...",
            "talk.doc: not a text file (a ZIP archive or an Office document; save it as plain text)",
        ),
        (
            "garbage.xyz",
            b"\x01\x02\x03\x04\x05",
            "garbage.xyz: not a text file (5 of its first 5 characters are control characters)",
        ),
        (
            "backwards.srt",
            times.as_bytes(),
            "backwards.srt:4: expected a start at or after 00:00:09.000, that of the cue before, \
             found '00:00:03.000'; put the cues in order of time",
        ),
        (
            "time.srt",
            b"1\n00:00:01,000 --> 1:02\nHi\n",
            "time.srt:2: expected a time like 00:01:02,500, found '1:02'",
        ),
    ];
    for (name, content, message) in cases {
        if !content.is_empty() {
            program.write(name, content);
        }
        assert_eq!(program.summarize(&[name]).failed(1), message);
    }
}

#[test]
fn text_in_another_encoding_is_read() {
    let program = Program::new();
    let latin = CAPTIONS.chars().map(|c| c as u8).collect::<Vec<_>>();
    let little = CAPTIONS.encode_utf16().flat_map(u16::to_le_bytes);
    let marked = [0xff, 0xfe].into_iter().chain(little);
    program.write("utf8.vtt", CAPTIONS);
    program.write("latin1.vtt", latin);
    program.write("utf16.vtt", marked.collect::<Vec<_>>());
    let expected = program.summarize(&["utf8.vtt"]).done();
    assert!(expected.contains("café in Zürich"), "{expected}");
    for name in ["latin1.vtt", "utf16.vtt"] {
        let found = program.summarize(&[name]).done();
        assert_eq!(found.replace(name, "utf8.vtt"), expected);
    }
}

#[test]
fn an_unknown_extension_is_read_by_what_the_file_holds() {
    let program = Program::new();
    program.write("captions.xyz", CAPTIONS);
    program.write("words.xyz", "Some words that were said.");
    for (name, format) in [("captions.xyz", "vtt"), ("words.xyz", "txt")] {
        let summary = program.summarize(&[name, "--format", "json"]).json();
        assert_eq!(summary["source"]["format"], format);
    }
}

#[test]
fn one_line_of_three_megabytes_is_read() {
    let program = Program::new();
    let phrase = "and then we walked along the harbour to look at the boats ";
    for content in [
        phrase.repeat(3_000_000 / phrase.len()),
        "a".repeat(3_000_000),
    ] {
        program.write("long.txt", content);
        let text = program.summarize(&["long.txt"]).done();
        assert!(text.contains("\n## 1. "));
    }
}

#[test]
fn escape_sequences_in_a_transcript_do_not_reach_the_terminal() {
    let program = Program::new();
    let captions = CAPTIONS
        .replace("café", "\x1b]0;café\x07")
        .replace("Its", "<v \x1b[1mAnn>Its");
    program.write("\x1b[31mred.vtt", captions);
    let text = program.summarize(&["\x1b[31mred.vtt"]).done();
    let unseen = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(unseen, None, "{text:?}");
}

#[test]
fn one_bad_file_among_several_does_not_stop_the_others() {
    let program = Program::new();
    program.write("a.vtt", CAPTIONS);
    program.write("c.vtt", CAPTIONS);
    let output = program.summarize(&["a.vtt", "b.vtt", "c.vtt"]);
    assert_eq!(output.code, 1);
    assert_eq!(output.stderr, "chapterize: b.vtt: no such file\n");
    let [a, c] = ["a.vtt", "c.vtt"].map(|name| program.summarize(&[name]).done());
    assert_eq!(output.stdout, format!("{a}\n{c}"));
}

#[test]
fn output_to_a_file_holds_what_standard_output_would() {
    let program = Program::new();
    program.write("a.vtt", CAPTIONS);
    program.write("c.vtt", CAPTIONS);
    program.write("out.md", "old");
    let printed = program.summarize(&["a.vtt", "c.vtt"]).done();
    let output = program.summarize(&["a.vtt", "c.vtt", "-o", "out.md"]);
    assert_eq!(output.done(), "");
    assert_eq!(program.read("out.md"), printed);
    assert_eq!(program.names("."), ["a.vtt", "c.vtt", "out.md"]);

    // Where nothing could be done, nothing is replaced.
    program.summarize(&["b.vtt", "-o", "out.md"]).failed(1);
    assert_eq!(program.read("out.md"), printed);
    // And what could be done is kept.
    program.write("out.md", "old");
    program
        .summarize(&["b.vtt", "a.vtt", "c.vtt", "-o", "out.md"])
        .failed(1);
    assert_eq!(program.read("out.md"), printed);
}

#[test]
fn output_to_a_folder_makes_one_file_for_each_transcript() {
    let program = Program::new();
    program.write("a.vtt", CAPTIONS);
    fs::create_dir(program.path("out")).unwrap();
    let args = ["a.vtt", "-", "--format", "json", "-o", "out"];
    let output = program.summarize_input(&args, CAPTIONS.as_bytes());
    assert_eq!(output.done(), "");
    assert_eq!(program.names("out"), ["a.json", "stdin.json"]);
    let printed = program.summarize(&["a.vtt", "--format", "json"]).done();
    assert_eq!(program.read("out/a.json"), printed);
}

#[test]
fn output_never_replaces_a_transcript_or_another_result() {
    let program = Program::new();
    fs::copy(interview("whisper.json"), program.path("talk.json")).unwrap();
    fs::copy(interview("srt"), program.path("talk.srt")).unwrap();
    fs::create_dir(program.path("out")).unwrap();
    let before = program.read("talk.json");
    let cases: [(&[&str], &str); 3] = [
        (
            &["talk.json", "--format", "json", "-o", "."],
            "--output: ./talk.json would be written over the transcript talk.json; name another place",
        ),
        (
            &["talk.srt", "talk.json", "-o", "./talk.json"],
            "--output: ./talk.json would be written over the transcript talk.json; name another place",
        ),
        (
            &["talk.srt", "talk.json", "-o", "out"],
            "--output: the results of talk.srt and talk.json would both be out/talk.md; write them to two folders",
        ),
    ];
    for (args, message) in cases {
        assert_eq!(program.summarize(args).failed(2), message);
    }
    assert_eq!(program.read("talk.json"), before);
    assert_eq!(program.names("out"), [] as [&str; 0]);
}

#[cfg(unix)]
#[test]
fn output_follows_a_link_and_fills_a_pipe() {
    use std::os::unix::fs::{FileTypeExt, symlink};

    let program = Program::new();
    program.write("a.vtt", CAPTIONS);
    program.write("real.md", "old");
    symlink("real.md", program.path("link.md")).unwrap();
    let printed = program.summarize(&["a.vtt"]).done();
    program.summarize(&["a.vtt", "-o", "link.md"]).done();
    assert_eq!(program.read("real.md"), printed);
    assert!(program.path("link.md").is_symlink());

    let pipe = program.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    program.summarize(&["a.vtt", "-o", "pipe"]).done();
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(reader.join().unwrap(), printed);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    let program = Program::new();
    program.write("a.vtt", CAPTIONS);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program
        .command(&["summarize", "--fake-models", "a.vtt"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.is_empty());
}

#[test]
fn wrong_usage_is_refused_before_any_file_is_read() {
    let program = Program::new();
    let cases: [(&[&str], &str); 13] = [
        (&["a.vtt", "--chapters", "0"], "a whole number from 1"),
        (&["a.vtt", "--chapters", "x"], "a whole number from 1"),
        (&["a.vtt", "--chapters", "-1"], "a whole number from 1"),
        (
            &["a.vtt", "--chapters", "3", "--chapter-minutes", "2"],
            "cannot be used with '--chapter-minutes",
        ),
        (&["a.vtt", "--chapter-minutes", "nan"], "minutes above 0"),
        (&["a.vtt", "--chapter-minutes", "0"], "minutes above 0"),
        (&[], "<FILE>..."),
        (
            &["a.vtt", "--device", "gpu"],
            "expected auto, cpu, cuda, cuda:N or metal",
        ),
        (
            &["a.vtt", "--from", "doc"],
            "expected vtt, srt, json or txt",
        ),
        (&["a.vtt", "--temperature", "9"], "a number from 0 to 2"),
        (
            &["a.vtt", "--format", "pdf"],
            "[possible values: markdown, json",
        ),
        (&["a.vtt", "--seed", "-1"], "--seed"),
        (&["a.vtt", "--no-such-flag"], "--no-such-flag"),
    ];
    for (args, part) in cases {
        let output = program.summarize(args);
        assert_eq!(output.code, 2, "{args:?}");
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains(part), "{}", output.stderr);
        assert!(!output.stderr.contains("no such file"), "{}", output.stderr);
    }
}

#[test]
fn a_flag_that_names_nothing_there_is_wrong_usage() {
    let program = Program::new();
    let cases: [(&[&str], &str); 5] = [
        (
            &["a.vtt", "--encoder", "minilm"],
            "--encoder: there is no encoder and no folder 'minilm'; expected 'multilingual-minilm-l12-v2', 'all-minilm-l6-v2' or a folder \
             with config.json, model.safetensors, tokenizer.json",
        ),
        (
            &["a.vtt", "-m", "smolm2-135"],
            "--model: unknown model 'smolm2-135'; did you mean 'smollm2-135m'? 'chapterize models list' shows all",
        ),
        (
            &["a.vtt", "-m", "all-minilm-l6-v2"],
            "--model: 'all-minilm-l6-v2' is an encoder and cannot write; 'chapterize models list' shows those that can",
        ),
        (&["a.vtt", "-m", "x.gguf"], "--model: x.gguf: no such file"),
        (
            &["a.vtt", "-o", "no/out.md"],
            "--output no/out.md: there is no folder no",
        ),
    ];
    for (args, message) in cases {
        assert_eq!(program.summarize(args).failed(2), message);
    }
    let message = program.run(&["models", "info", "minilm"]).failed(2);
    assert!(
        message.contains("did you mean 'all-minilm-l6-v2'?"),
        "{message}"
    );
}

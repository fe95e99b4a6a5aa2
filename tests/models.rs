//! `chapterize models` and `--model` through the built program: no network, no weights.

#[path = "common/program.rs"]
mod program;

use std::fs;

use chapterize::cache::Cache;
use chapterize::hash::sha256;
use chapterize::registry::{self, ENCODER, STARTER};
use program::{Program, interview};

/// A whole checkpoint by its file names, with nothing in them.
const FOLDER: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

#[test]
fn an_empty_cache_is_listed_and_searched_without_being_made() {
    let program = Program::new();
    let list = program.run(&["models", "list"]).done();
    assert!(list.starts_with("  NAME "));
    for spec in registry::all() {
        let line = list
            .lines()
            .find(|line| line[2..].starts_with(&format!("{} ", spec.name)));
        let line = line.unwrap_or_else(|| panic!("{} is not in {list}", spec.name));
        assert!(
            line.ends_with(" fits") || line.ends_with(" too big"),
            "{line}"
        );
        assert!(line.contains(&format!(" {} ", spec.license)), "{line}");
        assert_eq!(line.starts_with('*'), spec.name == STARTER, "{line}");
    }
    let widest = list.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(100), "{list}");

    let info = program.run(&["models", "info", ENCODER]).done();
    let spec = registry::find(ENCODER).unwrap();
    for file in &spec.files {
        let hash = file.hash.as_ref().unwrap();
        assert!(info.contains(&file.name) && info.contains(hash.hex()));
    }
    assert_eq!(info.matches(", not here").count(), spec.files.len());
    for name in [ENCODER, "bart-large-cnn", "someone/tiny:Q8_0@v1"] {
        let message = program.run(&["models", "path", name]).failed(1);
        assert_eq!(
            message,
            format!("model '{name}' is not on this machine; run 'chapterize models get {name}'")
        );
        for action in ["rm", "verify"] {
            let message = program.run(&["models", action, name]).failed(1);
            assert_eq!(message, format!("model '{name}' is not on this machine"));
        }
        program.run(&["models", "info", name]).done();
    }
    assert!(!program.path("home").exists());
}

#[test]
fn verify_names_both_hashes_of_a_file_that_is_not_what_it_should_be() {
    let program = Program::new();
    let spec = registry::find(ENCODER).unwrap();
    let (repo, commit) = spec.hub().unwrap();
    let folder = Cache::at(program.cache()).snapshot(repo, commit);
    fs::create_dir_all(&folder).unwrap();
    let (file, expected) = (folder.join(&spec.files[0].name), &spec.files[0]);
    fs::write(&file, vec![b' '; expected.size.unwrap() as usize]).unwrap();
    let message = program.run(&["models", "verify", ENCODER]).failed(1);
    let hash = expected.hash.as_ref().unwrap();
    assert!(message.contains(hash.hex()), "{message}");
    assert!(message.contains(&sha256(&file).unwrap()), "{message}");
    assert!(message.contains(&expected.name), "{message}");
    assert!(message.contains("run 'chapterize models get"), "{message}");
}

#[test]
fn a_model_that_cannot_be_meant_is_wrong_usage() {
    let program = Program::new();
    for (folder, names) in [
        ("empty", &[][..]),
        ("two", &["a.gguf", "b.gguf"]),
        ("half", &["config.json", "tokenizer.json"]),
        ("parts", &["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]),
    ] {
        fs::create_dir(program.path(folder)).unwrap();
        for name in names {
            program.write(&format!("{folder}/{name}"), "");
        }
    }
    for (model, why) in [
        ("./nothing", "./nothing: no such file or folder"),
        ("nothing/there.gguf", "nothing/there.gguf: no such file"),
        (
            "./empty",
            "expected config.json, tokenizer.json and *.safetensors, or one .gguf file",
        ),
        (
            "two",
            "several models in it; name one of them: a.gguf, b.gguf",
        ),
        ("half/", "no *.safetensors file"),
        ("./parts", "one of several parts of a model"),
        ("a/b/c", "more than one '/'"),
        ("owner/na me", "'na me' cannot be a name on the hub"),
        ("qwen3-4", "did you mean 'qwen3-4b'?"),
        (ENCODER, "is an encoder and cannot write"),
    ] {
        let args = ["summarize", &interview("vtt"), "--model", model];
        let message = program.run(&args).failed(2);
        assert!(message.starts_with("--model: "), "{message}");
        assert!(message.contains(why), "{message}");
        if model != ENCODER {
            let message = program.run(&["models", "info", model]).failed(2);
            assert!(message.contains(why), "{message}");
        }
    }
    assert!(!program.path("home").exists());
}

#[test]
fn a_folder_named_like_a_hub_id_is_taken_and_said_to_be() {
    let program = Program::new();
    fs::create_dir_all(program.path("owner/name")).unwrap();
    for name in FOLDER {
        program.write(&format!("owner/name/{name}"), "");
    }
    let output = program.run(&["models", "path", "owner/name"]);
    assert!(
        output
            .stderr
            .contains("owner/name: taking the folder of that name here")
    );
    assert_eq!(output.done(), "owner/name\n");
    assert_eq!(program.run(&["models", "path", "./owner/name"]).stderr, "");
    let message = program.run(&["models", "rm", "./owner/name"]).failed(1);
    assert!(message.contains("only you may remove it"), "{message}");
    assert_eq!(program.names("owner/name"), FOLDER);
}

#[test]
fn all_names_are_read_before_the_first_is_acted_on() {
    let program = Program::new();
    let args = ["models", "get", "--offline", STARTER, "qwen3-800b"];
    let message = program.run(&args).failed(2);
    assert!(message.contains("unknown model 'qwen3-800b'"), "{message}");
}

#[test]
fn offline_a_hub_id_that_is_not_here_is_an_error_that_says_what_to_run() {
    let program = Program::new();
    let file = interview("vtt");
    let args = ["summarize", "--offline", &file, "-m", "owner/name", "-q"];
    let message = program.run(&args).failed(1);
    assert!(
        message.starts_with("model 'owner/name' is not on this machine and --offline is set"),
        "{message}"
    );
    let message = program
        .run(&["models", "get", "--offline", "owner/name"])
        .failed(1);
    assert_eq!(message, "cannot get model 'owner/name': --offline is set");
}

#[test]
fn the_readme_has_a_row_for_every_model() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for spec in registry::all() {
        let cells = spec.cells();
        let row = format!("| `{}` | {} |", cells[0], cells[1..].join(" | "));
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
}

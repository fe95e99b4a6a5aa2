//! The built program as a user runs it: in a folder of its own, with an empty cache of models.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The interview of `examples/`, without its extension.
pub const INTERVIEW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/interview");

/// What came out of a run.
#[derive(Debug, PartialEq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Expects success, and gives what was printed.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// Expects success and one JSON document.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Expects that nothing was printed but one line about what went wrong, and gives it without the program's name.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let line = self.stderr.trim_end().strip_prefix("chapterize: ");
        line.unwrap_or_else(|| panic!("{}", self.stderr)).into()
    }
}

/// A folder to run the program in.
pub struct Program {
    folder: TempDir,
}

impl Program {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in a folder below this one, sorted; none where it does not exist.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Where the program keeps models.
    pub fn cache(&self) -> PathBuf {
        self.path("home/hub")
    }

    /// Ready to be run, with nothing of the caller's hub settings.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_chapterize")));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("HF_") || text == "XDG_CACHE_HOME" || text == "NO_COLOR" {
                command.env_remove(&name);
            }
        }
        command
            .args(args)
            .env("HF_HOME", self.path("home"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        output(self.command(args).output().unwrap())
    }

    /// `summarize` with the stand-ins for models.
    pub fn summarize(&self, args: &[&str]) -> Output {
        self.run(&[&["summarize", "--fake-models"], args].concat())
    }

    pub fn summarize_input(&self, args: &[&str], input: &[u8]) -> Output {
        let args = [&["summarize", "--fake-models"], args].concat();
        let mut child = self
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        output(child.wait_with_output().unwrap())
    }
}

/// Checks what holds for every run: no panic, and nothing that would colour a file.
fn output(output: std::process::Output) -> Output {
    let output = Output {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert!(!output.stdout.contains('\x1b'), "{}", output.stdout);
    assert!(!output.stderr.contains('\x1b'), "{}", output.stderr);
    output
}

/// A file of `examples/`.
pub fn interview(extension: &str) -> String {
    format!("{INTERVIEW}.{extension}")
}

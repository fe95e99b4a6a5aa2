//! Repositories on the hub: what is wanted of one, and the checkpoint that turns out to be.
//!
//! A [`Wanted`] comes from a manifest or from a hub id and may leave open which files there are and at which commit.
//! The cache or the hub settles both, which gives a [`Checkpoint`].

pub mod choose;

use serde::Deserialize;

use crate::hash::FileHash;
use crate::registry::Source;

/// The branch that is meant where none is named.
pub const MAIN: &str = "main";

/// A file of a checkpoint, and what is known about it beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Path inside the repository, with `/`.
    pub name: String,
    /// Bytes; `None` until the hub has told.
    pub size: Option<u64>,
    /// `None` until the hub has told.
    #[serde(rename = "sha256")]
    pub hash: Option<FileHash>,
}

impl FileSpec {
    /// A file of which nothing else is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: None,
            hash: None,
        }
    }

    /// Whether the engine computes with it.
    pub fn is_weights(&self) -> bool {
        let name = &self.name[..];
        let torch = name.starts_with("pytorch_model") && name.ends_with(".bin");
        is_gguf(name) || name.ends_with(".safetensors") || torch
    }
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As it is typed.
    pub name: String,
    /// What it is and under which licence, for the announcement of a download; empty where that is not known.
    pub about: String,
    /// `owner/name`.
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
    pub files: Files,
    /// Where it may come from, in order.
    pub sources: Vec<Source>,
    /// Bytes of memory a run takes, where that was measured or reckoned before.
    pub memory: Option<u64>,
}

/// Which files of a repository.
#[derive(Debug, Clone)]
pub enum Files {
    /// Exactly these.
    Named(Vec<FileSpec>),
    /// What [`choose::choose`] takes; the text is a part of the name of the file that is meant.
    Chosen(Option<String>),
}

/// A checkpoint: files of a repository at a commit.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// As it is typed.
    pub name: String,
    pub repo: String,
    /// 40 hexadecimal digits.
    pub commit: String,
    pub files: Vec<FileSpec>,
    /// Which of several files was taken, for the user.
    pub note: Option<String>,
}

impl Checkpoint {
    /// Bytes of all files whose size is known.
    pub fn size(&self) -> u64 {
        self.files.iter().filter_map(|file| file.size).sum()
    }

    /// Bytes of memory a run takes, roughly: weights are kept as they are.
    pub fn memory(&self) -> u64 {
        let weights = self.files.iter().filter(|file| file.is_weights());
        let bytes = weights.filter_map(|file| file.size).sum::<u64>();
        (1.2 * bytes as f64) as u64
    }
}

/// Whether a revision names a commit, which never changes, and not a branch or a tag.
pub fn is_commit(revision: &str) -> bool {
    matches!(FileHash::parse(revision), Some(FileHash::Git(_)))
}

/// Whether a file is GGUF, by its name.
pub fn is_gguf(name: &str) -> bool {
    let end = name.len().saturating_sub(5);
    name.get(end..)
        .is_some_and(|end| end.eq_ignore_ascii_case(".gguf"))
}

/// Whether a path stays below the folder it is joined to. Names in lists come from strangers.
pub fn is_inside(name: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.split('/').all(fine) && !name.contains(['\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_its_folder_is_told() {
        for name in ["../x", "/etc/x", "a/../../x", "a//b", "C:x", "a\\b", ""] {
            assert!(!is_inside(name), "{name}");
        }
        assert!(is_inside("onnx/model.onnx") && is_inside("..a"));
    }

    #[test]
    fn memory_is_that_of_the_weights() {
        let file = |name: &str| FileSpec {
            size: Some(1000),
            ..FileSpec::named(name)
        };
        let memory = |files: Vec<FileSpec>| {
            let checkpoint = Checkpoint {
                name: String::new(),
                repo: String::new(),
                commit: String::new(),
                files,
                note: None,
            };
            checkpoint.memory()
        };
        assert_eq!(memory(vec![file("a.gguf")]), 1200);
        let sharded = ["config.json", "a.safetensors", "b.safetensors"];
        assert_eq!(memory(sharded.map(file).to_vec()), 2400);
    }
}

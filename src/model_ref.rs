//! What a user may name a model by: `auto`, a name of the registry, a hub id, a folder or a `.gguf` file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};

use crate::registry::{self, ModelSpec, Source};
use crate::repo::{self, Files, MAIN, Wanted, choose};

/// A model as it was named, checked as far as that is possible without a look at any cache or network.
#[derive(Debug, Clone)]
pub enum ModelRef {
    /// The best on this machine.
    Auto,
    /// One of the registry.
    Known(Box<ModelSpec>),
    /// A repository on the hub.
    Hub(HubId),
    /// A folder with a checkpoint, or a `.gguf` file.
    Path(PathBuf),
}

/// `owner/name[:file][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    pub repo: String,
    /// A GGUF file's name, or a part of it that no other has.
    pub file: Option<String>,
    pub revision: String,
}

impl ModelRef {
    /// Reads what was typed. What exists on disk comes before a repository of that name.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(!text.is_empty(), "a model's name is missing");
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let path = expand(text);
        if is_path(text) {
            return local(&path).map(Self::Path);
        }
        if !text.contains('/') {
            // A bare word is a name of the registry first: a folder beside the transcripts may be called the same.
            return match registry::find(text) {
                Ok(spec) => Ok(Self::Known(Box::new(spec))),
                Err(_) if path.exists() => local(&path).map(Self::Path),
                Err(_) if repo::is_gguf(text) => bail!("{text}: no such file"),
                Err(error) => Err(error),
            };
        }
        if path.exists() {
            return local(&path).map(Self::Path);
        }
        if repo::is_gguf(text) && !text.contains(':') {
            bail!("{text}: no such file");
        }
        HubId::parse(text).map(Self::Hub)
    }

    /// A remark where something else may have been meant.
    pub fn note(&self, text: &str) -> Option<String> {
        let both = matches!(self, Self::Path(_)) && !is_path(text) && HubId::parse(text).is_ok();
        both.then(|| {
            format!("{text}: taking the folder of that name here, not the hub's repository")
        })
    }
}

impl HubId {
    /// Reads `owner/name[:file][@revision]`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            anyhow!(
                "'{text}' is neither a file or folder here nor a hub id (owner/name[:file][@revision]): {why}"
            )
        };
        let (rest, revision) = match text.split_once('@') {
            Some((rest, revision)) => (rest, revision),
            None => (text, MAIN),
        };
        let (repo, file) = match rest.split_once(':') {
            Some((repo, file)) => (repo, Some(file)),
            None => (rest, None),
        };
        let Some((owner, name)) = repo.split_once('/') else {
            return Err(wrong("there is no '/'"));
        };
        if name.contains('/') {
            return Err(wrong("there is more than one '/' in the repository's name"));
        }
        for part in [owner, name] {
            if !is_name(part) {
                return Err(wrong(&format!("'{part}' cannot be a name on the hub")));
            }
        }
        if file.is_some_and(|file| !repo::is_inside(file)) {
            return Err(wrong("the file after ':' has no proper name"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !repo::is_inside(revision) || !revision.chars().all(plain) {
            return Err(wrong("the revision after '@' has no proper name"));
        }
        Ok(Self {
            repo: repo.into(),
            file: file.map(String::from),
            revision: revision.into(),
        })
    }

    /// What to ask of the hub.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            name: self.to_string(),
            about: String::new(),
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            files: Files::Chosen(self.file.clone()),
            sources: vec![Source::Hub {
                hub: self.repo.clone(),
                revision: self.revision.clone(),
            }],
            memory: None,
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.repo)?;
        if let Some(file) = &self.file {
            write!(f, ":{file}")?;
        }
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// Letters, digits, `-`, `_` and `.`, as the hub allows; at most 96.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let edge = |c: char| c == '-' || c == '.';
    (1..=96).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with(edge)
        && !text.ends_with(edge)
        && !text.contains("..")
        && !text.contains("--")
}

/// Whether a text can only be meant as a path.
fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    let first = text.split(['/', '\\']).next().unwrap_or_default();
    path.is_absolute() || matches!(first, "." | ".." | "~") || text.contains('\\')
}

/// A shell expands `~` only at the beginning of a word, not after `--model=`.
fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => text.into(),
    }
}

/// A path that holds a model: the `.gguf` file itself, also where the folder around it was named, or the folder.
fn local(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    if path.is_file() {
        ensure!(
            repo::is_gguf(&path.to_string_lossy()),
            "{shown}: not a model; give a .gguf file, or the folder that holds config.json and *.safetensors"
        );
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ensure!(
            !choose::is_split(&name),
            "{shown}: one of several parts of a model; join them with llama.cpp's 'gguf-split --merge'"
        );
        return Ok(path.into());
    }
    ensure!(path.is_dir(), "{shown}: no such file or folder");
    let names = names_in(path)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    let ggufs = names.iter().filter(|name| repo::is_gguf(name));
    let ggufs = ggufs.map(String::as_str).collect::<Vec<_>>();
    if has("config.json") {
        let listed = names.iter().map(String::as_str).collect::<Vec<_>>();
        let safetensors = names.iter().any(|name| name.ends_with(".safetensors"));
        ensure!(
            safetensors || choose::weights(&listed).is_some(),
            "{shown}: there is a config.json but no *.safetensors file beside it"
        );
        ensure!(
            choose::tokenizer(&listed).is_some(),
            "{shown}: there is no tokenizer.json, which transformers' save_pretrained writes for a fast tokenizer"
        );
        return Ok(path.into());
    }
    match ggufs[..] {
        [] => bail!(
            "{shown}: no model in it; expected config.json, tokenizer.json and *.safetensors, or one .gguf file"
        ),
        [file] => local(&path.join(file)),
        _ if ggufs.iter().all(|name| choose::is_split(name)) => local(&path.join(ggufs[0])),
        _ => bail!(
            "{shown}: several models in it; name one of them: {}",
            ggufs.join(", ")
        ),
    }
}

/// Names of the files in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)
        .map_err(|error| anyhow!("cannot read {}: {error}", folder.display()))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names = files
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(text: &str) -> HubId {
        match ModelRef::parse(text) {
            Ok(ModelRef::Hub(id)) => id,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn error(text: &str) -> String {
        ModelRef::parse(text).unwrap_err().to_string()
    }

    /// A folder with empty files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn in_folder(names: &[&str]) -> Result<PathBuf, String> {
        let folder = folder(names);
        match ModelRef::parse(folder.path().to_str().unwrap()) {
            Ok(ModelRef::Path(path)) => Ok(path.strip_prefix(folder.path()).unwrap().into()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn names_of_the_registry_and_auto_are_known() {
        assert!(matches!(ModelRef::parse("auto"), Ok(ModelRef::Auto)));
        let parsed = ModelRef::parse("smollm2-135m").unwrap();
        assert!(matches!(parsed, ModelRef::Known(spec) if spec.name == "smollm2-135m"));
        assert!(error("smollm-135").contains("did you mean 'smollm2-135m'"));
    }

    #[test]
    fn a_hub_id_has_a_file_and_a_revision_where_they_are_written() {
        let id = hub("Qwen/Qwen3-4B-GGUF");
        assert_eq!((id.file.as_deref(), id.revision.as_str()), (None, "main"));
        let id = hub("o/n:Q8_0@v1.0");
        assert_eq!(
            (id.file.as_deref(), id.revision.as_str()),
            (Some("Q8_0"), "v1.0")
        );
        assert_eq!(hub("o/n@refs/pr/3").revision, "refs/pr/3");
        assert_eq!(hub("o/n:sub/a.gguf").file.as_deref(), Some("sub/a.gguf"));
        for text in ["o/n", "o/n:Q8_0@v1.0", "o/n@refs/pr/3"] {
            assert_eq!(hub(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_hub_id_is_an_error_that_says_why() {
        for (text, why) in [
            ("a/b/c", "more than one '/'"),
            ("/x/y/none.gguf", "no such file or folder"),
            ("./o/n", "no such file or folder"),
            ("~/no/such/folder", "no such file or folder"),
            ("o/n.gguf", "no such file"),
            ("x.gguf", "no such file"),
            ("o/-n", "'-n' cannot be a name"),
            ("o/n n", "'n n' cannot be a name"),
            ("o/n:../x", "the file after ':'"),
            ("o/n:", "the file after ':'"),
            ("o/n@", "the revision after '@'"),
            ("o/n@../../x", "the revision after '@'"),
            ("", "is missing"),
        ] {
            assert!(error(text).contains(why), "{text}: {}", error(text));
        }
    }

    #[test]
    fn a_folder_is_taken_where_it_holds_a_model() {
        let whole = ["config.json", "model.safetensors", "tokenizer.json"];
        assert_eq!(in_folder(&whole).unwrap(), Path::new(""));
        assert_eq!(
            in_folder(&["x.gguf", "README.md"]).unwrap(),
            Path::new("x.gguf")
        );
        for (names, why) in [
            (
                &[][..],
                "expected config.json, tokenizer.json and *.safetensors, or one .gguf file",
            ),
            (&["a.gguf", "b.gguf"], "name one of them: a.gguf, b.gguf"),
            (&["config.json"], "no *.safetensors"),
            (&["config.json", "x.safetensors"], "no tokenizer.json"),
            (
                &["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"],
                "one of several parts",
            ),
        ] {
            let error = in_folder(names).unwrap_err();
            assert!(error.contains(why), "{names:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_no_gguf_is_an_error() {
        let folder = folder(&["model.bin"]);
        let path = folder.path().join("model.bin");
        assert!(error(path.to_str().unwrap()).contains("not a model"));
    }
}

//! Where results go: standard output, one file, or a folder with one file per transcript.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Usage, print};

/// Columns of a paragraph on a wide terminal.
const EASY_TO_READ: usize = 100;

/// A place for results.
#[derive(Debug)]
pub enum Output {
    Stdout {
        written: bool,
    },
    /// One file, put in place as a whole at the end.
    File {
        path: PathBuf,
        text: String,
    },
    /// One file per transcript.
    Folder {
        path: PathBuf,
        extension: &'static str,
    },
}

impl Output {
    /// `path` is what `--output` says, `sources` the transcripts whose results will be written.
    pub fn new(
        path: Option<&Path>,
        extension: &'static str,
        sources: &[String],
    ) -> Result<Self, Usage> {
        let Some(path) = path else {
            return Ok(Self::Stdout { written: false });
        };
        let folder = if path.is_dir() { path } else { parent(path) };
        if !folder.is_dir() {
            return Err(Usage(format!(
                "--output {}: there is no folder {}",
                path.display(),
                folder.display()
            )));
        }
        if path.is_dir() {
            check_folder(path, extension, sources)?;
            let path = path.into();
            return Ok(Self::Folder { path, extension });
        }
        check_target(path, sources)?;
        Ok(Self::File {
            path: path.into(),
            text: String::new(),
        })
    }

    /// How wide lines may be: on a terminal as wide as that is, up to what is easy to read.
    pub fn width(&self) -> Option<usize> {
        let Self::Stdout { .. } = self else {
            return None;
        };
        let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
        Some(usize::from(width.0).min(EASY_TO_READ))
    }

    /// Takes the result of one transcript.
    pub fn write(&mut self, source: &str, rendered: &str) -> Result<()> {
        match self {
            Self::Stdout { written } => {
                let gap = if *written { "\n" } else { "" };
                *written = true;
                print(&format!("{gap}{rendered}"))
            }
            Self::File { text, .. } => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(rendered);
                Ok(())
            }
            Self::Folder { path, extension } => place(&inside(path, extension, source), rendered),
        }
    }

    /// Writes what is still held back.
    pub fn close(self) -> Result<()> {
        match self {
            Self::File { path, text } if !text.is_empty() => place(&path, &text),
            _ => Ok(()),
        }
    }
}

/// The file in `folder` for the result of a transcript.
fn inside(folder: &Path, extension: &str, source: &str) -> PathBuf {
    let stem = Path::new(source).file_stem().filter(|_| source != "-");
    let stem = stem.unwrap_or("stdin".as_ref()).to_string_lossy();
    folder.join(format!("{stem}.{extension}"))
}

/// Refuses to write the results of two transcripts into one file.
fn check_folder(folder: &Path, extension: &str, sources: &[String]) -> Result<(), Usage> {
    let mut taken = HashMap::new();
    for source in sources {
        let target = inside(folder, extension, source);
        check_target(&target, sources)?;
        if let Some(other) = taken.insert(target.clone(), source) {
            return Err(Usage(format!(
                "--output: the results of {other} and {source} would both be {}; write them to two folders",
                target.display()
            )));
        }
    }
    Ok(())
}

/// Refuses to write over a transcript.
fn check_target(target: &Path, sources: &[String]) -> Result<(), Usage> {
    let Ok(there) = fs::canonicalize(target) else {
        return Ok(());
    };
    let is_there = |source: &&String| fs::canonicalize(source).is_ok_and(|path| path == there);
    match sources.iter().find(is_there) {
        Some(source) => Err(Usage(format!(
            "--output: {} would be written over the transcript {source}; name another place",
            target.display()
        ))),
        None => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a file whole or not at all. What a link points at is replaced, not the link.
fn place(path: &Path, text: &str) -> Result<()> {
    let write = || -> Result<()> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let old = fs::metadata(&target).ok();
        if old.as_ref().is_some_and(|meta| !meta.is_file()) {
            // A device or a pipe is written to; a file in its place would be the end of it.
            return Ok(fs::write(&target, text)?);
        }
        let mut builder = tempfile::Builder::new();
        // Without this a temporary file is private; the user's mask still applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(parent(&target))?;
        if let Some(meta) = old {
            file.as_file().set_permissions(meta.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

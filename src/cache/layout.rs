//! Links, stamps and locks inside the cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use super::Cache;
use crate::hash::FileHash;
use crate::repo::FileSpec;

impl Cache {
    /// Waits until no other process fetches the repository. Where the Python client, too, keeps its locks.
    pub fn lock(&self, repo: &str, waiting: impl FnOnce()) -> Result<File> {
        let repo = self.repo(repo);
        let folder = self
            .root()
            .join(".locks")
            .join(repo.file_name().unwrap_or_default());
        let path = folder.join("chapterize.lock");
        let lock = fs::create_dir_all(&folder)
            .and_then(|()| File::create(&path))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        if lock.try_lock().is_err() {
            waiting();
            lock.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(lock)
    }
}

/// Remembers that a file had a hash when it had a size and a modification time.
pub struct Stamp(Option<PathBuf>);

impl Stamp {
    /// The stamp of `path`, a file in a snapshot of the repository in `repo`.
    pub fn of(repo: &Path, path: &Path) -> Self {
        let inside = path.strip_prefix(repo.join("snapshots"));
        Self(
            inside
                .ok()
                .map(|inside| repo.join(".verified").join(inside)),
        )
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.0.as_ref()?).ok()
    }

    /// The hash the file had.
    pub fn hash(&self) -> Option<FileHash> {
        FileHash::parse(self.text()?.split(' ').next()?)
    }

    /// Whether the file had this hash and has not been written to since.
    pub fn holds(&self, hash: &FileHash, path: &Path) -> bool {
        self.text()
            .is_some_and(|text| Some(text) == line(hash, path))
    }

    /// A cache that cannot be written to (a shared, read-only one) only costs the next run a hash.
    pub fn set(&self, hash: &FileHash, path: &Path) {
        if let (Some(stamp), Some(line)) = (&self.0, line(hash, path)) {
            let _ = fs::create_dir_all(stamp.parent().unwrap_or(stamp));
            let _ = fs::write(stamp, line);
        }
    }

    pub fn remove(&self) {
        if let Some(stamp) = &self.0 {
            let _ = fs::remove_file(stamp);
        }
    }
}

/// Hash, size and modification time as a stamp has them.
fn line(hash: &FileHash, path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    Some(format!("{} {} {modified}\n", hash.hex(), meta.len()))
}

/// The hash that is the name of the blob a file links to.
pub fn linked_hash(path: &Path) -> Option<FileHash> {
    let blob = fs::read_link(path).ok()?;
    FileHash::parse(blob.file_name()?.to_str()?)
}

/// A relative link, as the Python client makes it: the cache may be moved as a whole. `depth` counts the parts of
/// the file's name.
#[cfg(unix)]
pub fn link(blob: &Path, pointer: &Path, depth: usize) -> io::Result<()> {
    let mut target = PathBuf::new();
    target.extend(std::iter::repeat_n("..", depth + 1));
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    std::os::unix::fs::symlink(target, pointer)
}

/// Without links (they need a privilege on Windows) the Python client, too, keeps the file in the snapshot itself.
#[cfg(not(unix))]
pub fn link(blob: &Path, pointer: &Path, _depth: usize) -> io::Result<()> {
    fs::rename(blob, pointer)
}

/// The folders of all commits of a repository, sorted.
pub fn snapshots(repo: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.join("snapshots"));
    let mut folders = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect::<Vec<_>>();
    folders.sort();
    folders
}

/// A file's path in the folder `own`, in whatever state, and in those of other commits where it is the same file.
pub fn copies(repo: &Path, own: &Path, file: &FileSpec) -> Vec<PathBuf> {
    let pinned = own.join(&file.name);
    let blob = fs::canonicalize(&pinned).ok();
    let is_same = |path: &Path| {
        let Ok(found) = fs::canonicalize(path) else {
            return false;
        };
        let len = fs::metadata(&found).map(|meta| meta.len()).ok();
        let same_hash = |hash: &FileHash| hash.of_same_kind(&found).is_ok_and(|h| h == *hash);
        Some(&found) == blob.as_ref()
            || file.size.is_none_or(|size| len == Some(size))
                && file.hash.as_ref().is_some_and(same_hash)
    };
    let mut pointers = snapshots(repo)
        .into_iter()
        .map(|folder| folder.join(&file.name))
        .collect::<Vec<_>>();
    pointers.retain(|path| *path == pinned || is_same(path));
    pointers
}

/// Removes the branches and tags whose commit has no folder any more.
pub fn forget_refs(repo: &Path) {
    let kept = snapshots(repo);
    let kept = kept
        .iter()
        .filter_map(|folder| folder.file_name()?.to_str());
    let kept = kept.collect::<BTreeSet<_>>();
    let refs = repo.join("refs");
    for name in names_below(&refs) {
        let path = refs.join(name);
        if fs::read_to_string(&path).is_ok_and(|commit| !kept.contains(commit.trim())) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes empty folders below and including `folder`; one that still holds something stays.
pub fn prune(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Names of the files below a folder that lead somewhere, with `/`, sorted.
pub fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = names_below(&entry.path()).into_iter();
            names.extend(below.map(|inner| format!("{name}/{inner}")));
        } else if entry.path().exists() {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Bytes of all files below a folder; a link counts nothing.
pub fn bytes_below(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        })
        .sum()
}

pub fn metadata(path: &Path) -> Result<fs::Metadata> {
    fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))
}

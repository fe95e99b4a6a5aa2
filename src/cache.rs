//! Model files on disk, in the layout of the Python hub client, so that either finds what the other fetched:
//! `models--owner--name/{refs/<branch>, blobs/<hash>, snapshots/<commit>/<file> -> blob}`.
//!
//! Size and hash are checked before a file is used: those of the manifest, else the hash that is the blob's name.
//! A hash costs time, so a file that passed leaves a stamp with its size and modification time, and is hashed again
//! only when one of them changes.

mod layout;
mod local;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

pub use self::local::Local;

use self::layout::{Stamp, copies, link, linked_hash, metadata, names_below, prune};
use crate::hash::{FileHash, sha256};
use crate::repo::choose;
use crate::repo::{Checkpoint, FileSpec, Files, Wanted, is_commit};

/// The hub's cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// How a file of a checkpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Missing,
    /// There, but not the file that is meant; says why.
    Damaged(String),
    Ready,
}

impl Cache {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else the same under `~/.cache`.
    pub fn from_env() -> Result<Self> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = if let Some(cache) = var("HF_HUB_CACHE") {
            PathBuf::from(cache)
        } else if let Some(home) = var("HF_HOME") {
            PathBuf::from(home).join("hub")
        } else if let Some(cache) = var("XDG_CACHE_HOME") {
            PathBuf::from(cache).join("huggingface/hub")
        } else {
            std::env::home_dir()
                .ok_or_else(|| {
                    anyhow!("no home folder; set HF_HOME to where models shall be kept")
                })?
                .join(".cache/huggingface/hub")
        };
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of everything that belongs to a repository.
    pub fn repo(&self, repo: &str) -> PathBuf {
        let name = format!("models--{}", repo.replace('/', "--"));
        self.root.join(name)
    }

    /// The folder in which a commit's files have their own names.
    pub fn snapshot(&self, repo: &str, commit: &str) -> PathBuf {
        self.repo(repo).join("snapshots").join(commit)
    }

    /// The checkpoint that is meant, as far as this disk knows: its commit through `refs/`, its files by their names.
    /// `None` where that cannot be said; the files of `Some` may still be missing or damaged.
    pub fn resolve(&self, wanted: &Wanted) -> Result<Option<Checkpoint>> {
        let Some(commit) = self.commit(&wanted.repo, &wanted.revision) else {
            return Ok(None);
        };
        let mut note = None;
        let files = match &wanted.files {
            Files::Named(files) => files.clone(),
            Files::Chosen(part) => {
                let folder = self.snapshot(&wanted.repo, &commit);
                let names = names_below(&folder);
                let names = names.iter().map(String::as_str).collect::<Vec<_>>();
                // What is there need not be all: another program may have fetched the configuration only.
                let Ok(choice) = choose::choose(&wanted.repo, &names, part.as_deref()) else {
                    return Ok(None);
                };
                let mut chosen = choice.files;
                if let Some(index) = choice.index {
                    let Ok(shards) = shards(&folder.join(index)) else {
                        return Ok(None);
                    };
                    chosen.extend(shards);
                }
                if !chosen.iter().all(|name| names.contains(&name.as_str())) {
                    return Ok(None);
                }
                note = choice.note;
                let file = |name: String| FileSpec {
                    size: fs::metadata(folder.join(&name)).ok().map(|meta| meta.len()),
                    ..FileSpec::named(name)
                };
                chosen.into_iter().map(file).collect()
            }
        };
        Ok(Some(Checkpoint {
            name: wanted.name.clone(),
            repo: wanted.repo.clone(),
            commit,
            files,
            note,
        }))
    }

    /// The commit a revision stands for here.
    fn commit(&self, repo: &str, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_ascii_lowercase());
        }
        let text = fs::read_to_string(self.repo(repo).join("refs").join(revision)).ok()?;
        Some(text.trim().to_string()).filter(|commit| is_commit(commit))
    }

    /// Records what a branch or tag stood for when its files were fetched.
    pub fn set_ref(&self, repo: &str, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.repo(repo).join("refs").join(revision);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            fs::write(&path, commit)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The folder a checkpoint is in: its commit's, or another commit's that holds the very same files.
    pub fn folder(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let own = self.snapshot(&checkpoint.repo, &checkpoint.commit);
        let known = checkpoint.files.iter().all(|file| file.hash.is_some());
        if !known
            || checkpoint
                .files
                .iter()
                .any(|file| own.join(&file.name).exists())
        {
            return Ok(own);
        }
        for other in layout::snapshots(&self.repo(&checkpoint.repo)) {
            let is_same = |file| self.check_at(&other, checkpoint, file, false);
            let states = checkpoint.files.iter().map(is_same);
            if states
                .collect::<Result<Vec<_>>>()?
                .iter()
                .all(|s| *s == State::Ready)
            {
                return Ok(other);
            }
        }
        Ok(own)
    }

    /// Checks a file. `rehash` reads it whole even where a stamp says it was fine before.
    pub fn check(&self, checkpoint: &Checkpoint, file: &FileSpec, rehash: bool) -> Result<State> {
        let folder = self.folder(checkpoint)?;
        self.check_at(&folder, checkpoint, file, rehash)
    }

    fn check_at(
        &self,
        folder: &Path,
        checkpoint: &Checkpoint,
        file: &FileSpec,
        rehash: bool,
    ) -> Result<State> {
        let path = folder.join(&file.name);
        if !path.exists() {
            return Ok(State::Missing);
        }
        let size = metadata(&path)?.len();
        if let Some(expected) = file.size.filter(|expected| *expected != size) {
            let path = path.display();
            return Ok(State::Damaged(format!(
                "{path}: {size} bytes, expected {expected}"
            )));
        }
        let stamp = Stamp::of(&self.repo(&checkpoint.repo), &path);
        let linked = || linked_hash(&path).or_else(|| stamp.hash());
        let expected = file.hash.clone().or_else(linked);
        if !rehash
            && expected
                .as_ref()
                .is_some_and(|hash| stamp.holds(hash, &path))
        {
            return Ok(State::Ready);
        }
        let found = match &expected {
            Some(hash) => hash.of_same_kind(&path)?,
            // Copied here by hand: as it is now is how it shall be.
            None => FileHash::Sha256(sha256(&path)?),
        };
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            stamp.remove();
            let path = path.display();
            return Ok(State::Damaged(format!(
                "{path}: {} is {}, expected {}",
                found.kind(),
                found.hex(),
                expected.hex()
            )));
        }
        stamp.set(&found, &path);
        Ok(State::Ready)
    }

    /// The state of the whole checkpoint. A damaged file counts more than a missing one: somebody may want to look at it.
    pub fn state(&self, checkpoint: &Checkpoint, rehash: bool) -> Result<State> {
        let folder = self.folder(checkpoint)?;
        let mut whole = State::Ready;
        for file in &checkpoint.files {
            match self.check_at(&folder, checkpoint, file, rehash)? {
                State::Ready => {}
                State::Missing => whole = State::Missing,
                damaged @ State::Damaged(_) => return Ok(damaged),
            }
        }
        Ok(whole)
    }

    /// Whether all files are there, without a look at what is in them.
    pub fn holds(&self, wanted: &Wanted) -> bool {
        let Ok(Some(checkpoint)) = self.resolve(wanted) else {
            return false;
        };
        let folder = self.folder(&checkpoint);
        folder.is_ok_and(|folder| {
            checkpoint
                .files
                .iter()
                .all(|file| folder.join(&file.name).exists())
        })
    }

    /// The files that are not ready: of a checkpoint of several, only those are fetched.
    pub fn missing(&self, checkpoint: &Checkpoint) -> Result<Vec<FileSpec>> {
        let mut missing = Vec::new();
        for file in &checkpoint.files {
            if self.check(checkpoint, file, false)? != State::Ready {
                missing.push(file.clone());
            }
        }
        Ok(missing)
    }

    /// A folder beside the blobs for what is on its way in. A file gets its final name only once it is checked.
    pub fn incoming_path(&self, repo: &str) -> PathBuf {
        self.repo(repo).join(".incoming")
    }

    /// The same, made.
    pub fn incoming(&self, repo: &str) -> Result<PathBuf> {
        let folder = self.incoming_path(repo);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(folder)
    }

    /// Bytes of a repository's files that an earlier try has brought already.
    pub fn arrived(&self, repo: &str) -> u64 {
        layout::bytes_below(&self.incoming_path(repo))
    }

    /// Takes a complete file into the cache, by rename: checked first, whole or not at all.
    pub fn adopt(&self, checkpoint: &Checkpoint, file: &FileSpec, arrived: &Path) -> Result<()> {
        let size = metadata(arrived)?.len();
        if let Some(expected) = file.size.filter(|expected| *expected != size) {
            bail!("{}: {size} bytes arrived, expected {expected}", file.name);
        }
        let found = match &file.hash {
            Some(hash) => hash.of_same_kind(arrived)?,
            None => FileHash::Sha256(sha256(arrived)?),
        };
        if let Some(expected) = file.hash.as_ref().filter(|expected| **expected != found) {
            bail!(
                "{}: the file that arrived has {found}, expected {}; it was discarded",
                file.name,
                expected.hex()
            );
        }
        let blob = self.blob(checkpoint, &found);
        let write = || {
            fs::create_dir_all(blob.parent().unwrap_or(&self.root))?;
            fs::rename(arrived, &blob)
        };
        write().with_context(|| format!("cannot write {}", blob.display()))?;
        self.point(checkpoint, file, &found)
    }

    /// Takes a file whose content the cache holds already, for another commit. `false` where it does not.
    pub fn adopt_known(&self, checkpoint: &Checkpoint, file: &FileSpec) -> Result<bool> {
        let Some(hash) = &file.hash else {
            return Ok(false);
        };
        let blob = self.blob(checkpoint, hash);
        if !blob.is_file() || hash.of_same_kind(&blob)? != *hash {
            return Ok(false);
        }
        self.point(checkpoint, file, hash)?;
        Ok(true)
    }

    fn blob(&self, checkpoint: &Checkpoint, hash: &FileHash) -> PathBuf {
        self.repo(&checkpoint.repo).join("blobs").join(hash.hex())
    }

    /// Gives a blob, just checked, its name in the commit's folder.
    fn point(&self, checkpoint: &Checkpoint, file: &FileSpec, hash: &FileHash) -> Result<()> {
        let blob = self.blob(checkpoint, hash);
        let pointer = self
            .snapshot(&checkpoint.repo, &checkpoint.commit)
            .join(&file.name);
        let write = || {
            fs::create_dir_all(pointer.parent().unwrap_or(&self.root))?;
            if pointer.symlink_metadata().is_ok() {
                fs::remove_file(&pointer)?;
            }
            link(&blob, &pointer, file.name.split('/').count())
        };
        write().with_context(|| format!("cannot write {}", pointer.display()))?;
        Stamp::of(&self.repo(&checkpoint.repo), &pointer).set(hash, &pointer);
        Ok(())
    }

    /// Removes a checkpoint's files, what they point at, and folders left empty. Returns the bytes freed.
    pub fn remove(&self, checkpoint: &Checkpoint) -> Result<u64> {
        let mut freed = 0;
        let repo = self.repo(&checkpoint.repo);
        let Ok(inside) = fs::canonicalize(&repo) else {
            return Ok(0);
        };
        let own = self.snapshot(&checkpoint.repo, &checkpoint.commit);
        for file in &checkpoint.files {
            let pointers = copies(&repo, &own, file);
            // A set: revisions share the blob of a file that did not change between them.
            let blobs = pointers
                .iter()
                .filter_map(|pointer| fs::canonicalize(pointer).ok())
                .filter(|blob| blob.starts_with(&inside))
                .collect::<BTreeSet<_>>();
            for blob in &blobs {
                freed += metadata(blob)?.len();
            }
            for pointer in &pointers {
                Stamp::of(&repo, pointer).remove();
            }
            // A file without a link is both.
            for path in pointers.iter().chain(&blobs) {
                if path.symlink_metadata().is_ok() {
                    fs::remove_file(path)?;
                }
            }
        }
        let _ = fs::remove_dir_all(repo.join(".incoming"));
        prune(&repo);
        layout::forget_refs(&repo);
        prune(&repo);
        Ok(freed)
    }
}

/// The shards that an index names.
pub fn shards(index: &Path) -> Result<Vec<String>> {
    let index =
        fs::read_to_string(index).with_context(|| format!("cannot read {}", index.display()))?;
    choose::shards(&index)
}

//! Model files on disk, in the layout of the Python hub client, so that either finds what the other fetched:
//! `models--owner--name/{blobs/<hash>, snapshots/<revision>/<file> -> blob}`.
//!
//! Size and sha256 are checked before a file is used. A hash costs time, so a file that passed leaves a stamp with
//! its size and modification time, and is hashed again only when one of them changes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::registry::{FileSpec, ModelSpec};

/// The hub's cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// How a file of a checkpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Missing,
    /// There, but not the file the manifest means; says why.
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

    /// The folder of everything that belongs to a checkpoint's repository.
    pub fn repo(&self, spec: &ModelSpec) -> Result<PathBuf> {
        let (hub, _) = spec.hub()?;
        Ok(self
            .root
            .join(format!("models--{}", hub.replace('/', "--"))))
    }

    /// The folder in which the checkpoint's files have their own names.
    pub fn snapshot(&self, spec: &ModelSpec) -> Result<PathBuf> {
        let (_, revision) = spec.hub()?;
        Ok(self.repo(spec)?.join("snapshots").join(revision))
    }

    /// Where a file is: at the pinned revision, or at another one where it has the size it should have.
    pub fn locate(&self, spec: &ModelSpec, file: &FileSpec) -> Result<Option<PathBuf>> {
        let pinned = self.snapshot(spec)?.join(&file.name);
        if pinned.exists() {
            return Ok(Some(pinned));
        }
        let mut others = self.at_any_revision(spec, file)?.into_iter();
        Ok(others.find(|path| fs::metadata(path).is_ok_and(|meta| meta.len() == file.size)))
    }

    /// The path a file has, or would have, in each snapshot folder there is.
    fn at_any_revision(&self, spec: &ModelSpec, file: &FileSpec) -> Result<Vec<PathBuf>> {
        let revisions = fs::read_dir(self.repo(spec)?.join("snapshots"));
        let mut paths = revisions
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join(&file.name))
            .collect::<Vec<_>>();
        paths.sort();
        Ok(paths)
    }

    /// Checks a file. `rehash` reads it whole even where a stamp says it was fine before.
    pub fn check(&self, spec: &ModelSpec, file: &FileSpec, rehash: bool) -> Result<State> {
        let Some(path) = self.locate(spec, file)? else {
            return Ok(State::Missing);
        };
        let size = metadata(&path)?.len();
        if size != file.size {
            return Ok(State::Damaged(format!(
                "{}: {size} bytes, expected {}",
                path.display(),
                file.size
            )));
        }
        let stamp = self.repo(spec)?.join(".verified").join(&file.sha256);
        let seen = stamp_of(&path)?;
        if !rehash && fs::read_to_string(&stamp).is_ok_and(|text| text == seen) {
            return Ok(State::Ready);
        }
        let found = sha256(&path)?;
        if found != file.sha256 {
            let _ = fs::remove_file(&stamp);
            if !path.starts_with(self.snapshot(spec)?) {
                // Another revision's own file, which only happens to have the same size.
                return Ok(State::Missing);
            }
            return Ok(State::Damaged(format!(
                "{}: sha256 is {found}, expected {}",
                path.display(),
                file.sha256
            )));
        }
        // A cache that cannot be written to (a shared, read-only one) only costs the next run a hash.
        let _ = fs::create_dir_all(stamp.parent().unwrap_or(&self.root));
        let _ = fs::write(&stamp, seen);
        Ok(State::Ready)
    }

    /// The state of the whole checkpoint. A damaged file counts more than a missing one: somebody may want to look at it.
    pub fn state(&self, spec: &ModelSpec, rehash: bool) -> Result<State> {
        let mut whole = State::Ready;
        for file in &spec.files {
            match self.check(spec, file, rehash)? {
                State::Ready => {}
                State::Missing => whole = State::Missing,
                damaged @ State::Damaged(_) => return Ok(damaged),
            }
        }
        Ok(whole)
    }

    /// Whether all files are there, without a look at what is in them.
    pub fn holds(&self, spec: &ModelSpec) -> bool {
        let located = |file| self.locate(spec, file).ok().flatten().is_some();
        spec.files.iter().all(located)
    }

    /// The paths of a checkpoint's files, in the manifest's order; an error where one is not fit for use.
    pub fn files(&self, spec: &ModelSpec) -> Result<Vec<PathBuf>> {
        let name = &spec.name;
        match self.state(spec, false)? {
            State::Missing => {
                bail!("model '{name}' is not on this machine; run 'chapterize models get {name}'")
            }
            State::Damaged(why) => {
                bail!("{why}; run 'chapterize models get {name}' to fetch it again")
            }
            State::Ready => spec
                .files
                .iter()
                .map(|file| {
                    self.locate(spec, file)?
                        .ok_or_else(|| anyhow!("{}: vanished while in use", file.name))
                })
                .collect(),
        }
    }

    /// Waits until no other process fetches the checkpoint. Where the Python client, too, keeps its locks.
    pub fn lock(&self, spec: &ModelSpec, waiting: impl FnOnce()) -> Result<File> {
        let repo = self.repo(spec)?;
        let folder = self
            .root
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

    /// A folder beside the blobs for what is on its way in. A file gets its final name only once it is checked.
    pub fn incoming(&self, spec: &ModelSpec) -> Result<PathBuf> {
        let folder = self.repo(spec)?.join(".incoming");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(folder)
    }

    /// Takes a complete file into the cache, by rename: checked first, whole or not at all.
    pub fn adopt(&self, spec: &ModelSpec, file: &FileSpec, arrived: &Path) -> Result<()> {
        let size = metadata(arrived)?.len();
        if size != file.size {
            bail!(
                "{}: {size} bytes arrived, expected {}",
                file.name,
                file.size
            );
        }
        let found = sha256(arrived)?;
        if found != file.sha256 {
            bail!(
                "{}: the file that arrived has sha256 {found}, expected {}; it was discarded",
                file.name,
                file.sha256
            );
        }
        let repo = self.repo(spec)?;
        let blob = repo.join("blobs").join(&file.sha256);
        let pointer = self.snapshot(spec)?.join(&file.name);
        for path in [&blob, &pointer] {
            fs::create_dir_all(path.parent().unwrap_or(&repo))?;
        }
        fs::rename(arrived, &blob).with_context(|| format!("cannot write {}", blob.display()))?;
        if pointer.symlink_metadata().is_ok() {
            fs::remove_file(&pointer)?;
        }
        link(&blob, &pointer, Path::new(&file.name).components().count())
            .with_context(|| format!("cannot write {}", pointer.display()))?;
        self.check(spec, file, true)?;
        Ok(())
    }

    /// Removes a checkpoint's files, what they point at, and folders left empty. Returns the bytes freed.
    pub fn remove(&self, spec: &ModelSpec) -> Result<u64> {
        let mut freed = 0;
        let repo = self.repo(spec)?;
        let Ok(inside) = fs::canonicalize(&repo) else {
            return Ok(0);
        };
        for file in &spec.files {
            let pointers = self.pointers(spec, file)?;
            // A set: revisions share the blob of a file that did not change between them.
            let blobs = pointers
                .iter()
                .filter_map(|pointer| fs::canonicalize(pointer).ok())
                .filter(|blob| blob.starts_with(&inside))
                .collect::<BTreeSet<_>>();
            for blob in &blobs {
                freed += metadata(blob)?.len();
            }
            // A file without a link is both.
            for path in pointers.iter().chain(&blobs) {
                if path.symlink_metadata().is_ok() {
                    fs::remove_file(path)?;
                }
            }
            let _ = fs::remove_file(repo.join(".verified").join(&file.sha256));
        }
        let _ = fs::remove_dir_all(repo.join(".incoming"));
        prune(&repo);
        Ok(freed)
    }

    /// A file's path at the pinned revision, in whatever state, and at others where it is the same file.
    fn pointers(&self, spec: &ModelSpec, file: &FileSpec) -> Result<Vec<PathBuf>> {
        let pinned = self.snapshot(spec)?.join(&file.name);
        let blob = fs::canonicalize(&pinned).ok();
        let is_same = |path: &Path| {
            fs::canonicalize(path).is_ok_and(|found| {
                let same_size = fs::metadata(&found).is_ok_and(|meta| meta.len() == file.size);
                Some(&found) == blob.as_ref()
                    || same_size && sha256(&found).is_ok_and(|hash| hash == file.sha256)
            })
        };
        let mut pointers = self.at_any_revision(spec, file)?;
        pointers.retain(|path| *path == pinned || is_same(path));
        Ok(pointers)
    }
}

/// Removes empty folders below and including `folder`; one that still holds something stays.
fn prune(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            prune(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// A relative link, as the Python client makes it: the cache may be moved as a whole.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path, depth: usize) -> io::Result<()> {
    let mut target = PathBuf::new();
    target.extend(std::iter::repeat_n("..", depth + 1));
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    std::os::unix::fs::symlink(target, pointer)
}

/// Without links (they need a privilege on Windows) the Python client, too, keeps the file in the snapshot itself.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path, _depth: usize) -> io::Result<()> {
    fs::rename(blob, pointer)
}

fn metadata(path: &Path) -> Result<fs::Metadata> {
    fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))
}

fn stamp_of(path: &Path) -> Result<String> {
    let meta = metadata(path)?;
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    Ok(format!("{} {modified}\n", meta.len()))
}

/// The sha256 of a file, lower-case hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file
            .read(&mut buffer)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            break;
        }
        hasher.write_all(&buffer[..read])?;
    }
    Ok(format!("{:x}", hasher.finalize()))
}

//! A hub with files, a cache, and what tests of both have to look at.

use std::fs;
use std::path::{Path, PathBuf};

use chapterize::cache::Cache;
use chapterize::hub::Hub;
use chapterize::progress::Progress;
use chapterize::registry::ModelSpec;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::hub_server::{HubServer, NoHub, Request, Storage};

pub const REPO: &str = "someone/tiny";
pub const REVISION: &str = "1111111111111111111111111111111111111111";
/// Another commit of the same repository, as a Python program may have fetched it.
pub const OTHER: &str = "2222222222222222222222222222222222222222";
pub const WEIGHTS: &str = "model.gguf";
pub const CONFIG: &str = "config.json";

/// A hub with some files, and a cache with none of them.
pub struct World {
    pub server: HubServer,
    pub hub: Hub,
    pub spec: ModelSpec,
    folder: TempDir,
}

pub fn world(files: &[(&str, &[u8])]) -> World {
    let server = HubServer::start();
    for (name, body) in files {
        let storage = if name.ends_with(".json") {
            Storage::Git
        } else {
            Storage::Lfs
        };
        server.put(REPO, REVISION, name, body, &hash(body), storage);
    }
    let folder = tempfile::tempdir().unwrap();
    World {
        hub: Hub::new(Cache::at(folder.path()), &server.url(), None),
        spec: spec(files),
        server,
        folder,
    }
}

impl World {
    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("models--someone--tiny")
    }

    pub fn get(&self) -> Result<Vec<PathBuf>, String> {
        let files = self.hub.get(&self.spec, Progress::hidden());
        files.map_err(|error| format!("{error:#}"))
    }

    pub fn fetch(&self) -> Result<(), String> {
        let done = self.hub.fetch(&self.spec, Progress::hidden());
        done.map_err(|error| format!("{error:#}"))
    }

    /// The same cache, but nobody answers at the endpoint: whatever succeeds made no request.
    pub fn get_without_hub(&self) -> Result<Vec<PathBuf>, String> {
        let nobody = NoHub::new();
        let hub = Hub::new(self.hub.cache.clone(), &nobody.url(), None);
        let files = hub.get(&self.spec, Progress::hidden());
        files.map_err(|error| format!("{error:#}"))
    }

    /// Puts a file into the cache as the Python client does: a blob, and a relative link to it.
    pub fn put_as_python(&self, revision: &str, name: &str, blob: &str, body: &[u8]) -> PathBuf {
        let pointer = self.repo().join("snapshots").join(revision).join(name);
        let blobs = self.repo().join("blobs");
        fs::create_dir_all(pointer.parent().unwrap()).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(blob), body).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(blob), &pointer).unwrap();
        pointer
    }
}

pub fn spec(files: &[(&str, &[u8])]) -> ModelSpec {
    let mut text = String::from(
        "name = 'tiny'\ntitle = 'Tiny'\nkind = 'decoder'\nlicense = 'mit'\n\
         parameters = '1'\nwindow = 8\nmemory_mb = 1\n",
    );
    for (name, body) in files {
        let (size, hash) = (body.len(), hash(body));
        text += &format!("[[file]]\nname = '{name}'\nsize = {size}\nsha256 = '{hash}'\n");
    }
    text += &format!("[[source]]\nhub = '{REPO}'\nrevision = '{REVISION}'\n");
    ModelSpec::from_toml(&text).unwrap()
}

/// Bytes that look like weights: the same on every run, and no part like another.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Every file and link below a folder, empty where there is none.
pub fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// First bytes of the requests that wanted a file's content, not only its size.
pub fn starts(requests: &[Request]) -> Vec<usize> {
    let content = requests
        .iter()
        .filter(|request| request.path.starts_with("/cdn/"));
    content
        .filter_map(|request| match request.range {
            Some((start, None)) => Some(start),
            _ => None,
        })
        .collect()
}

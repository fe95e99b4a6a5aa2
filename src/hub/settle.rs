//! What a name stands for: commit, files, sizes and hashes.

use anyhow::{Context, Result};
use hf_hub::{Repo, RepoType};

use super::Hub;
use super::listing::{self, Listing, closed};
use crate::cache;
use crate::progress::Progress;
use crate::repo::choose;
use crate::repo::{Checkpoint, FileSpec, Files, Wanted, is_commit};

impl Hub {
    /// Settles commit, files, sizes and hashes: from the manifest, or from the hub's list.
    pub(super) fn settle(&self, wanted: &Wanted, progress: Progress) -> Result<Checkpoint> {
        let is_known = |file: &FileSpec| file.size.is_some() && file.hash.is_some();
        match &wanted.files {
            Files::Named(files) if is_commit(&wanted.revision) && files.iter().all(is_known) => {
                Ok(Checkpoint {
                    name: wanted.name.clone(),
                    repo: wanted.repo.clone(),
                    commit: wanted.revision.clone(),
                    files: files.clone(),
                    note: None,
                })
            }
            _ => self
                .look_up(wanted, progress)
                .with_context(|| format!("model '{}' could not be looked up", wanted.name)),
        }
    }

    /// Settles them by the hub's list.
    fn look_up(&self, wanted: &Wanted, progress: Progress) -> Result<Checkpoint> {
        self.reachable()?;
        let repo = &wanted.repo;
        let api = self.api(repo)?;
        let at =
            |revision: &str| Repo::with_revision(repo.clone(), RepoType::Model, revision.into());
        let named = api.repo(at(&wanted.revision));
        let listing = Listing::ask(&named, &self.endpoint, repo, &wanted.revision)?;
        if listing.gated && self.token.is_none() {
            return Err(closed(&self.endpoint, repo));
        }
        let mut checkpoint = Checkpoint {
            name: wanted.name.clone(),
            repo: repo.clone(),
            commit: listing.commit.clone(),
            files: Vec::new(),
            note: None,
        };
        let pinned = api.repo(at(&listing.commit));
        let full = |known: &FileSpec| {
            let mut file = listing.file(repo, known)?;
            listing::complete(&api, &pinned.url(&file.name), &mut file)
                .map_err(|error| self.explain(&error.to_string(), repo, &file.name))?;
            Ok::<_, anyhow::Error>(file)
        };
        match &wanted.files {
            Files::Named(files) => {
                checkpoint.files = files.iter().map(full).collect::<Result<_>>()?;
            }
            Files::Chosen(part) => {
                let choice = choose::choose(repo, &listing.names(), part.as_deref())?;
                checkpoint.note = choice.note;
                let files = choice.files.into_iter().map(FileSpec::named);
                checkpoint.files = files.map(|file| full(&file)).collect::<Result<_>>()?;
                if let Some(index) = choice.index {
                    self.fetch_hub(&checkpoint, &listing.commit, repo, Some(index), progress)?;
                    let folder = self.cache.snapshot(repo, &checkpoint.commit);
                    for shard in cache::shards(&folder.join(index))? {
                        checkpoint.files.push(full(&FileSpec::named(shard))?);
                    }
                }
            }
        }
        Ok(checkpoint)
    }
}

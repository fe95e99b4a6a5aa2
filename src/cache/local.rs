//! A checkpoint that is on this disk and fit for use.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::layout::{linked_hash, names_below};
use super::{Cache, State};
use crate::hash::{FileHash, sha256};
use crate::model_ref::HubId;
use crate::repo::{Checkpoint, Wanted};

/// A checkpoint in a folder, every file checked.
#[derive(Debug, Clone)]
pub struct Local {
    pub checkpoint: Checkpoint,
    folder: PathBuf,
}

impl Cache {
    /// The checkpoint's files; an error where one is missing or not fit for use, with what to do.
    pub fn open(&self, checkpoint: Checkpoint) -> Result<Local> {
        let name = &checkpoint.name;
        match self.state(&checkpoint, false)? {
            State::Missing => {
                bail!("model '{name}' is not on this machine; run 'chapterize models get {name}'")
            }
            State::Damaged(why) => {
                bail!("{why}; run 'chapterize models get {name}' to fetch it again")
            }
            State::Ready => Ok(Local {
                folder: self.folder(&checkpoint)?,
                checkpoint,
            }),
        }
    }

    /// Hub ids of the whole checkpoints here that are on a branch or tag, sorted.
    pub fn hub_ids(&self) -> Vec<HubId> {
        let folders = fs::read_dir(self.root()).into_iter().flatten().flatten();
        let mut ids = Vec::new();
        for folder in folders {
            let name = folder.file_name().to_string_lossy().into_owned();
            let Some(repo) = name.strip_prefix("models--") else {
                continue;
            };
            for revision in names_below(&folder.path().join("refs")) {
                let text = format!("{}@{revision}", repo.replacen("--", "/", 1));
                let found = HubId::parse(&text).ok();
                ids.extend(found.filter(|id| self.holds(&id.wanted())));
            }
        }
        ids.sort_by_key(HubId::to_string);
        ids
    }

    /// [`Self::open`] for what is wanted.
    pub fn find(&self, wanted: &Wanted) -> Result<Local> {
        match self.resolve(wanted)? {
            Some(checkpoint) => self.open(checkpoint),
            None => bail!(
                "model '{0}' is not on this machine; run 'chapterize models get {0}'",
                wanted.name
            ),
        }
    }
}

impl Local {
    /// The folder in which the files have their own names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The paths of the files, in the checkpoint's order.
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = self.checkpoint.files.iter();
        files.map(|file| self.folder.join(&file.name)).collect()
    }

    /// What an engine opens: the GGUF file, or the folder with all the others.
    pub fn entry(&self) -> PathBuf {
        match &self.checkpoint.files[..] {
            [file] => self.folder.join(&file.name),
            _ => self.folder.clone(),
        }
    }

    /// The commit the files are from.
    pub fn commit(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Name and sha256 of the file with the weights; of the first, where there are several.
    pub fn weights(&self) -> Result<(String, String)> {
        let files = &self.checkpoint.files;
        let Some(file) = files.iter().find(|file| file.is_weights()) else {
            bail!("model '{}' has no weights", self.checkpoint.name);
        };
        let path = self.folder.join(&file.name);
        // Compared when the file was taken into use.
        let hash = match file.hash.clone().or_else(|| linked_hash(&path)) {
            Some(FileHash::Sha256(hash)) => hash,
            _ => sha256(&path)?,
        };
        Ok((file.name.clone(), hash))
    }
}

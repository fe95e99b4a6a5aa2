//! What is checked before anything is fetched: memory to run a model, and disk to keep it.

use std::fmt;

use anyhow::{Result, bail};

use super::Hub;
use crate::machine::size;
use crate::registry;
use crate::repo::{Checkpoint, FileSpec, Wanted};

/// Whether a model may be fetched that this machine has not the memory to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Required,
    Ignored,
}

/// A model that this machine has not the memory to run.
#[derive(Debug)]
pub struct TooBig {
    name: String,
    needed: u64,
    memory: u64,
    instead: Option<String>,
}

impl fmt::Display for TooBig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (needed, memory) = (size(self.needed), size(self.memory));
        let name = &self.name;
        write!(
            f,
            "model '{name}' needs about {needed} of memory and this machine has {memory}"
        )?;
        match &self.instead {
            Some(name) => write!(f, "; the largest that fits is '{name}'"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TooBig {}

impl Hub {
    /// An error where a run would take more memory than there is.
    pub(super) fn fits(&self, wanted: &Wanted, checkpoint: &Checkpoint) -> Result<()> {
        let needed = wanted.memory.unwrap_or_else(|| checkpoint.memory());
        self.fits_in(&wanted.name, needed)
    }

    pub(super) fn fits_in(&self, name: &str, needed: u64) -> Result<()> {
        let memory = self.machine.memory;
        if needed <= memory {
            return Ok(());
        }
        let instead = registry::best(memory, |_| true).map(|spec| spec.name);
        Err(TooBig {
            name: name.into(),
            needed,
            memory,
            instead,
        }
        .into())
    }

    /// An error where the disk has less room than what is to come; before anything is fetched.
    pub(super) fn has_room(&self, checkpoint: &Checkpoint, missing: &[FileSpec]) -> Result<()> {
        let all = missing.iter().filter_map(|file| file.size).sum::<u64>();
        let needed = all.saturating_sub(self.cache.arrived(&checkpoint.repo));
        let root = self.cache.root();
        if let Some(free) = self.machine.free_at(root).filter(|free| needed > *free) {
            bail!(
                "model '{}' needs {} more on the disk, and {} are free at {}; free some, or set HF_HOME to another disk",
                checkpoint.name,
                size(needed),
                size(free),
                root.display()
            );
        }
        Ok(())
    }
}

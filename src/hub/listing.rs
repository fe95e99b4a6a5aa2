//! What a repository on the hub holds at a revision, and which of it makes a checkpoint.
//!
//! The hub's answer to `GET /api/models/{repo}/revision/{revision}?blobs=true` is described at
//! <https://huggingface.co/docs/hub/api>; with `blobs` it gives each file's size and hash.

use anyhow::{Context, Result, anyhow, bail, ensure};
use hf_hub::api::sync::{Api, ApiRepo};
use serde::Deserialize;

use crate::hash::FileHash;
use crate::repo::{FileSpec, is_commit, is_inside};

/// The files of a repository at a commit.
#[derive(Debug)]
pub struct Listing {
    pub commit: String,
    /// Whether its terms have to be accepted first.
    pub gated: bool,
    files: Vec<FileSpec>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    /// `false`, or how access is granted.
    #[serde(default)]
    gated: serde_json::Value,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl From<Sibling> for FileSpec {
    fn from(sibling: Sibling) -> Self {
        // For a large file, `blobId` names the pointer in git, not the content.
        let (size, hash) = match sibling.lfs {
            Some(lfs) => (lfs.size.or(sibling.size), lfs.sha256),
            None => (sibling.size, sibling.blob_id),
        };
        Self {
            name: sibling.rfilename,
            size,
            hash: hash.as_deref().and_then(FileHash::parse),
        }
    }
}

impl Listing {
    /// Asks the hub; `repo` and `revision` are those that `api` stands for, `site` is the hub's address.
    pub fn ask(api: &ApiRepo, site: &str, repo: &str, revision: &str) -> Result<Self> {
        let request = api.info_request().query("blobs", "true");
        let request = request.config().http_status_as_error(false).build();
        let mut answer = request.call().map_err(|error| anyhow!("{repo}: {error}"))?;
        let code = answer.headers().get("x-error-code");
        let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
        match (answer.status().as_u16(), code) {
            (200, _) => {}
            (404, "RevisionNotFound") => bail!("{repo} has no branch, tag or commit '{revision}'"),
            (404, _) => bail!(
                "the hub has no {repo} with a revision '{revision}'; check the spelling at {site}/{repo}"
            ),
            (401, "RepoNotFound") => bail!(
                "the hub has no {repo}, or it is private; check the spelling, or set HF_TOKEN to a token that may read it"
            ),
            (401 | 403, _) => return Err(closed(site, repo)),
            (status, _) => bail!("{repo}: the hub answered with status {status}"),
        }
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| anyhow!("{repo}: {error}"))?;
        Self::parse(&text).with_context(|| format!("{repo}: what the hub lists cannot be read"))
    }

    fn parse(text: &str) -> Result<Self> {
        let answer: Answer = serde_json::from_str(text)?;
        ensure!(is_commit(&answer.sha), "'{}' is not a commit", answer.sha);
        let inside = answer
            .siblings
            .into_iter()
            .filter(|s| is_inside(&s.rfilename));
        Ok(Self {
            commit: answer.sha,
            gated: answer.gated != serde_json::Value::Null && answer.gated != false,
            files: inside.map(FileSpec::from).collect(),
        })
    }

    pub fn names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// A file with what the list says about it. What was known before has to agree.
    pub fn file(&self, repo: &str, known: &FileSpec) -> Result<FileSpec> {
        let name = &known.name;
        let listed = self.files.iter().find(|file| file.name == *name);
        let Some(listed) = listed else {
            bail!("the hub has no {name} in {repo} at commit {}", self.commit);
        };
        if let (Some(FileHash::Sha256(old)), Some(FileHash::Sha256(new))) =
            (&known.hash, &listed.hash)
            && old != new
        {
            bail!("{name} in {repo} is not the file it was: sha256 {new}, expected {old}");
        }
        Ok(FileSpec {
            name: name.clone(),
            size: known.size.or(listed.size),
            hash: known.hash.clone().or_else(|| listed.hash.clone()),
        })
    }
}

/// Asks for size and hash of a file whose list does not have them, as a mirror's may not.
pub fn complete(api: &Api, url: &str, file: &mut FileSpec) -> Result<()> {
    if file.size.is_none() || file.hash.is_none() {
        let metadata = api
            .metadata(url)
            .map_err(|error| anyhow!("{}: {error}", file.name))?;
        file.size.get_or_insert(metadata.size() as u64);
        file.hash = file
            .hash
            .take()
            .or_else(|| FileHash::parse(metadata.etag()));
    }
    Ok(())
}

/// What to do about a repository that is not open to everybody.
pub fn closed(site: &str, repo: &str) -> anyhow::Error {
    anyhow!(
        "the hub asks who you are for {repo}: accept its terms at {site}/{repo}, then set HF_TOKEN to a token of \
         yours, or log in with the Python client ('hf auth login'), whose token is read"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "1111111111111111111111111111111111111111";

    #[test]
    fn size_and_hash_of_a_large_file_are_those_of_its_content() {
        let (sha, git) = ("a".repeat(64), "b".repeat(40));
        let text = format!(
            r#"{{"sha":"{COMMIT}","gated":"manual","private":false,"siblings":[
                {{"rfilename":"x.gguf","size":5,"blobId":"{git}","lfs":{{"sha256":"{sha}","size":5,"pointerSize":134}}}},
                {{"rfilename":"config.json","size":2,"blobId":"{git}"}},
                {{"rfilename":"../evil"}}, {{"rfilename":"plain"}}]}}"#
        );
        let listing = Listing::parse(&text).unwrap();
        assert!(listing.gated);
        assert_eq!(listing.names(), ["x.gguf", "config.json", "plain"]);
        let hashes = listing
            .files
            .iter()
            .map(|file| file.hash.as_ref().map(FileHash::hex));
        assert_eq!(hashes.collect::<Vec<_>>(), [Some(&*sha), Some(&*git), None]);
        assert_eq!(listing.files[0].size, Some(5));
    }

    #[test]
    fn a_list_without_a_commit_is_refused() {
        assert!(Listing::parse(r#"{"sha":"main","siblings":[]}"#).is_err());
        let open = format!(r#"{{"sha":"{COMMIT}","gated":false}}"#);
        assert!(!Listing::parse(&open).unwrap().gated);
    }

    #[test]
    fn a_file_that_is_no_longer_what_a_manifest_knows_is_an_error() {
        let listing = Listing {
            commit: COMMIT.into(),
            gated: false,
            files: vec![FileSpec {
                name: "x.gguf".into(),
                size: Some(5),
                hash: FileHash::parse(&"a".repeat(64)),
            }],
        };
        let known = FileSpec {
            hash: FileHash::parse(&"c".repeat(64)),
            ..FileSpec::named("x.gguf")
        };
        let error = listing.file("o/n", &known).unwrap_err().to_string();
        assert!(error.contains("is not the file it was"), "{error}");
        let error = listing
            .file("o/n", &FileSpec::named("y"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("the hub has no y in o/n"), "{error}");
        assert_eq!(
            listing.file("o/n", &FileSpec::named("x.gguf")).unwrap(),
            listing.files[0]
        );
    }
}

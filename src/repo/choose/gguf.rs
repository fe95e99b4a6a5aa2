//! Which of a repository's GGUF files is meant, from their names alone.

use anyhow::{Result, bail};

use super::super::is_gguf;
use super::Choice;

/// GGUF types, the one taken first in front: good text for its size, and fast kernels here.
const PREFERENCE: [&str; 14] = [
    "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0", "BF16",
    "F16", "F32", "Q3_K_M",
];

pub(super) fn one_gguf(name: &str, note: Option<String>) -> Result<Choice> {
    if is_split(name) {
        bail!(
            "{name} is one of several parts of a model; join them with llama.cpp's 'gguf-split --merge'"
        );
    }
    Ok(Choice {
        files: vec![name.into()],
        index: None,
        note,
    })
}

/// The one GGUF file that `part` means: its whole name, or a part that no other has.
pub(super) fn named<'a>(repo: &str, names: &[&'a str], part: &str) -> Result<&'a str> {
    if let Some(exact) = names.iter().find(|name| **name == part) {
        if !is_gguf(exact) {
            bail!("{repo}: '{part}' is not a .gguf file; only those can be chosen by name");
        }
        return Ok(exact);
    }
    let ggufs = names.iter().copied().filter(|name| is_gguf(name));
    let ggufs = ggufs.collect::<Vec<_>>();
    let lower = part.to_lowercase();
    let mut found = ggufs.clone();
    found.retain(|name| name.to_lowercase().contains(&lower));
    match found[..] {
        [file] => Ok(file),
        [] if ggufs.is_empty() => bail!("{repo} has no .gguf file, so ':{part}' chooses nothing"),
        [] => bail!(
            "{repo} has no .gguf file like '{part}'; it has {}",
            list(&ggufs)
        ),
        _ if found.iter().all(|name| is_split(name)) => Ok(found[0]),
        _ => {
            // `:Q8_0` does not mean the projector of the same type beside the model.
            let typed = found
                .iter()
                .filter(|name| has_type(name, part) && is_model(name));
            match typed.collect::<Vec<_>>()[..] {
                [file] => Ok(file),
                _ => bail!("{repo} has several files like '{part}': {}", list(&found)),
            }
        }
    }
}

/// The file of the type that comes first in [`PREFERENCE`].
pub(super) fn preferred(repo: &str, ggufs: &[&str]) -> Result<Choice> {
    let of_type = |kind: &&str| {
        let files = ggufs.iter().filter(|name| has_type(name, kind));
        files.min_by_key(|name| (name.len(), **name)).copied()
    };
    let Some(file) = PREFERENCE.iter().find_map(of_type) else {
        bail!(
            "{repo} has several models; choose one with '{repo}:NAME': {}",
            list(ggufs)
        );
    };
    let note = format!(
        "{repo} has {} GGUF files; taking {file} (choose with '{repo}:Q8_0' or another part of a name)",
        ggufs.len()
    );
    one_gguf(file, Some(note))
}

/// The GGUF files that are whole models.
pub(super) fn models<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let ggufs = names.iter().copied().filter(|name| is_gguf(name));
    let ggufs = ggufs.collect::<Vec<_>>();
    let whole = |name: &&&str| is_model(name) && !is_split(name);
    let models = ggufs.iter().filter(whole).copied().collect::<Vec<_>>();
    // Only parts: the error that says so beats "no model".
    if models.is_empty() {
        ggufs
            .into_iter()
            .filter(|name| is_model(name))
            .take(1)
            .collect()
    } else {
        models
    }
}

/// Not the projector of a vision model, nor the statistics a quantiser leaves.
fn is_model(name: &str) -> bool {
    let name = name.to_lowercase();
    !["mmproj", "imatrix"].iter().any(|part| name.contains(part))
}

/// Whether a name ends like `-00001-of-00003.gguf`.
pub fn is_split(name: &str) -> bool {
    let stem = name.get(..name.len().saturating_sub(5)).unwrap_or_default();
    let mut parts = stem.rsplit('-');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| part.len() == 5 && part.bytes().all(|b| b.is_ascii_digit()))
    };
    number(parts.next()) && parts.next() == Some("of") && number(parts.next())
}

/// Whether a file's name says that its weights are of this type: `Q4_K` is not `Q4_K_M`.
fn has_type(name: &str, kind: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).to_uppercase();
    name.split(['-', '.'])
        .any(|part| part == kind.to_uppercase())
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

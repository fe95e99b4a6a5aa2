//! Which files of a repository or a folder make a checkpoint, from their names alone.
//!
//! Safetensors with their configuration and tokenizer come first, then one GGUF file, then PyTorch's own files. File names
//! are those of transformers' `save_pretrained` and of llama.cpp's converter.

mod gguf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use self::gguf::{models, named, one_gguf, preferred};

pub use self::gguf::is_split;

/// The names of weights, and of the lists of their shards where they are kept in several files. Best first: PyTorch's own
/// files are for checkpoints that have no others.
const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];
/// Without it a folder of weights is no checkpoint.
const CONFIG: &str = "config.json";
/// The forms of tokenizer, the one taken first in front.
const TOKENIZERS: [&[&str]; 5] = [
    &["tokenizer.json"],
    &["vocab.json", "merges.txt"],
    &["spiece.model"],
    &["sentencepiece.bpe.model"],
    &["tokenizer.model"],
];
/// Taken where they exist.
const USEFUL: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Weights last: while they are missing, the checkpoint counts as missing.
    pub files: Vec<String>,
    /// The list of the weights' shards, where there are several; they are not in `files` yet.
    pub index: Option<&'static str>,
    /// Which of several was taken, for the user.
    pub note: Option<String>,
}

/// Chooses among `names` of the repository `repo`; `part` is a part of the name of the file that is meant.
pub fn choose(repo: &str, names: &[&str], part: Option<&str>) -> Result<Choice> {
    if let Some(part) = part {
        return one_gguf(named(repo, names, part)?, None);
    }
    let ggufs = models(names);
    match (weights(names), &ggufs[..]) {
        (Some(("model.safetensors", index)), _) => folder(repo, names, "model.safetensors", index),
        (_, [file]) => one_gguf(file, None),
        (_, [_, ..]) => preferred(repo, &ggufs),
        (Some((weights, index)), []) => folder(repo, names, weights, index),
        (None, []) => bail!(
            "{repo} has no model this program can read: it needs {} (or its shards) with {CONFIG} and \
             tokenizer.json, or a .gguf file; there is {}",
            WEIGHTS[0].0,
            some_of(names)
        ),
    }
}

/// The weights among `names`: their usual name, and the list of their shards where they are in several files.
pub fn weights(names: &[&str]) -> Option<(&'static str, Option<&'static str>)> {
    WEIGHTS.into_iter().find_map(|(whole, index)| {
        let whole_is_there = names.contains(&whole);
        let index_is_there = names.contains(&index);
        (whole_is_there || index_is_there).then_some((whole, (!whole_is_there).then_some(index)))
    })
}

/// The files of the tokenizer among `names`.
pub fn tokenizer(names: &[&str]) -> Option<&'static [&'static str]> {
    TOKENIZERS
        .into_iter()
        .find(|files| files.iter().all(|file| names.contains(file)))
}

fn folder(
    repo: &str,
    names: &[&str],
    weights: &'static str,
    index: Option<&'static str>,
) -> Result<Choice> {
    if !names.contains(&CONFIG) {
        bail!("{repo} has {weights} but no {CONFIG}, without which it cannot be used");
    }
    let Some(tokenizer) = tokenizer(names) else {
        bail!("{repo} has {weights} but no tokenizer.json, without which it cannot be used");
    };
    let useful = USEFUL.into_iter().filter(|name| names.contains(name));
    let files = [CONFIG].into_iter().chain(tokenizer.iter().copied());
    let files = files.chain(useful).chain([index.unwrap_or(weights)]);
    Ok(Choice {
        files: files.map(String::from).collect(),
        index,
        note: None,
    })
}

/// The shards that an index names.
pub fn shards(index: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_str(index).context("the list of shards does not parse")?;
    let files = index.weight_map.into_values().collect::<BTreeSet<_>>();
    Ok(files.into_iter().collect())
}

/// A few names, those that look like weights first.
fn some_of(names: &[&str]) -> String {
    const ENDS: [&str; 8] = [
        ".safetensors",
        ".bin",
        ".pt",
        ".pth",
        ".onnx",
        ".msgpack",
        ".h5",
        ".ot",
    ];
    const SHOWN: usize = 5;
    if names.is_empty() {
        return "no file at all".into();
    }
    let mut names = names.to_vec();
    names.sort_by_key(|name| !ENDS.iter().any(|end| name.ends_with(end)));
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "model.safetensors.index.json";

    fn files(names: &[&str], part: Option<&str>) -> Result<Vec<String>, String> {
        match choose("o/n", names, part) {
            Ok(choice) => Ok(choice.files),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn of_a_safetensors_repository_only_what_is_used_is_taken() {
        let names = [
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "flax_model.msgpack",
            "generation_config.json",
            "model.safetensors",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "tokenizer.json",
            "x-Q4_K_M.gguf",
        ];
        let expected = [
            "config.json",
            "tokenizer.json",
            "generation_config.json",
            "model.safetensors",
        ];
        assert_eq!(files(&names, None).unwrap(), expected);
        assert_eq!(files(&names, Some("Q4_K_M")).unwrap(), ["x-Q4_K_M.gguf"]);
    }

    #[test]
    fn the_index_stands_for_shards() {
        let names = [
            "config.json",
            "tokenizer.json",
            INDEX,
            "model-00001-of-00002.safetensors",
        ];
        let choice = choose("o/n", &names, None).unwrap();
        assert_eq!(choice.index, Some(INDEX));
        assert_eq!(choice.files.last().unwrap(), INDEX);
        let index = r#"{"metadata":{},"weight_map":{"b":"2.safetensors","a":"1.safetensors","c":"1.safetensors"}}"#;
        assert_eq!(shards(index).unwrap(), ["1.safetensors", "2.safetensors"]);
    }

    #[test]
    fn an_older_repository_is_taken_as_it_is() {
        let names = [
            "config.json",
            "merges.txt",
            "pytorch_model.bin",
            "rust_model.ot",
            "tokenizer_config.json",
            "vocab.json",
        ];
        let expected = [
            "config.json",
            "vocab.json",
            "merges.txt",
            "tokenizer_config.json",
            "pytorch_model.bin",
        ];
        assert_eq!(files(&names, None).unwrap(), expected);
        let spiece = [
            "config.json",
            "spiece.model",
            "pytorch_model.bin.index.json",
        ];
        let choice = choose("o/n", &spiece, None).unwrap();
        assert_eq!(choice.index, Some("pytorch_model.bin.index.json"));
        // A GGUF file beside them is the better one.
        let both = [&names[..], &["m.gguf"]].concat();
        assert_eq!(files(&both, None).unwrap(), ["m.gguf"]);
    }

    #[test]
    fn safetensors_without_a_tokenizer_are_refused() {
        let error = files(&["config.json", "model.safetensors"], None).unwrap_err();
        assert!(error.contains("no tokenizer.json"), "{error}");
    }

    #[test]
    fn of_several_gguf_files_the_preferred_type_is_taken_and_named() {
        let names = [
            "m-BF16.gguf",
            "m-Q8_0.gguf",
            "m.Q5_K_M.gguf",
            "m-q4_k_m.gguf",
            "mmproj-m-F16.gguf",
        ];
        let choice = choose("o/n", &names, None).unwrap();
        assert_eq!(choice.files, ["m-q4_k_m.gguf"]);
        assert!(
            choice
                .note
                .unwrap()
                .starts_with("o/n has 4 GGUF files; taking m-q4_k_m.gguf")
        );
        assert_eq!(files(&names[..3], None).unwrap(), ["m.Q5_K_M.gguf"]);
        assert_eq!(files(&names[..2], None).unwrap(), ["m-Q8_0.gguf"]);
        let one = choose("o/n", &["any.gguf", "mmproj.gguf"], None).unwrap();
        assert_eq!((one.files.len(), one.note), (1, None));
        let error = files(&["a.gguf", "b.gguf"], None).unwrap_err();
        assert!(error.contains("'o/n:NAME': a.gguf, b.gguf"), "{error}");
    }

    #[test]
    fn a_part_of_a_name_chooses_or_the_error_lists_what_there_is() {
        let names = [
            "m-Q4_K_M.gguf",
            "m-Q8_0.gguf",
            "mmproj-m-Q8_0.gguf",
            "config.json",
        ];
        for part in ["m-Q8_0.gguf", "q8_0"] {
            assert_eq!(files(&names, Some(part)).unwrap(), ["m-Q8_0.gguf"]);
        }
        let error = files(&names, Some("Q2_K")).unwrap_err();
        assert!(
            error.contains("no .gguf file like 'Q2_K'; it has m-Q4_K_M.gguf, m-Q8_0"),
            "{error}"
        );
        let error = files(&names, Some("m-")).unwrap_err();
        assert!(error.contains("several files like 'm-'"), "{error}");
        let error = files(&names, Some("config.json")).unwrap_err();
        assert!(error.contains("is not a .gguf file"), "{error}");
    }

    #[test]
    fn a_split_model_is_named_as_such() {
        let names = [
            "m-Q4_K_M-00001-of-00002.gguf",
            "m-Q4_K_M-00002-of-00002.gguf",
        ];
        let error = files(&names, None).unwrap_err();
        assert!(error.contains("one of several parts"), "{error}");
        assert!(!is_split("m-of-00002.gguf") && !is_split(".gguf"));
    }

    #[test]
    fn a_repository_without_a_model_is_told_what_it_has() {
        let error = files(&["README.md", "model.onnx"], None).unwrap_err();
        assert!(
            error.contains("there is model.onnx, README.md")
                || error.contains("there is README.md, model.onnx"),
            "{error}"
        );
        assert!(error.contains("or a .gguf file"), "{error}");
    }
}

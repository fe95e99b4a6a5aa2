//! Byte-level BPE from `vocab.json` and `merges.txt`: BART and its relatives, GPT-2, Qwen 2.
//!
//! As transformers' `RobertaConverter`, `GPT2Converter` and `Qwen2Converter` build it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use ahash::AHashMap;
use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;

use super::Family;
use super::added::Added;
use crate::engine::tokenizer::Tokenizer;
use crate::engine::tokenizer::directory::Files;
use crate::engine::tokenizer::pre::Pre;

pub(super) fn read(family: Family, files: &Files) -> Result<Tokenizer> {
    let vocabulary = vocabulary(&files.dir.join("vocab.json"))?;
    let merges = merges(&files.dir.join("merges.txt"))?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .build()
        .map_err(|e| anyhow!("{}: vocab.json and merges.txt: {e}", files.dir.display()))?;
    let prefix = files.tokenizer_config["add_prefix_space"] == true;
    let mut model = tokenizers::Tokenizer::new(bpe);
    if family == Family::Qwen2 {
        model
            .with_normalizer(Some(NFC))
            .map_err(|e| anyhow!("{e}"))?;
        model.with_pre_tokenizer(Some(Pre::named("qwen2")?.splits()?));
    } else {
        model.with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)));
    }
    model.with_decoder(Some(ByteLevel::default()));
    let added = Added::read(files).with_context(|| files.dir.display().to_string())?;
    added
        .add_to(&mut model)
        .with_context(|| files.dir.display().to_string())?;
    if family == Family::Bart {
        let token = |key: &str| {
            let name = files.token(key)?;
            let id = model.token_to_id(&name)?;
            Some((name, id))
        };
        let ends = token("sep_token").zip(token("cls_token"));
        let (sep, cls) = ends.context("no token is named for the begin or the end of a text")?;
        let frame = RobertaProcessing::new(sep, cls);
        model.with_post_processor(Some(frame.trim_offsets(true).add_prefix_space(prefix)));
    }
    Ok(Tokenizer::of_pieces(model))
}

/// Tokens with their ids.
fn vocabulary(path: &Path) -> Result<AHashMap<String, u32>> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let tokens: AHashMap<String, u32> = serde_json::from_slice(&text)
        .with_context(|| format!("{}: not a JSON object of tokens and ids", path.display()))?;
    let ids = tokens.values().collect::<HashSet<_>>();
    ensure!(
        ids.len() == tokens.len(),
        "{}: {} tokens share {} ids",
        path.display(),
        tokens.len(),
        ids.len()
    );
    Ok(tokens)
}

/// One pair a line, after a line that tells the version.
fn merges(path: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| !line.starts_with("#version") && !line.is_empty())
        .map(|(number, line)| match line.split_once(' ') {
            Some((a, b)) => Ok((a.to_string(), b.to_string())),
            None => Err(anyhow!(
                "{}:{number}: expected two tokens, found '{line}'",
                path.display()
            )),
        })
        .collect()
}

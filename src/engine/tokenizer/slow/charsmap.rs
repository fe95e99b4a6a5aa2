//! Checks a SentencePiece model's character replacements before they are used.
//!
//! `precompiled_charsmap` is the size of a double-array trie in bytes, the trie, and the replacements, each ended by a
//! zero: <https://github.com/google/sentencepiece/blob/master/src/normalizer.cc>; the units of the trie are those of
//! <https://github.com/s-yata/darts-clone>. The `tokenizers` crate follows indices without asking whether they lie
//! inside, so that a damaged file would end the program while it tokenizes.

use anyhow::{Context, Result, ensure};
use tokenizers::normalizers::Precompiled;

/// The replacements, once every step that a text can take through them has been seen to end inside.
pub(super) fn read(bytes: &[u8]) -> Result<Precompiled> {
    let (size, rest) = bytes.split_first_chunk().context("shorter than its size")?;
    let size = u32::from_le_bytes(*size) as usize;
    let (trie, replacements) = rest
        .split_at_checked(size)
        .with_context(|| format!("a trie of {size} bytes where {} are left", rest.len()))?;
    let units = trie
        .as_chunks()
        .0
        .iter()
        .map(|unit| u32::from_le_bytes(*unit));
    let replacements = std::str::from_utf8(replacements)?;
    check(&units.collect::<Vec<_>>(), replacements)?;
    Precompiled::from(bytes).map_err(|e| anyhow::anyhow!("{e}"))
}

/// Walks the trie by every byte from every node that can be reached.
fn check(units: &[u32], replacements: &str) -> Result<()> {
    let root = units.first().context("an empty trie")?;
    let mut nodes = vec![offset(*root)];
    let mut seen = vec![false; units.len()];
    while let Some(node) = nodes.pop() {
        // The children of a node lie in its block of 256 units, whatever the byte.
        ensure!(node | 0xff < units.len(), "its trie leads outside");
        if std::mem::replace(&mut seen[node], true) {
            continue;
        }
        for byte in 1..=0xff {
            let child = node ^ byte;
            let unit = units[child];
            if unit & (1 << 31 | 0xff) != byte as u32 {
                continue;
            }
            let next = child ^ offset(unit);
            let is_end = unit >> 8 & 1 == 1;
            if is_end {
                let value = units.get(next).context("its trie leads outside")? & !(1 << 31);
                ensure!(
                    replacements.is_char_boundary(value as usize),
                    "it points to replacement {value} of {} bytes",
                    replacements.len()
                );
            }
            nodes.push(next);
        }
    }
    Ok(())
}

/// How far a unit's children are from it, by exclusive or.
fn offset(unit: u32) -> usize {
    // As the crate computes it: without the loss of high bits in 32.
    (unit as usize >> 10) << ((unit & 1 << 9) >> 6)
}

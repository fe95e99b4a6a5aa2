//! SentencePiece BPE with byte fallback, as Llama 2, Mistral, Phi-3 and Gemma use it.
//!
//! The algorithm is that of SentencePiece's `bpe_model.cc` and of llama.cpp's `llm_tokenizer_spm`: of all neighbours whose
//! union is a token, the pair with the highest score is joined, the leftmost of equals. The `tokenizers` crate orders
//! pairs instead of tokens, so that its merges must be rebuilt from the scores (half a million for Gemma, a second of
//! loading) and equals are chosen otherwise; joining by score needs neither.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use ahash::AHashMap;
use aho_corasick::{AhoCorasick, MatchKind};
use anyhow::{Result, ensure};

use super::gguf::{Kind, Vocabulary};

/// What stands for a space inside tokens.
const SPACE: &str = "\u{2581}";

/// A vocabulary with scores, ready to encode and decode.
pub(super) struct SentencePiece {
    ids: AHashMap<String, u32>,
    scores: Vec<f32>,
    /// What each id stands for, in bytes: one byte of a character is no text.
    pieces: Vec<Vec<u8>>,
    /// The token of each byte.
    bytes: Vec<u32>,
    /// Bytes of the longest token.
    longest: usize,
    whole: AhoCorasick,
    /// Id of each pattern of `whole`, and whether it swallows the white space after it.
    whole_ids: Vec<(u32, bool)>,
    /// A space is put before a text, and before each part that follows a token matched as a whole.
    prefix: bool,
}

/// A stretch of text between two neighbours; empty once it has joined the one before it.
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours whose union is a token.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the union; differs from the symbols' own lengths once one of them has joined another.
    len: usize,
}

impl SentencePiece {
    /// `unknown` is the id for a byte that has no token.
    pub fn new(
        vocabulary: &Vocabulary,
        scores: Vec<f32>,
        prefix: bool,
        unknown: u32,
    ) -> Result<Self> {
        let mut ids = AHashMap::with_capacity(scores.len());
        let mut pieces = Vec::with_capacity(scores.len());
        for (id, token, kind) in vocabulary.iter() {
            ensure!(
                ids.insert(token.to_string(), id).is_none(),
                "token '{token}' occurs twice"
            );
            pieces.push(piece(token, kind));
        }
        let byte = |byte: u8| ids.get(&format!("<0x{byte:02X}>")).copied();
        let bytes = (0..=255).map(|b| byte(b).unwrap_or(unknown)).collect();
        let whole = vocabulary.whole().map(|(_, token, _)| token);
        let whole = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(whole)?;
        let whole_ids = vocabulary
            .whole()
            .map(|(id, token, kind)| (id, vocabulary.swallows(token, kind)));
        Ok(Self {
            longest: vocabulary.tokens.iter().map(String::len).max().unwrap_or(0),
            whole_ids: whole_ids.collect(),
            scores,
            pieces,
            bytes,
            whole,
            prefix,
            ids,
        })
    }

    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut start = 0;
        for found in self.whole.find_iter(text) {
            // The last one may have swallowed white space that is a token too.
            if found.start() < start {
                continue;
            }
            self.encode_part(&text[start..found.start()], &mut ids);
            let (id, swallows) = self.whole_ids[found.pattern().as_usize()];
            ids.push(id);
            start = found.end();
            if swallows {
                let rest = &text[start..];
                start += rest.len() - rest.trim_ascii_start().len();
            }
        }
        self.encode_part(&text[start..], &mut ids);
        ids
    }

    /// Text without tokens that are matched as a whole. (text) -> ids, appended.
    fn encode_part(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let prefix = if self.prefix { SPACE } else { "" };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        for symbol in self.join(&text) {
            let part = &text[symbol.start..symbol.start + symbol.len];
            match self.ids.get(part) {
                Some(id) => ids.push(*id),
                None => ids.extend(part.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    /// Joins characters to tokens, best score first, until nothing more can be joined.
    fn join(&self, text: &str) -> impl Iterator<Item = Symbol> {
        let mut symbols = characters(text);
        let mut pairs = BinaryHeap::with_capacity(symbols.len());
        for left in 0..symbols.len() {
            pairs.extend(self.pair(text, &symbols, Some(left)));
        }
        while let Some(Pair {
            left, right, len, ..
        }) = pairs.pop()
        {
            let [a, b] = [&symbols[left], &symbols[right]];
            if a.len == 0 || b.len == 0 || a.len + b.len != len {
                continue;
            }
            let next = b.next;
            symbols[left].len = len;
            symbols[left].next = next;
            symbols[right].len = 0;
            if let Some(next) = next {
                symbols[next].previous = Some(left);
            }
            pairs.extend(self.pair(text, &symbols, symbols[left].previous));
            pairs.extend(self.pair(text, &symbols, Some(left)));
        }
        symbols.into_iter().filter(|symbol| symbol.len > 0)
    }

    /// A symbol with the one after it, if both together are a token.
    fn pair(&self, text: &str, symbols: &[Symbol], left: Option<usize>) -> Option<Pair> {
        let left = left?;
        let right = symbols[left].next?;
        let len = symbols[left].len + symbols[right].len;
        if len > self.longest {
            return None;
        }
        let start = symbols[left].start;
        let id = *self.ids.get(&text[start..start + len])?;
        Some(Pair {
            score: self.scores[id as usize],
            left,
            right,
            len,
        })
    }

    /// Text of ids, without the space that encoding puts before it.
    pub fn decode(&self, ids: &[u32]) -> String {
        let pieces = ids.iter().filter_map(|id| self.pieces.get(*id as usize));
        let bytes = pieces.flatten().copied().collect::<Vec<_>>();
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_prefix(' ') {
            Some(rest) if self.prefix => rest.to_string(),
            _ => text.into_owned(),
        }
    }
}

/// The bytes that a token stands for.
fn piece(token: &str, kind: Kind) -> Vec<u8> {
    let byte = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    match (kind, byte.map(|hex| u8::from_str_radix(hex, 16))) {
        (Kind::Byte, Some(Ok(byte))) => vec![byte],
        (Kind::UserDefined, _) => token.into(),
        _ => token.replace(SPACE, " ").into(),
    }
}

fn characters(text: &str) -> Vec<Symbol> {
    let mut symbols = text
        .char_indices()
        .enumerate()
        .map(|(index, (start, character))| Symbol {
            start,
            len: character.len_utf8(),
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect::<Vec<_>>();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // Adding zero makes -0 and 0 equal, which `total_cmp` tells apart.
        (self.score + 0.0)
            .total_cmp(&(other.score + 0.0))
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

//! A SentencePiece model's file: the pieces with scores and kinds, and how text is normalized.
//!
//! Messages and field numbers: <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>; how
//! they lie in bytes: <https://protobuf.dev/programming-guides/encoding/>. Only the fields that change ids are read.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tokenizers::normalizers::Precompiled;

use super::charsmap;
use crate::engine::tokenizer::gguf::Kind;

/// The largest that are used (a quarter of a million pieces) have 5 MB.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
}

pub(super) struct Piece {
    pub text: String,
    /// Logarithm of a probability for a unigram model, minus the rank of the merge for BPE.
    pub score: f32,
    pub kind: Kind,
}

/// What a file says, with SentencePiece's defaults where it says nothing.
pub(super) struct ModelFile {
    pub pieces: Vec<Piece>,
    pub algorithm: Algorithm,
    /// The piece for what the vocabulary has no other for.
    pub unknown: usize,
    pub byte_fallback: bool,
    /// Characters that are replaced before anything else.
    pub charsmap: Option<Precompiled>,
    /// A space is put before a text.
    pub dummy_prefix: bool,
    /// White space around a text is dropped, and rows of it become one space.
    pub remove_extra_whitespaces: bool,
}

impl ModelFile {
    /// Errors: a file that cannot be read, is no SentencePiece model, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        ensure!(
            bytes.len() as u64 <= MAX_BYTES,
            "more than {} MiB, too large for a SentencePiece model",
            MAX_BYTES >> 20
        );
        Self::parse(&bytes).context("not a SentencePiece model, or damaged")
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            unknown: 0,
            byte_fallback: false,
            charsmap: None,
            dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => {
                    let id = model.pieces.len();
                    let piece = Piece::parse(field.bytes()?);
                    model
                        .pieces
                        .push(piece.with_context(|| format!("piece {id}"))?);
                }
                2 => model.trainer(field.bytes()?).context("trainer_spec")?,
                3 => model
                    .normalizer(field.bytes()?)
                    .context("normalizer_spec")?,
                _ => {}
            }
        }
        ensure!(
            model.unknown < model.pieces.len(),
            "{} pieces, but the unknown piece is number {}",
            model.pieces.len(),
            model.unknown
        );
        let mut seen = HashSet::new();
        let twice = model.pieces.iter().find(|piece| !seen.insert(&piece.text));
        ensure!(
            twice.is_none(),
            "piece '{}' occurs twice",
            twice.map_or("", |piece| &piece.text)
        );
        Ok(model)
    }

    fn trainer(&mut self, bytes: &[u8]) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                3 => {
                    self.algorithm = match field.number()? {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        other => bail!("model_type {other} is neither unigram (1) nor BPE (2)"),
                    }
                }
                24 if field.number()? != 0 => bail!("treat_whitespace_as_suffix is not supported"),
                35 => self.byte_fallback = field.number()? != 0,
                40 => self.unknown = usize::try_from(field.number()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, bytes: &[u8]) -> Result<()> {
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => self.charsmap = charsmap(field.bytes()?)?,
                3 => self.dummy_prefix = field.number()? != 0,
                4 => self.remove_extra_whitespaces = field.number()? != 0,
                5 if field.number()? == 0 => bail!("escape_whitespaces off is not supported"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn charsmap(bytes: &[u8]) -> Result<Option<Precompiled>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let replacements = charsmap::read(bytes).context("precompiled_charsmap")?;
    Ok(Some(replacements))
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let (mut text, mut score, mut kind) = ("", 0., Kind::Normal);
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => text = std::str::from_utf8(field.bytes()?).context("not UTF-8")?,
                2 => score = field.float()?,
                3 => kind = Kind::numbered(field.number()?.try_into()?),
                _ => {}
            }
        }
        ensure!(!text.is_empty(), "has no text");
        ensure!(score.is_finite(), "'{text}' has the score {score}");
        Ok(Self {
            text: text.to_string(),
            score,
            kind,
        })
    }
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

/// A value as its wire type tells it.
#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    /// Eight bytes, which nothing read here has.
    Wide,
}

impl<'a> Fields<'a> {
    /// The next field's number and value, or the end of the message.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Wide
            }
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Field::Float(f32::from_le_bytes(bytes.try_into()?))
            }
            other => bail!("a field of wire type {other}"),
        };
        Ok(Some((tag >> 3, field)))
    }

    /// Seven bits a byte, lowest first; the highest bit says that more follow.
    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a number of more than ten bytes")
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let left = self.0.len();
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.0.split_at_checked(len));
        let (taken, rest) =
            taken.with_context(|| format!("{len} bytes are announced where {left} are left"))?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Field<'a> {
    fn number(&self) -> Result<u64> {
        match self {
            Field::Number(number) => Ok(*number),
            other => bail!("expected a number, found {other:.20?}"),
        }
    }

    fn float(&self) -> Result<f32> {
        match self {
            Field::Float(float) => Ok(*float),
            other => bail!("expected four bytes, found {other:?}"),
        }
    }

    fn bytes(&self) -> Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            other => bail!("expected bytes, found {other:?}"),
        }
    }
}

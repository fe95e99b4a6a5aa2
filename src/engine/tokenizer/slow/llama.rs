//! SentencePiece BPE with byte fallback: `tokenizer.model` of Llama 2, Mistral, Phi-3 and Gemma.
//!
//! Encoded as the same vocabularies are from GGUF files (`sentencepiece`).

use anyhow::{Result, ensure};

use super::added::Added;
use super::model_file::ModelFile;
use crate::engine::tokenizer::directory::Files;
use crate::engine::tokenizer::gguf::{Kind, Vocabulary};
use crate::engine::tokenizer::sentencepiece::SentencePiece;
use crate::engine::tokenizer::{Inner, Tokenizer};

/// Errors: normalization that the family does not use, added tokens with a gap between their ids.
pub(super) fn read(file: ModelFile, files: &Files) -> Result<Tokenizer> {
    ensure!(
        file.charsmap.is_none() && !file.remove_extra_whitespaces,
        "BPE with normalization of characters or white space is not supported"
    );
    let mut scores = file.pieces.iter().map(|p| p.score).collect::<Vec<_>>();
    let pieces = file.pieces.into_iter().map(|p| (p.text, p.kind));
    let (mut tokens, mut kinds): (Vec<_>, Vec<_>) = pieces.unzip();
    let added = Added::read(files)?;
    for (id, token) in added.listed() {
        let kind = match token.special {
            true => Kind::Control,
            false => Kind::UserDefined,
        };
        let id = id as usize;
        ensure!(
            id <= tokens.len(),
            "added token '{}' has the id {id}, but there are {} tokens before it",
            token.content,
            tokens.len()
        );
        if id == tokens.len() {
            tokens.push(token.content.clone());
            kinds.push(kind);
            scores.push(0.);
        } else if kinds[id] != Kind::Unknown {
            // Placeholders of the model's file get their names and kinds here.
            tokens[id].clone_from(&token.content);
            kinds[id] = kind;
        }
    }
    let swallow_space = added.listed().any(|(_, token)| token.rstrip);
    let vocabulary = Vocabulary::new(tokens, kinds, swallow_space);
    let unknown = u32::try_from(file.unknown)?;
    let model = SentencePiece::new(&vocabulary, scores, file.dummy_prefix, unknown)?;
    let bos = files
        .token("bos_token")
        .and_then(|bos| model.token_to_id(&bos));
    let add_bos = files.tokenizer_config["add_bos_token"]
        .as_bool()
        .unwrap_or(true);
    Ok(Tokenizer::unnamed(
        vocabulary.special(),
        bos.filter(|_| add_bos),
        Inner::SentencePiece(Box::new(model)),
    ))
}

//! Tokens that are matched in text as a whole, from the files that name them.

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tokenizers::AddedToken;

use crate::engine::tokenizer::directory::{Files, json, token_text};

/// Keys of `tokenizer_config.json` and `special_tokens_map.json`, in the order in which transformers adds them.
const NAMED: [&str; 8] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "mask_token_sent",
];

/// Tokens in the order in which they get ids, unless the vocabulary has them.
pub(super) struct Added {
    tokens: Vec<AddedToken>,
    /// The ids that files claim for the first of them.
    ids: Vec<u32>,
}

impl Added {
    /// `added_tokens_decoder` of `tokenizer_config.json` or `added_tokens.json`, then the special tokens by name.
    pub fn read(files: &Files) -> Result<Self> {
        let mut listed = Vec::new();
        match files.tokenizer_config["added_tokens_decoder"].as_object() {
            Some(decoder) => {
                for (id, token) in decoder {
                    let id = id.parse().ok().with_context(|| {
                        format!("tokenizer_config.json: added_tokens_decoder: '{id}' is no id")
                    })?;
                    listed.extend(parse(token, false).map(|token| (id, token)));
                }
            }
            None => {
                let file = json(&files.dir, "added_tokens.json")?;
                for (token, id) in file.as_object().into_iter().flatten() {
                    let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                    let id =
                        id.with_context(|| format!("added_tokens.json: '{token}' has no id"))?;
                    listed.push((id, AddedToken::from(token.as_str(), false)));
                }
            }
        }
        listed.sort_by_key(|(id, _)| *id);
        let (ids, tokens) = listed.into_iter().unzip();
        let mut added = Self { tokens, ids };
        for key in NAMED {
            if let Some(value) = files.special(key) {
                let token = parse(value, true);
                // A plain name of the mask stands for one that takes the space before it along.
                let lstrip = key == "mask_token" && value.is_string();
                added.extend(token.map(|token| if lstrip { token.lstrip(true) } else { token }));
            }
        }
        added.extend(files.more_special().filter_map(|value| parse(value, true)));
        Ok(added)
    }

    /// More tokens; one that is there already keeps its ways, but may become special.
    pub fn extend(&mut self, tokens: impl IntoIterator<Item = AddedToken>) {
        for token in tokens {
            match self.tokens.iter_mut().find(|t| t.content == token.content) {
                Some(known) if token.special => {
                    known.special = true;
                    known.normalized = false;
                }
                Some(_) => {}
                None => self.tokens.push(token),
            }
        }
    }

    /// Special tokens of the family.
    pub fn extend_special(&mut self, tokens: impl IntoIterator<Item = String>) {
        self.extend(tokens.into_iter().map(|t| AddedToken::from(t, true)));
    }

    /// Those for which a file claims an id.
    pub fn listed(&self) -> impl Iterator<Item = (u32, &AddedToken)> {
        self.ids.iter().copied().zip(&self.tokens)
    }

    /// Errors: a token that gets another id than its file says.
    pub fn add_to(self, model: &mut tokenizers::Tokenizer) -> Result<()> {
        model
            .add_tokens(self.tokens.iter().cloned())
            .map_err(|e| anyhow!("special tokens: {e}"))?;
        for (id, token) in self.listed() {
            let found = model.token_to_id(&token.content);
            ensure!(
                found == Some(id),
                "added token '{}' is said to have the id {id}, but the vocabulary gives it {}",
                token.content,
                found.map_or("none".to_string(), |id| id.to_string())
            );
        }
        Ok(())
    }
}

/// A token by its text, or by an object that also says how it is matched.
fn parse(value: &Value, special: bool) -> Option<AddedToken> {
    let flag = |key: &str, default: bool| value[key].as_bool().unwrap_or(default);
    let special = flag("special", special);
    let token = AddedToken::from(token_text(value)?, special)
        .lstrip(flag("lstrip", false))
        .rstrip(flag("rstrip", false))
        .single_word(flag("single_word", false))
        .normalized(flag("normalized", !special) && !special);
    Some(token)
}

//! Where a checkpoint keeps its chat template.
//!
//! GGUF: `tokenizer.chat_template`. Directories, as transformers saves them: `chat_template.jinja`, or `chat_template` in
//! `tokenizer_config.json` (a text or a list of named ones), or in `chat_template.json`.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::ChatTemplate;
use crate::engine::gguf::Gguf;
use crate::engine::tokenizer::{Tokenizer, json};

/// What an error says of a checkpoint without a template.
const NONE: &str = "the checkpoint has no chat template; it is a base model, not tuned to follow instructions; choose an instruct (chat) checkpoint";

impl ChatTemplate {
    /// The template inside a GGUF file.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self> {
        let path = gguf.path();
        let Ok(source) = gguf.string("tokenizer.chat_template") else {
            bail!("{}: {NONE}", path.display());
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        let origin = format!("the chat template of {}", name.to_string_lossy());
        Self::named(origin, source, &tokenizer.bos_token, &tokenizer.eos_token)
    }

    /// The template of a checkpoint's directory.
    pub fn from_dir(dir: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let Some((file, source)) = find(dir)? else {
            bail!("{}: {NONE}", dir.display());
        };
        let origin = dir.join(file).display().to_string();
        Self::named(origin, &source, &tokenizer.bos_token, &tokenizer.eos_token)
    }
}

/// The file that holds the template, and its text.
fn find(dir: &Path) -> Result<Option<(&'static str, String)>> {
    let file = "chat_template.jinja";
    let path = dir.join(file);
    if path.is_file() {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        return Ok(Some((file, text)));
    }
    for file in ["tokenizer_config.json", "chat_template.json"] {
        if let Some(text) = choose(&json(dir, file)?["chat_template"]) {
            return Ok(Some((file, text.to_string())));
        }
    }
    Ok(None)
}

/// A text, or from a list of named ones the default; never the one for calling tools.
fn choose(value: &Value) -> Option<&str> {
    let Some(list) = value.as_array() else {
        return value.as_str();
    };
    let named = |wanted: &dyn Fn(&str) -> bool| {
        list.iter()
            .find(|entry| entry["name"].as_str().is_some_and(wanted))
    };
    let entry = named(&|name| name == "default").or_else(|| named(&|name| name != "tool_use"))?;
    entry["template"].as_str()
}

/// `{% generation %}` marks what the assistant wrote, for training: a block that is always rendered.
///
/// Lines and white space around the tags stay as they are.
pub(super) fn without_generation_tags(source: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open + 2);
        let inside = tag.split("%}").next().unwrap_or("");
        let name = inside
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        let block = match name {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => name,
        };
        out.push_str(before);
        out.push_str(&if block == name {
            inside.into()
        } else {
            inside.replacen(name, block, 1)
        });
        rest = &tag[inside.len()..];
    }
    out.push_str(rest);
    if out == source {
        source.into()
    } else {
        out.into()
    }
}

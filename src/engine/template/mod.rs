//! Chat templates: Jinja as the checkpoint ships it, rendered as `transformers` renders it.
//!
//! Environment and variables: `_compile_jinja_template` in transformers' `utils/chat_template_utils.py`. `source` finds
//! the template of a checkpoint, `functions` holds what transformers adds to Jinja.

mod functions;
mod source;

use std::borrow::Cow;

use anyhow::{Result, anyhow};
use chrono::{Local, NaiveDateTime};
use minijinja::value::Value;
use minijinja::{Environment, Error, context};
use serde::Serialize;

use super::think;

/// One turn of a conversation.
#[derive(Debug, Clone, Serialize)]
pub struct Message<'a> {
    pub role: &'a str,
    pub content: &'a str,
}

/// A parsed chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Named in errors: `the chat template of model.gguf`.
    origin: String,
    bos_token: String,
    eos_token: String,
}

const NAME: &str = "chat";

/// Steps a rendering may take. A long template takes some thousands; one written to hang would take them all.
const FUEL: u64 = 1_000_000;

/// How much of a template's line an error quotes, in characters.
const QUOTED: usize = 80;

impl ChatTemplate {
    /// Parses a template. Errors name the line of the template.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        Self::named("the chat template".into(), source, bos_token, eos_token)
    }

    fn named(origin: String, source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        let mut environment = Environment::new();
        // As transformers sets them: tags leave no blank lines behind.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        // No loader is set, so that a template reaches no file.
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(functions::format_as_python);
        environment.add_test("iterable", functions::is_iterable);
        environment.add_filter("tojson", functions::tojson);
        environment.add_function("raise_exception", functions::raise_exception);
        environment.add_function("strftime_now", |format: &str| {
            functions::strftime(Local::now().naive_local(), format)
        });
        let source = source::without_generation_tags(source);
        environment
            .add_template_owned(NAME, source.to_string())
            .map_err(|error| explain(&origin, &source, &error))?;
        Ok(Self {
            environment,
            origin,
            bos_token: bos_token.into(),
            eos_token: eos_token.into(),
        })
    }

    /// The same template on a day of one's choice: some write the date into the prompt.
    #[must_use]
    pub fn on(mut self, now: NaiveDateTime) -> Self {
        self.environment
            .add_function("strftime_now", move |format: &str| {
                functions::strftime(now, format)
            });
        self
    }

    /// The prompt text up to where the assistant's answer begins, after its thoughts.
    ///
    /// Some templates refuse a system message, some drop it, and some take content in parts only: the first form whose
    /// rendering holds every message is used.
    pub fn render(&self, messages: &[Message<'_>]) -> Result<String> {
        let mut others = Vec::new();
        for turns in forms(messages) {
            match self.render_turns(&turns) {
                Ok(text) if messages.iter().all(|m| text.contains(m.content.trim())) => {
                    return Ok(think::answer_at_once(&text));
                }
                other => others.push(other),
            }
        }
        // Text may be changed on its way through a template: better so than not at all.
        let rendered = others.iter().position(Result::is_ok).unwrap_or(0);
        Ok(think::answer_at_once(&others.swap_remove(rendered)?))
    }

    fn render_turns(&self, turns: &[Turn<'_>]) -> Result<String> {
        let rendered = self.environment.get_template(NAME).and_then(|template| {
            template.render(context! {
                messages => turns,
                tools => Value::from(()),
                documents => Value::from(()),
                add_generation_prompt => true,
                enable_thinking => false,
                bos_token => self.bos_token,
                eos_token => self.eos_token,
            })
        });
        rendered.map_err(|error| {
            let template = self.environment.get_template(NAME);
            let source = template.as_ref().map_or("", |t| t.source());
            explain(&self.origin, source, &error)
        })
    }
}

/// A message as the template sees it.
#[derive(Serialize)]
struct Turn<'a> {
    role: &'a str,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    /// As multimodal checkpoints have it.
    Parts([Part<'a>; 1]),
}

#[derive(Serialize)]
struct Part<'a> {
    r#type: &'static str,
    text: Cow<'a, str>,
}

/// The ways to hand over messages, most faithful first.
fn forms<'a>(messages: &[Message<'a>]) -> Vec<Vec<Turn<'a>>> {
    let plain = messages
        .iter()
        .map(|m| (m.role, Cow::Borrowed(m.content)))
        .collect::<Vec<_>>();
    let turns = |messages: &[(&'a str, Cow<'a, str>)], content: fn(Cow<'a, str>) -> Content<'a>| {
        let turn = |(role, text): &(&'a str, Cow<'a, str>)| Turn {
            role,
            content: content(text.clone()),
        };
        messages.iter().map(turn).collect::<Vec<_>>()
    };
    let parts = |text| {
        Content::Parts([Part {
            r#type: "text",
            text,
        }])
    };
    let merged = system_before_user(&plain);
    let mut forms = vec![turns(&plain, Content::Text)];
    forms.extend(merged.iter().map(|m| turns(m, Content::Text)));
    forms.push(turns(&plain, parts));
    forms.extend(merged.iter().map(|m| turns(m, parts)));
    forms
}

/// The system text put before the first user message, with a blank line between. `None` without both.
fn system_before_user<'a>(
    messages: &[(&'a str, Cow<'a, str>)],
) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
    let at = |role| messages.iter().position(|(r, _)| *r == role);
    let (system, user) = (at("system")?, at("user")?);
    let mut merged = messages.to_vec();
    merged[user].1 = format!("{}\n\n{}", messages[system].1, messages[user].1).into();
    merged.remove(system);
    Some(merged)
}

/// An error of the template in one line: where, what, and what stands there.
fn explain(origin: &str, source: &str, error: &Error) -> anyhow::Error {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), ToString::to_string);
    let Some(line) = error.line() else {
        return anyhow!("{origin}: {what}");
    };
    let text = source
        .lines()
        .nth(line.saturating_sub(1))
        .unwrap_or("")
        .trim();
    let mut quoted = text.chars().take(QUOTED).collect::<String>();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    anyhow!("{origin}: line {line}: {what}: {quoted}")
}

//! Chat templates against transformers, and where a checkpoint keeps its own.
//!
//! The templates and their renderings in `fixtures/templates` are described in `make.py` there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use chapterize::engine::gguf::Gguf;
use chapterize::engine::template::{ChatTemplate, Message};
use chapterize::engine::tokenizer::Tokenizer;
use chrono::{NaiveDate, NaiveDateTime};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Expected {
    conversations: Vec<Vec<Turn>>,
    renderings: HashMap<String, Vec<Rendering>>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Rendering {
    text: String,
}

const SYSTEM: Message<'static> = Message {
    role: "system",
    content: "Be brief.",
};
const USER: Message<'static> = Message {
    role: "user",
    content: "Hi",
};

fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

/// The day of the fixtures.
fn day() -> NaiveDateTime {
    let date = NaiveDate::from_ymd_opt(2025, 3, 4).unwrap();
    date.and_hms_opt(5, 6, 7).unwrap()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>", "</s>").unwrap().on(day())
}

fn error(source: &str) -> String {
    let error = ChatTemplate::new(source, "", "").and_then(|template| template.render(&[USER]));
    let error = format!("{:#}", error.unwrap_err());
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn templates_render_as_transformers_renders_them() {
    let expected = fs::read_to_string(fixtures("templates/expected.json")).unwrap();
    let expected: Expected = serde_json::from_str(&expected).unwrap();
    assert!(expected.renderings.len() >= 11);
    for (name, renderings) in &expected.renderings {
        let path = fixtures(&format!("templates/{name}.jinja"));
        let template = template(&fs::read_to_string(path).unwrap());
        for (conversation, rendering) in expected.conversations.iter().zip(renderings) {
            let messages = conversation.iter().map(|turn| Message {
                role: &turn.role,
                content: &turn.content,
            });
            let text = template.render(&messages.collect::<Vec<_>>()).unwrap();
            assert_eq!(text, rendering.text, "{name}");
        }
    }
}

#[test]
fn a_system_message_that_is_refused_or_dropped_goes_before_the_user() {
    for refusal in ["{{ raise_exception('no system') }}", ""] {
        let source = format!(
            "{{% for m in messages %}}{{% if m.role == 'system' %}}{refusal}{{% else %}}[{{{{ m.content }}}}]{{% endif %}}{{% endfor %}}"
        );
        let prompt = template(&source).render(&[SYSTEM, USER]).unwrap();
        assert_eq!(prompt, "[Be brief.\n\nHi]");
    }
}

#[test]
fn errors_name_the_line_of_the_template_and_quote_it() {
    assert_eq!(
        error("{% if true %}\n  {{ raise_exception('not like this') }}\n{% endif %}"),
        "the chat template: line 2: not like this: {{ raise_exception('not like this') }}"
    );
    let unclosed = error("a\n{% for m in messages %}\n");
    assert!(
        unclosed.starts_with("the chat template: line "),
        "{unclosed}"
    );
    let long = error(&format!("{{{{ messages.x.y }}}} {}", "é".repeat(100)));
    assert!(long.ends_with("é…") && long.chars().count() < 200, "{long}");
    assert!(error("{{ strftime_now('%Q') }}").contains("'%Q' is not a date format"));
}

#[test]
fn a_template_can_neither_hang_nor_read_files() {
    let nested =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(error(nested).contains("out of fuel"));
    let endless = "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}";
    assert!(error(endless).contains("recursion"), "{}", error(endless));
    assert!(error("{% include '/etc/hostname' %}").contains("template"));
}

#[test]
fn the_template_of_a_directory_is_found_in_any_of_its_places() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(
            fixtures("tokenizers/chat").join(name),
            dir.path().join(name),
        )
        .unwrap();
    }
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let render = || ChatTemplate::from_dir(dir.path(), &tokenizer)?.render(&[USER]);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();

    let none = format!("{:#}", render().unwrap_err());
    assert!(
        none.contains("base model") && none.contains("choose an instruct"),
        "{none}"
    );
    write(
        "chat_template.json",
        &json!({"chat_template": "old {{ bos_token }}"}).to_string(),
    );
    assert_eq!(render().unwrap(), "old <|begin_of_text|>");
    let list = json!({"chat_template": [
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "listed {{ eos_token }}"},
    ]});
    write("tokenizer_config.json", &list.to_string());
    assert_eq!(render().unwrap(), "listed <|eot_id|>");
    write("chat_template.jinja", "file {{ messages[0].content }}");
    assert_eq!(render().unwrap(), "file Hi");
    write("chat_template.jinja", "\n{{ 1 + }}");
    let broken = format!("{:#}", render().unwrap_err());
    assert!(broken.contains("chat_template.jinja: line 2: "), "{broken}");
}

#[test]
fn a_gguf_file_without_a_template_is_called_a_base_model() {
    let gguf = Gguf::open(&fixtures("tokenizers/spm.gguf")).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let error = ChatTemplate::from_gguf(&gguf, &tokenizer)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("spm.gguf: the checkpoint has no chat template"),
        "{error}"
    );
}

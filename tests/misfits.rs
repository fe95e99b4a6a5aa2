//! What a user sees of a checkpoint that does not fit: one line that says what is wrong and what to do.

#[path = "common/tiny.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use candle_core::Device;
use chapterize::engine::Engine;
use chapterize::engine::sampler::Sampling;
use chapterize::summarize::{Llm, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a tiny checkpoint, to be spoilt.
fn copy(family: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(tiny::folder(family)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn edit(folder: &Path, name: &str, change: impl Fn(&mut Value)) {
    let path = folder.join(name);
    let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The error of loading a folder: one line, which names it.
#[track_caller]
fn error(folder: &TempDir) -> String {
    let error = Engine::load(folder.path(), &Device::Cpu).err();
    let error = format!("{:#}", error.expect("an error"));
    let named = error.starts_with(&folder.path().display().to_string());
    assert!(named && error.lines().count() == 1, "{error}");
    error
}

fn request(user: String) -> Request {
    Request {
        system: None,
        user,
        answer_start: String::new(),
        refusal: None,
        max_tokens: 8,
        dictated: None,
        probe: None,
        sampling: Sampling::greedy(),
    }
}

#[test]
fn a_whole_checkpoint_answers() {
    for family in ["llama", "qwen3", "gemma3", "mistral"] {
        let engine = Engine::load(&tiny::folder(family), &Device::Cpu).unwrap();
        let request = request("Why does a clock stop?".into());
        let answers = engine.generate(&[request], &mut |_, _| {}).unwrap();
        assert_eq!(answers.len(), 1, "{family}");
    }
}

#[test]
fn an_unknown_architecture_is_named_with_those_that_are_known() {
    let folder = copy("llama");
    edit(folder.path(), "config.json", |config| {
        config["model_type"] = json!("mamba2");
    });
    let error = error(&folder);
    for word in ["'mamba2'", "llama", "qwen3", "gemma3_text", "olmo2"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_missing_tensor_is_named_with_what_is_there_instead() {
    // Weights of one family under the configuration of another: Qwen 3 has norms of queries and keys.
    let folder = copy("llama");
    edit(folder.path(), "config.json", |config| {
        config["model_type"] = json!("qwen3");
    });
    let error = error(&folder);
    assert!(
        error.contains("tensor 'model.layers.0.self_attn.q_norm.weight' is missing"),
        "{error}"
    );
    assert!(
        error.contains("model.layers.0.self_attn.q_proj.weight"),
        "{error}"
    );
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let folder = copy("llama");
    edit(folder.path(), "config.json", |config| {
        config["intermediate_size"] = json!(12);
    });
    let error = error(&folder);
    assert!(
        error.contains("mlp.gate_proj.weight' has shape ["),
        "{error}"
    );
    assert!(error.contains("expected [12, "), "{error}");
}

#[test]
fn sizes_that_make_no_sense_are_an_error() {
    let folder = copy("llama");
    edit(folder.path(), "config.json", |config| {
        config["num_key_value_heads"] = json!(3);
    });
    assert!(error(&folder).contains("config.json"), "{}", error(&folder));
    edit(folder.path(), "config.json", |config| {
        config.as_object_mut().unwrap().remove("hidden_size");
    });
    assert!(
        error(&folder).contains("`hidden_size`"),
        "{}",
        error(&folder)
    );
    edit(folder.path(), "config.json", |config| {
        config["hidden_size"] = json!(32);
        config["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0});
    });
    assert!(error(&folder).contains("'yarn'"), "{}", error(&folder));
}

#[test]
fn a_vocabulary_larger_than_the_weights_is_an_error_with_both_sizes() {
    let folder = copy("llama");
    edit(folder.path(), "tokenizer.json", |tokenizer| {
        let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        let first = vocab.len();
        for id in first..first + 500 {
            vocab.insert(format!("word{id}"), json!(id));
        }
    });
    let error = error(&folder);
    assert!(error.contains("tokens and the weights only 2"), "{error}");
}

#[test]
fn a_checkpoint_without_a_tokenizer_or_a_template_says_which_file_it_needs() {
    let folder = copy("llama");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(
        error(&folder).contains("tokenizer.json"),
        "{}",
        error(&folder)
    );
    let folder = copy("llama");
    edit(folder.path(), "tokenizer_config.json", |config| {
        config.as_object_mut().unwrap().remove("chat_template");
    });
    assert!(
        error(&folder).contains("no chat template"),
        "{}",
        error(&folder)
    );
}

#[test]
fn a_template_that_does_not_parse_or_render_is_named_with_its_line() {
    let folder = copy("llama");
    let template = |text: &str| {
        edit(folder.path(), "tokenizer_config.json", |config| {
            config["chat_template"] = json!(text);
        });
    };
    template("a\nb\n{% if %}\n");
    assert!(error(&folder).contains("line 3"), "{}", error(&folder));
    template("a\n{{ messages[0].content.nothing() }}\n");
    let engine = Engine::load(folder.path(), &Device::Cpu).unwrap();
    let answers = engine.generate(&[request("Hello".into())], &mut |_, _| {});
    let error = format!("{:#}", answers.unwrap_err());
    assert!(
        error.contains("line 2") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_prompt_longer_than_the_window_is_an_error_with_both_numbers() {
    let folder = copy("llama");
    edit(folder.path(), "config.json", |config| {
        config["max_position_embeddings"] = json!(100);
    });
    let engine = Engine::load(folder.path(), &Device::Cpu).unwrap();
    assert_eq!(engine.window(), 100);
    let answers = engine.generate(&[request("clock ".repeat(30))], &mut |_, _| {});
    let error = answers.unwrap_err().to_string();
    assert!(
        error.contains("window of 100") && error.contains("8 to write"),
        "{error}"
    );
}

#[test]
fn a_folder_that_holds_no_checkpoint_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    assert!(error(&folder).contains("no config.json and no .gguf file"));
    fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(error(&folder).contains("not JSON"));
}

#[test]
fn a_gguf_of_an_unknown_architecture_is_named_with_those_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(tiny::folder("llama").join("model.gguf")).unwrap();
    let key = b"general.architecture";
    let at = bytes
        .windows(key.len())
        .position(|part| part == key)
        .unwrap()
        + key.len();
    // The value's type and length come before it.
    let value = at + 12..at + 17;
    assert_eq!(&bytes[value.clone()], b"llama");
    bytes[value].copy_from_slice(b"bloom");
    fs::write(folder.path().join("model.gguf"), bytes).unwrap();
    let error = error(&folder);
    for word in ["'bloom'", "llama", "gemma3", "phi3"] {
        assert!(error.contains(word), "{error}");
    }
}

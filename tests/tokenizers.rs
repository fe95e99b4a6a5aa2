//! Tokenizers against their references: llama.cpp for GGUF files, transformers' files for directories.
//!
//! The vocabularies and expected ids in `fixtures/tokenizers` are written by `make.py` and `directories.py` there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use chapterize::engine::gguf::Gguf;
use chapterize::engine::tokenizer::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    ids: HashMap<String, Vec<Vec<u32>>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(name)
}

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

fn from_gguf(name: &str) -> Tokenizer {
    let gguf = Gguf::open(&fixture(&format!("{name}.gguf"))).unwrap();
    Tokenizer::from_gguf(&gguf).unwrap()
}

#[test]
fn gguf_vocabularies_give_the_ids_of_the_reference() {
    let expected = expected();
    assert!(expected.ids.len() >= 13);
    for (name, ids) in &expected.ids {
        let tokenizer = from_gguf(name);
        for (text, ids) in expected.texts.iter().zip(ids) {
            assert_eq!(tokenizer.encode(text).unwrap(), *ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn decoding_gives_the_text_back() {
    let expected = expected();
    for name in expected.ids.keys() {
        let tokenizer = from_gguf(name);
        // SentencePiece's own mark for a space is a space when decoded; special tokens are left out.
        let plain = |text: &&String| !text.contains(['<', '▁']);
        for text in expected.texts.iter().filter(plain) {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), *text, "{name}");
        }
    }
}

#[test]
fn control_tokens_are_dropped_and_thoughts_are_kept() {
    for name in ["qwen2", "spm-no-prefix"] {
        let tokenizer = from_gguf(name);
        let ids = tokenizer
            .encode("<|im_start|>a<think>b</think>c<|im_end|>")
            .unwrap();
        assert_eq!(
            tokenizer.decode(&ids).unwrap(),
            "a<think>b</think>c",
            "{name}"
        );
        for token in ["<|im_end|>", "<think>"] {
            let id = tokenizer.token_to_id(token).unwrap();
            assert!(ids.contains(&id), "{name}: {token} is one token");
        }
    }
}

#[test]
fn text_stops_at_the_end_of_a_turn() {
    for name in ["qwen2", "spm"] {
        let tokenizer = from_gguf(name);
        for (token, ends) in [
            ("<|im_end|>", true),
            ("<|endoftext|>", true),
            ("<|im_start|>", false),
        ] {
            let id = tokenizer.token_to_id(token).unwrap();
            assert_eq!(tokenizer.stops.contains(&id), ends, "{name}: {token}");
        }
    }
    assert!(
        from_gguf("spm").stops.contains(&2),
        "</s> is the end by default"
    );
}

#[test]
fn half_a_character_is_no_error() {
    let tokenizer = from_gguf("spm");
    let byte = tokenizer.token_to_id("<0xF0>").unwrap();
    assert_eq!(tokenizer.decode(&[byte]).unwrap(), "\u{fffd}");
    assert_eq!(tokenizer.decode(&[u32::MAX]).unwrap(), "");
}

#[derive(Deserialize)]
struct Directories {
    texts: Vec<String>,
    directories: HashMap<String, Directory>,
}

/// Per text: ids without special tokens, ids with those of the encoder, the first ones decoded.
#[derive(Deserialize)]
struct Directory {
    ids: Vec<Vec<u32>>,
    source: Vec<Vec<u32>>,
    decoded: Vec<String>,
    size: usize,
}

#[test]
fn directories_give_the_ids_of_transformers() {
    let expected = fs::read_to_string(fixture("directories.json")).unwrap();
    let expected: Directories = serde_json::from_str(&expected).unwrap();
    for (name, directory) in &expected.directories {
        let tokenizer = Tokenizer::from_dir(&fixture(name)).unwrap();
        assert_eq!(tokenizer.vocab_size(), directory.size, "{name}");
        for (i, text) in expected.texts.iter().enumerate() {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(ids, directory.ids[i], "{name}: {text:?}");
            assert_eq!(tokenizer.count(text), ids.len());
            assert_eq!(
                tokenizer.decode(&ids).unwrap(),
                directory.decoded[i],
                "{name}"
            );
            let source = tokenizer.encode_source(text).unwrap();
            assert_eq!(source, directory.source[i], "{name}: {text:?}");
        }
    }
}

#[test]
fn a_directory_names_its_special_tokens_in_several_files() {
    let chat = Tokenizer::from_dir(&fixture("chat")).unwrap();
    assert_eq!(chat.bos_token, "<|begin_of_text|>");
    assert_eq!(chat.eos_token, "<|eot_id|>");
    assert_eq!(chat.pad, None);
    let ends = ["<|eom_id|>", "<|eot_id|>", "<|done|>", "<|over|>"];
    let ends = ends.map(|token| chat.token_to_id(token).unwrap());
    assert_eq!(chat.stops, ends.into_iter().collect());
    let ids = chat.encode("<|begin_of_text|><think>no</think>yes<|eot_id|>");
    assert_eq!(chat.decode(&ids.unwrap()).unwrap(), "<think>no</think>yes");

    let bart = Tokenizer::from_dir(&fixture("bart")).unwrap();
    assert_eq!((bart.bos_token.as_str(), bart.pad), ("<s>", Some(1)));
    assert!(bart.stops.contains(&2), "</s> ends a text");
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = |what: &str| {
        let error = Tokenizer::from_dir(dir.path()).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains(what) && !error.contains('\n'), "{error}");
    };
    error("no tokenizer.json");
    fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    error("tokenizer.json: ");
    fs::copy(
        fixture("t5/tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), "{").unwrap();
    error("tokenizer_config.json: not JSON");
}

#[test]
fn gguf_files_that_do_not_hold_together_are_named() {
    for (file, old, new, says) in [
        (
            "spm",
            "ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
            "ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0plamo",
            "'plamo' is not supported; 'gpt2'",
        ),
        (
            "qwen2",
            "qwen2",
            "qwen9",
            "pre-tokenizer 'qwen9' is not supported; those of Llama 3",
        ),
    ] {
        let error = damaged(file, |bytes| replace(bytes, old.as_bytes(), new.as_bytes()));
        assert!(error.contains(says), "{error}");
    }
    let error = damaged("spm", |bytes| {
        // The count of scores: after the key come the types of array and element.
        let key = "tokenizer.ggml.scores";
        let at = bytes
            .windows(key.len())
            .position(|w| w == key.as_bytes())
            .unwrap()
            + key.len()
            + 8;
        let count = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&(count - 1).to_le_bytes());
        bytes.drain(at + 8..at + 12);
    });
    assert!(
        error.contains("640 tokens, but 639 values in 'tokenizer.ggml.scores'"),
        "{error}"
    );
}

/// The error for a fixture after a change to its bytes.
fn damaged(name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.gguf");
    let mut bytes = fs::read(fixture(&format!("{name}.gguf"))).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let error = format!("{:#}", Tokenizer::from_gguf(&gguf).err().unwrap());
    assert!(
        error.contains("damaged.gguf: the tokenizer: ") && !error.contains('\n'),
        "{error}"
    );
    error
}

/// Every occurrence of bytes by as many others.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    for at in 0..bytes.len() - old.len() {
        if bytes[at..].starts_with(old) {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
    }
}

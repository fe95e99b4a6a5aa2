//! Tokenizers of directories without a `tokenizer.json`, against transformers and SentencePiece.
//!
//! The directories and expected ids in `fixtures/slow_tokenizers` are written by `make.py` there.

use std::fs;
use std::path::{Path, PathBuf};

use chapterize::engine::tokenizer::Tokenizer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Per text: ids without the encoder's special tokens, ids with them, the first ones decoded.
#[derive(Deserialize)]
struct Expected {
    ids: Vec<Vec<u32>>,
    source: Vec<Vec<u32>>,
    decoded: Vec<String>,
}

const DIRECTORIES: [&str; 10] = [
    "bart",
    "bart-prefix",
    "gpt2",
    "qwen2",
    "t5",
    "t5-bytes",
    "pegasus",
    "mbart",
    "mbart-50",
    "llama",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/slow_tokenizers")
        .join(name)
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(fixture(name)).unwrap()).unwrap()
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_dir(&fixture(name)).unwrap()
}

#[test]
fn texts_get_the_ids_of_the_reference() {
    let texts: Vec<String> = json("texts.json");
    for name in DIRECTORIES {
        let tokenizer = tokenizer(name);
        let expected: Expected = json(&format!("{name}/expected.json"));
        assert_eq!(expected.ids.len(), texts.len(), "{name}");
        for (i, text) in texts.iter().enumerate() {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(ids, expected.ids[i], "{name}: {text:?}");
            let source = tokenizer.encode_source(text).unwrap();
            assert_eq!(source, expected.source[i], "{name}: {text:?}");
            let decoded = tokenizer.decode(&ids).unwrap();
            assert_eq!(decoded, expected.decoded[i], "{name}: {text:?}");
        }
    }
}

#[test]
fn text_in_known_characters_comes_back_from_its_ids() {
    let text = "The keeper said: three ships passed, and the bridge cost two million.";
    for name in DIRECTORIES {
        let tokenizer = tokenizer(name);
        let ids = tokenizer.encode(text).unwrap();
        let decoded = tokenizer.decode(&ids).unwrap();
        // A space that was put before the text stays in byte-level BPE, as in transformers.
        assert_eq!(decoded.trim_start_matches(' '), text, "{name}");
    }
}

#[test]
fn families_know_their_special_tokens_without_being_told() {
    for (name, bos, eos, pad, end) in [
        ("bart", "<s>", "</s>", Some(1), 2),
        ("t5", "", "</s>", Some(0), 1),
        ("pegasus", "", "</s>", Some(0), 1),
        ("mbart", "<s>", "</s>", Some(1), 2),
        ("llama", "<s>", "</s>", None, 2),
    ] {
        let tokenizer = tokenizer(name);
        assert_eq!(tokenizer.bos_token, bos, "{name}");
        assert_eq!(tokenizer.eos_token, eos, "{name}");
        assert_eq!(tokenizer.pad, pad, "{name}");
        assert!(tokenizer.stops.contains(&end), "{name}");
    }
    let qwen = tokenizer("qwen2");
    assert_eq!(qwen.eos_token, "<|im_end|>");
    assert_eq!(qwen.pad, qwen.token_to_id("<|endoftext|>"));
}

#[test]
fn special_tokens_have_the_places_their_families_give_them() {
    let pegasus = tokenizer("pegasus");
    for (token, id) in [
        ("<mask_1>", 2),
        ("<mask_2>", 3),
        ("<unk_2>", 4),
        ("<unk_102>", 104),
        ("<unk>", 105),
    ] {
        assert_eq!(pegasus.token_to_id(token), Some(id), "{token}");
    }
    let t5 = tokenizer("t5");
    let size = u32::try_from(t5.vocab_size()).unwrap();
    assert_eq!(t5.token_to_id("<extra_id_0>"), Some(size - 1));
    assert_eq!(t5.token_to_id("<extra_id_99>"), Some(size - 100));
    let [small, large] = ["mbart", "mbart-50"].map(tokenizer);
    assert_eq!(large.vocab_size() - small.vocab_size(), 27);
    assert_eq!(small.token_to_id("en_XX"), large.token_to_id("en_XX"));
    assert_eq!(small.token_to_id("sl_SI"), None);
}

#[test]
fn mbart_50_is_also_known_by_its_language_codes() {
    let dir = copy("mbart");
    write(
        &dir,
        "tokenizer_config.json",
        r#"{"language_codes":"ML50","src_lang":null}"#,
    );
    let fifty = Tokenizer::from_dir(dir.path()).unwrap();
    let english = fifty.token_to_id("en_XX").unwrap();
    assert_eq!(fifty.encode_source("").unwrap(), [english, 2]);
}

#[test]
fn pegasus_without_an_offset_has_the_ids_of_its_file() {
    let dir = copy("pegasus");
    write(
        &dir,
        "tokenizer_config.json",
        r#"{"offset":0,"mask_token_sent":null}"#,
    );
    let big_bird = Tokenizer::from_dir(dir.path()).unwrap();
    let [plain, moved] = [big_bird, tokenizer("pegasus")].map(|t| t.encode("a bridge").unwrap());
    assert_eq!(plain, moved.iter().map(|id| id - 103).collect::<Vec<_>>());
}

/// A copy of a fixture, to be changed.
fn copy(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

fn write(dir: &TempDir, file: &str, text: &str) {
    fs::write(dir.path().join(file), text).unwrap();
}

fn error(dir: &TempDir) -> String {
    let error = Tokenizer::from_dir(dir.path()).err().unwrap();
    let error = format!("{error:#}");
    assert!(!error.contains('\n'), "{error}");
    assert!(
        error.starts_with(&dir.path().display().to_string()),
        "{error}"
    );
    error
}

fn assert_says(dir: &TempDir, says: &str) {
    let error = error(dir);
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_family_that_is_not_known_is_an_error_that_names_the_files() {
    let dir = copy("t5");
    write(&dir, "config.json", r#"{"model_type":"xlnet"}"#);
    assert_says(
        &dir,
        "no tokenizer.json, and from spiece.model a tokenizer of model_type 'xlnet' cannot be made here; put",
    );
    // Barthez has the model type of mBART and other ids: the class decides.
    write(&dir, "config.json", r#"{"model_type":"mbart"}"#);
    write(
        &dir,
        "tokenizer_config.json",
        r#"{"tokenizer_class":"BarthezTokenizer"}"#,
    );
    assert_says(&dir, "of class 'Barthez'");

    let dir = copy("bart");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_says(
        &dir,
        "from vocab.json, merges.txt a tokenizer of unknown kind",
    );
    fs::remove_file(dir.path().join("merges.txt")).unwrap();
    write(&dir, "config.json", r#"{"model_type":"bart"}"#);
    assert_says(&dir, "from vocab.json a tokenizer");
    let empty = tempfile::tempdir().unwrap();
    assert_says(&empty, "no file that can stand in for it");
}

#[test]
fn files_that_do_not_hold_together_are_named() {
    let dir = copy("bart");
    write(&dir, "merges.txt", "#version: 0.2\nt h\nabc\n");
    assert_says(&dir, "merges.txt:3: expected two tokens, found 'abc'");
    write(&dir, "merges.txt", "t qqq\n");
    assert_says(&dir, "vocab.json and merges.txt: ");
    write(&dir, "vocab.json", r#"{"a":0,"b":0}"#);
    assert_says(&dir, "vocab.json: 2 tokens share 1 ids");
    write(&dir, "vocab.json", "[]");
    assert_says(&dir, "vocab.json: not a JSON object of tokens and ids");

    let dir = copy("gpt2");
    write(&dir, "added_tokens.json", r#"{"<|new|>":9999}"#);
    assert_says(&dir, "added token '<|new|>' is said to have the id 9999");
    let dir = copy("llama");
    write(&dir, "tokenizer_config.json", "{}");
    write(&dir, "added_tokens.json", r#"{"<|new|>":9999}"#);
    assert_says(&dir, "has the id 9999, but there are 640 tokens before it");

    let dir = copy("mbart");
    write(&dir, "tokenizer_config.json", r#"{"src_lang":"sl_SI"}"#);
    assert_says(
        &dir,
        "tokenizer_config.json: src_lang 'sl_SI' is none of ar_AR",
    );
    fs::copy(
        fixture("llama/tokenizer.model"),
        dir.path().join("sentencepiece.bpe.model"),
    )
    .unwrap();
    assert_says(&dir, "a SentencePiece model of type Bpe");
    write(
        &dir,
        "sentencepiece.bpe.model",
        "version https://git-lfs.github.com",
    );
    assert_says(
        &dir,
        "sentencepiece.bpe.model: not a SentencePiece model, or damaged: ",
    );
}

/// Loads what a change to a model's bytes makes of it; where that succeeds, the tokenizer has to work.
fn try_bytes(dir: &TempDir, file: &str, bytes: &[u8]) -> bool {
    fs::write(dir.path().join(file), bytes).unwrap();
    let Ok(tokenizer) = Tokenizer::from_dir(dir.path()) else {
        return false;
    };
    let text = "The Ｆｕｌｌ e\u{301}té, ガラス ﬁne ｶﾞ № …\u{3000}99% ½ 👍 ";
    let ids = tokenizer.encode_source(text).unwrap();
    tokenizer.decode(&ids).unwrap();
    true
}

#[test]
fn a_model_that_is_cut_short_is_an_error_or_a_smaller_model() {
    for (name, file) in [("pegasus", "spiece.model"), ("llama", "tokenizer.model")] {
        let dir = copy(name);
        let bytes = fs::read(dir.path().join(file)).unwrap();
        let loaded = (0..bytes.len()).filter(|len| try_bytes(&dir, file, &bytes[..*len]));
        // Only a cut between two pieces or after the last one leaves something whole.
        assert!(loaded.count() < 1000, "{name}");
    }
}

#[test]
fn a_model_with_a_flipped_byte_is_an_error_or_another_model() {
    for (name, file) in [
        ("mbart", "sentencepiece.bpe.model"),
        ("llama", "tokenizer.model"),
    ] {
        let dir = copy(name);
        let mut bytes = fs::read(dir.path().join(file)).unwrap();
        let mut failed = 0;
        for at in 0..bytes.len() {
            let flip = [0xff, 1 << (at / 2 % 8)][at % 2];
            bytes[at] ^= flip;
            failed += usize::from(!try_bytes(&dir, file, &bytes));
            bytes[at] ^= flip;
        }
        assert!(failed > bytes.len() / 8, "{name}: {failed}");
    }
}

//! The sentence encoder against a reference: `fixtures/encoder/minilm.json`, written by `make.py` beside it.

#[path = "common/models.rs"]
mod models;

use std::path::Path;
use std::sync::LazyLock;

use candle_core::Device;
use chapterize::chapters::embed::{ENCODER_FILES, Embedding, Encode, MiniLm, cosine};
use chapterize::engine::arch::bert::Precision;
use chapterize::registry::{self, ENCODER};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<Text>,
    /// Of texts `a` and `b`.
    cosines: Vec<(usize, usize, f32)>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    /// The first dimensions of its embedding.
    start: Vec<f32>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    serde_json::from_str(include_str!("fixtures/encoder/minilm.json")).expect("the fixture parses")
});
static MODEL: LazyLock<MiniLm> = LazyLock::new(|| load(Precision::Eight));

fn load(precision: Precision) -> MiniLm {
    let window = registry::find(ENCODER).unwrap().window;
    MiniLm::load_as(&models::files(ENCODER), window, precision, &Device::Cpu).unwrap()
}

fn encode(texts: &[&str]) -> Vec<Embedding> {
    let _turn = models::turn();
    MODEL.encode(texts, &mut |_| {}).unwrap()
}

fn texts() -> Vec<&'static str> {
    FIXTURE.texts.iter().map(|t| t.text.as_str()).collect()
}

/// The largest difference between two vectors' values.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(x, y)| (x - y).abs());
    differences.fold(0., f32::max)
}

/// How far embeddings in some precision are from the reference: in one value, and in the cosine of two texts.
fn distances(precision: Precision) -> (f32, f32) {
    let _turn = models::turn();
    let ours = load(precision).encode(&texts(), &mut |_| {}).unwrap();
    let of_values = FIXTURE.texts.iter().zip(&ours);
    let of_values = of_values.map(|(text, embedding)| distance(&text.start, embedding));
    let cosines = FIXTURE.cosines.iter();
    let of_cosines = cosines.map(|&(a, b, cos)| (cosine(&ours[a], &ours[b]) - cos).abs());
    let found = (of_values.fold(0., f32::max), of_cosines.fold(0., f32::max));
    println!(
        "{precision:?}: values within {}, cosines within {}",
        found.0, found.1
    );
    found
}

#[test]
fn embeddings_are_those_of_the_reference() {
    let (values, cosines) = distances(Precision::Full);
    assert!(values < 1e-5 && cosines < 1e-5, "{values} {cosines}");
}

#[test]
fn weights_in_8_bits_change_little() {
    let (values, cosines) = distances(Precision::Eight);
    assert!(values < 0.02 && cosines < 0.02, "{values} {cosines}");
}

#[test]
fn embeddings_have_unit_length() {
    for embedding in encode(&texts()) {
        assert_eq!(embedding.len(), 384);
        assert!((cosine(&embedding, &embedding) - 1.).abs() < 1e-5);
    }
}

#[test]
fn what_else_is_in_a_batch_does_not_change_an_embedding() {
    let (mut together, mut farthest) = (texts(), 0f32);
    // Padded to each other's length in one order and in the other, with the same text at several places.
    together.extend(texts().iter().rev());
    for (text, embedding) in together.iter().zip(encode(&together)) {
        let distance = distance(&encode(&[text])[0], &embedding);
        assert!(distance < 1e-5, "{text:?}: {distance}");
        farthest = farthest.max(distance);
    }
    println!("a batch moves an embedding by at most {farthest}");
}

#[test]
fn what_is_behind_the_window_does_not_count() {
    let long = texts().into_iter().max_by_key(|text| text.len()).unwrap();
    let longer = format!("{long} One more sentence, and quite another subject: submarines.");
    let embeddings = encode(&[long, &longer]);
    assert!(distance(&embeddings[0], &embeddings[1]) < 1e-5);
}

#[test]
fn no_text_gives_no_embedding_and_an_empty_text_gives_one() {
    assert!(encode(&[]).is_empty());
    let empty = encode(&[""]).remove(0);
    assert!((cosine(&empty, &empty) - 1.).abs() < 1e-5);
}

#[test]
fn an_encoder_comes_from_a_folder_or_says_what_is_missing_there() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder");
    let encoder = MiniLm::load_folder(&fixtures.join("multilingual"), &Device::Cpu).unwrap();
    let long = "Die Uhr geht nach. ".repeat(50);
    assert_eq!(encoder.encode(&[&long], &mut |_| {}).unwrap()[0].len(), 32);
    let error = MiniLm::load_folder(&fixtures, &Device::Cpu).err().unwrap();
    assert_eq!(
        error.to_string(),
        "has no config.json, as a sentence encoder has"
    );
}

/// Of `fixtures/encoder/multilingual/expected.json`, written by `make_multilingual.py` beside that folder.
#[derive(Deserialize)]
struct Expected {
    text: String,
    embedding: Vec<f32>,
}

#[test]
fn an_encoder_with_the_vocabulary_of_xlm_r_is_that_of_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder/multilingual");
    let files = ENCODER_FILES.map(|name| folder.join(name));
    let encoder = MiniLm::load_as(&files, 48, Precision::Full, &Device::Cpu).unwrap();
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected = serde_json::from_str::<Vec<Expected>>(&expected).unwrap();
    let texts = expected.iter().map(|e| e.text.as_str()).collect::<Vec<_>>();
    let found = encoder.encode(&texts, &mut |_| {}).unwrap();
    let distances = expected.iter().zip(&found);
    let distances = distances.map(|(expected, found)| distance(&expected.embedding, found));
    let farthest = distances.fold(0., f32::max);
    println!("of a tiny multilingual encoder: values within {farthest}");
    assert!(farthest < 1e-5, "{farthest}");
}

/// What `scripts/train_reader.py` writes: texts before and after a place, and what torch makes of them.
#[derive(Deserialize)]
struct Place {
    before: String,
    after: String,
    score: f32,
}

#[test]
fn places_read_again_have_the_scores_of_torch() {
    let places = include_str!("fixtures/encoder/reader.json");
    let places = serde_json::from_str::<Vec<Place>>(places).unwrap();
    let parts = places
        .iter()
        .map(|place| (place.before.clone(), place.after.clone()));
    let parts = parts.collect::<Vec<_>>();
    let _turn = models::turn();
    for (precision, tolerance) in [(Precision::Full, 1e-3), (Precision::Eight, 0.2)] {
        let reader = load(precision).reader().unwrap();
        let scores = reader.scores(&parts).unwrap();
        for (place, score) in places.iter().zip(scores) {
            let off = (place.score - score).abs();
            println!("{precision:?}: {score} and {}", place.score);
            assert!(off < tolerance, "{precision:?}: {off} {}", place.after);
        }
    }
}

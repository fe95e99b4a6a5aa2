//! The decoder against llama.cpp on a tiny random model in f32, past position 4,096.
//!
//! `fixtures/parity/tiny.py` writes model and reference. Nothing is quantised, so logits must agree closely; how well
//! the quantised kernels do is the business of `parity.rs`.

use std::path::Path;

use candle_core::Device;
use chapterize::engine::checkpoint::Checkpoint;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    steps: Vec<Step>,
}

/// The two best tokens of a step, best first, and their logits.
#[derive(Deserialize)]
struct Step {
    ids: [u32; 2],
    logits: [f32; 2],
}

/// The prompt of `tiny.py`.
fn prompt() -> Vec<u32> {
    (0..4200u32).map(|i| (i * i + 7 * i) / 5 % 256).collect()
}

/// Runs the reference's own tokens through the decoder, the prompt in passes of `chunk` tokens, and returns the
/// largest difference between logits.
fn farthest(chunk: usize) -> f32 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/tiny.gguf");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let (decoder, _) = checkpoint.model(&Device::Cpu).unwrap();
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/parity/tiny.json")).unwrap();
    let prompt = prompt();
    let mut cache = decoder.cache(prompt.len() + fixture.steps.len()).unwrap();
    let mut passes = prompt.chunks(chunk).collect::<Vec<_>>();
    let last = passes.pop().unwrap();
    for pass in passes {
        decoder.forward(&[pass], &mut [&mut cache]).unwrap();
    }
    let mut input = last.to_vec();
    let mut farthest = 0f32;
    for step in &fixture.steps {
        let logits = decoder.forward(&[&input], &mut [&mut cache]).unwrap();
        let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(
            logits[step.ids[0] as usize],
            largest,
            "position {}",
            cache.len()
        );
        for (id, reference) in step.ids.iter().zip(step.logits) {
            farthest = farthest.max((logits[*id as usize] - reference).abs());
        }
        input = vec![step.ids[0]];
    }
    farthest
}

#[test]
fn logits_past_position_4096_are_those_of_the_reference() {
    let farthest = farthest(512);
    println!("within {farthest}");
    assert!(farthest < 1e-3, "{farthest}");
}

#[test]
fn it_does_not_matter_in_how_many_passes_a_prompt_is_computed() {
    for chunk in [300, 1400] {
        let farthest = farthest(chunk);
        assert!(farthest < 1e-3, "passes of {chunk}: {farthest}");
    }
}

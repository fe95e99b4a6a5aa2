//! Adapters against peft and transformers, on the tiny checkpoints: added to floats and to quantised weights, to matrices that are
//! stored interleaved (GGUF) and to fused ones. `fixtures/adapters/make.py` writes adapters and reference.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use chapterize::engine::adapter::Adapter;
use chapterize::engine::checkpoint::Checkpoint;
use safetensors::SafeTensors;

#[path = "common/tiny.rs"]
mod tiny;

fn folder(family: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    fixtures.join(family)
}

/// The three rows of the reference.
fn reference(family: &str) -> Vec<Vec<f32>> {
    let bytes = fs::read(folder(family).join("reference.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("logits").unwrap();
    let (floats, _) = view.data().as_chunks::<4>();
    let floats = floats.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let floats = floats.collect::<Vec<_>>();
    floats
        .chunks(view.shape()[1])
        .map(<[f32]>::to_vec)
        .collect()
}

/// The largest difference to the reference, of a checkpoint with an adapter.
fn farthest(path: &Path, family: &str, adapted: bool) -> f32 {
    let mut checkpoint = Checkpoint::open(path).unwrap();
    if adapted {
        let adapter = Adapter::open(&folder(family)).unwrap();
        checkpoint.adapt(adapter).unwrap();
    }
    let (model, _) = checkpoint.model(&Device::Cpu).unwrap();
    let rows = [5u32, 17, 40].into_iter().zip(reference(family));
    let differences = rows.map(|(length, reference)| {
        let prompt = (0..length).map(|i| (i * i + 7 * i) / 5 % 200 + 20);
        let prompt = prompt.collect::<Vec<_>>();
        let mut cache = model.cache(prompt.len()).unwrap();
        let logits = model.forward(&[&prompt], &mut [&mut cache]).unwrap();
        let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
        tiny::relative(&logits, &reference)
    });
    differences.fold(0., f32::max)
}

#[test]
fn logits_with_an_adapter_are_those_of_peft() {
    for family in ["smollm2", "phi3"] {
        let gguf = tiny::folder(family).join("model.gguf");
        for path in [tiny::folder(family), gguf] {
            let farthest = farthest(&path, family, true);
            println!("{}: within {farthest:.1e}", path.display());
            assert!(farthest < 1e-4, "{}: {farthest}", path.display());
        }
        assert!(
            is_far_without(family),
            "{family}: the adapter changes nothing"
        );
    }
}

/// Whether logits without the adapter are far from those with it.
fn is_far_without(family: &str) -> bool {
    farthest(&tiny::folder(family), family, false) > 0.1
}

/// Why an adapter is refused by the tiny SmolLM2.
fn refusal(change: impl FnOnce(&Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder("smollm2")).unwrap().flatten() {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    change(copy.path());
    let loaded = Adapter::open(copy.path()).and_then(|adapter| {
        let mut checkpoint = Checkpoint::open(&tiny::folder("smollm2"))?;
        checkpoint.adapt(adapter)?;
        checkpoint.model(&Device::Cpu)
    });
    format!("{:#}", loaded.err().expect("an error"))
}

/// What an error says, and how to bring it about.
type Case = (&'static str, Box<dyn FnOnce(&Path)>);

#[test]
fn what_is_no_adapter_of_this_model_is_refused_in_a_line_that_says_why() {
    let other = |folder: &Path| {
        let own = self::folder("phi3").join("adapter_model.safetensors");
        fs::copy(own, folder.join("adapter_model.safetensors")).map(drop)
    };
    let setting = |folder: &Path, from: &str, to: &str| {
        let path = folder.join("adapter_config.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to))
    };
    let cases: [Case; 6] = [
        (
            "belongs to another model",
            Box::new(move |folder| other(folder).unwrap()),
        ),
        (
            "adapter_model.safetensors: cannot read",
            Box::new(|folder| fs::remove_file(folder.join("adapter_model.safetensors")).unwrap()),
        ),
        (
            "adapter_model.safetensors cannot be read",
            Box::new(|folder| fs::write(folder.join("adapter_model.safetensors"), "no").unwrap()),
        ),
        (
            "peft_type 'IA3' is not supported; LORA is",
            Box::new(move |folder| setting(folder, "\"LORA\"", "\"IA3\"").unwrap()),
        ),
        (
            "'use_dora' of true is not supported",
            Box::new(move |folder| {
                setting(folder, "\"use_dora\": false", "\"use_dora\": true").unwrap();
            }),
        ),
        (
            "adapter_config.json: ",
            Box::new(|folder| fs::write(folder.join("adapter_config.json"), "{").unwrap()),
        ),
    ];
    for (expected, change) in cases {
        let error = refusal(change);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

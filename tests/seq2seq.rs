//! Encoder-decoders against transformers, on tiny random models of every family.
//!
//! `fixtures/models/seq2seq.py` writes models and references. Weights are f32: logits must agree closely, texts exactly.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use chapterize::engine::arch::bart::{Bart, BartConfig};
use chapterize::engine::arch::seq2seq::EncoderDecoder;
use chapterize::engine::arch::t5::{T5, T5Config};
use chapterize::engine::batch::{Cache, Model, Prompt};
use chapterize::engine::checkpoint::{Checkpoint, read_json};
use chapterize::engine::generate::{Row, generate_with};
use chapterize::engine::generation::{Beams, GenerationConfig};
use chapterize::engine::sampler::Sampling;
use serde::Deserialize;
use serde_json::{Value, json};

/// What transformers makes of a model: `input` is a source, `decoder_input` a text with its start token.
#[derive(Deserialize)]
struct Reference {
    input: Vec<u32>,
    decoder_input: Vec<u32>,
    greedy: Vec<u32>,
    plain_greedy: Vec<u32>,
    beam4: Vec<u32>,
    second_input: Vec<u32>,
    second_greedy: Vec<u32>,
    second_plain_greedy: Vec<u32>,
    #[serde(default)]
    beam4_variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    settings: Value,
    ids: Vec<u32>,
}

struct Family {
    folder: PathBuf,
    model: Box<dyn Model>,
    reference: Reference,
    /// What `generation_config.json` says, and nothing else.
    settings: Value,
}

/// Tokens of every text of the references.
const LENGTH: usize = 32;

impl Family {
    fn open(name: &str) -> Self {
        Self::open_folder(folder(name))
    }

    fn open_folder(folder: PathBuf) -> Self {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        Self {
            model: checkpoint.model(&Device::Cpu).unwrap().0,
            reference: serde_json::from_value(read_json(&folder.join("reference.json")).unwrap())
                .unwrap(),
            settings: read_json(&folder.join("generation_config.json")).unwrap(),
            folder,
        }
    }

    /// The reference's settings: the checkpoint's, under others that go before them.
    fn config(&self, over: &Value) -> GenerationConfig {
        let length = json!({"max_new_tokens": LENGTH});
        GenerationConfig::from_json(&[over, &length, &self.settings]).unwrap()
    }

    fn greedy(&self) -> GenerationConfig {
        GenerationConfig {
            beams: Beams::default(),
            ..self.config(&Value::Null)
        }
    }

    fn beams(&self, over: &Value) -> GenerationConfig {
        let mut config = self.config(over);
        if over.get("num_beams").is_none() {
            config.beams.count = 4;
        }
        config
    }

    fn write(&self, sources: &[&[u32]], config: &GenerationConfig) -> Vec<Vec<u32>> {
        let row = |source: &&[u32]| Row {
            prompt: Rc::new(source.to_vec()),
            max_tokens: config.max_tokens.unwrap(),
            sampling: Sampling::greedy(),
            dictated: None,
            traced: None,
        };
        let rows = sources.iter().map(row).collect::<Vec<_>>();
        let texts = generate_with(&*self.model, &rows, config, &mut |_, _| {}).unwrap();
        texts.into_iter().map(|text| text.ids).collect()
    }

    fn begun(&self, source: &[u32], room: usize) -> (Cache, Vec<f32>) {
        let prompt = Prompt { ids: source, room };
        let mut begun = self.model.begin(&[prompt], &mut |_| {}).unwrap();
        begun.remove(0)
    }

    fn expected(&self, name: &str) -> Tensor {
        let path = self.folder.join("reference.safetensors");
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        tensors[name].to_dtype(DType::F32).unwrap()
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

/// A text of the reference without what ends it.
fn ended(ids: &[u32], config: &GenerationConfig) -> Vec<u32> {
    let text = ids.iter().take_while(|id| !config.stops.contains(id));
    text.copied().collect()
}

/// The farthest difference, relative to the largest of the reference's values.
fn difference(found: &[f32], expected: &Tensor) -> f32 {
    let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    let pairs = found.iter().zip(&expected);
    pairs.fold(0f32, |max, (a, b)| max.max((a - b).abs())) / largest
}

fn encoded(family: &Family, sources: &[&[u32]]) -> Vec<Vec<f32>> {
    let config = read_json(&family.folder.join("config.json")).unwrap();
    let weights = Checkpoint::open(&family.folder).unwrap().weights;
    let encoded = match config["model_type"].as_str().unwrap() {
        "t5" | "longt5" => {
            let config = T5Config::from_json(&config).unwrap();
            let model = T5::load(&weights, config, 0, &Device::Cpu).unwrap();
            model.encode(sources).unwrap()
        }
        _ => {
            let config = BartConfig::from_json(&config).unwrap();
            let model = Bart::load(&weights, config, 0, &Device::Cpu).unwrap();
            model.encode(sources).unwrap()
        }
    };
    encoded.to_vec2().unwrap()
}

fn encoder_output_and_logits_are_those_of_the_reference(family: &Family) {
    let reference = &family.reference;
    let encoder = encoded(family, &[&reference.input]).concat();
    let encoder = difference(&encoder, &family.expected("encoder"));
    let ids = &reference.decoder_input;
    let expected = family.expected("logits");
    let (mut step_cache, first) = family.begun(&reference.input, ids.len());
    let mut worst = difference(&first, &expected.get(0).unwrap());
    for end in 2..=ids.len() {
        let expected = expected.get(end - 1).unwrap();
        let mut compare = |tokens: &[u32], cache: &mut Cache| {
            let logits = family.model.forward(&[tokens], &mut [cache]).unwrap();
            let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
            worst = worst.max(difference(&logits, &expected));
        };
        // Token by token, and all at once behind the start token.
        compare(&ids[end - 1..end], &mut step_cache);
        compare(
            &ids[1..end],
            &mut family.begun(&reference.input, ids.len()).0,
        );
    }
    let name = family.folder.file_name().unwrap().display();
    println!("{name}: encoder within {encoder:.1e}, logits within {worst:.1e}");
    assert!(encoder < 1e-4 && worst < 1e-4);
}

fn texts_are_those_of_the_reference(family: &Family) {
    let reference = &family.reference;
    let no_rules = GenerationConfig {
        max_tokens: Some(LENGTH),
        ..GenerationConfig::default()
    };
    let greedy = family.greedy();
    for (source, plain, ruled) in [
        (&reference.input, &reference.plain_greedy, &reference.greedy),
        (
            &reference.second_input,
            &reference.second_plain_greedy,
            &reference.second_greedy,
        ),
    ] {
        assert_eq!(family.write(&[source], &no_rules), [&plain[..]]);
        assert_eq!(family.write(&[source], &greedy), [ended(ruled, &greedy)]);
    }
    let mut searches = vec![(&Value::Null, &reference.beam4)];
    searches.extend(
        reference
            .beam4_variants
            .iter()
            .map(|v| (&v.settings, &v.ids)),
    );
    for (settings, ids) in searches {
        let config = family.beams(settings);
        let found = family.write(&[&reference.input], &config);
        assert_eq!(found, [ended(ids, &config)], "{settings}");
    }
}

fn texts_in_a_batch_equal_themselves_alone(family: &Family) {
    let (a, b) = (&family.reference.input, &family.reference.second_input);
    let greedy = family.greedy();
    for config in [greedy, family.beams(&Value::Null)] {
        let together = family.write(&[a, b, a], &config);
        let alone = [a, b].map(|source| family.write(&[source], &config).remove(0));
        assert_eq!(together, [&*alone[0], &alone[1], &alone[0]]);
    }
    // Not the texts alone, but the numbers they come from, up to how products of one row and of several are rounded.
    let mut worst = 0f32;
    let mut compare = |together: &[f32], alone: Vec<f32>| {
        let alone = Tensor::new(alone, &Device::Cpu).unwrap();
        worst = worst.max(difference(together, &alone));
    };
    let alone = [a, b, a].map(|source| encoded(family, &[source]).concat());
    compare(&encoded(family, &[a, b, a]).concat(), alone.concat());
    let prompts = [a, b, a].map(|ids| Prompt { ids, room: 1 });
    let together = family.model.begin(&prompts, &mut |_| {}).unwrap();
    for ((_, logits), source) in together.iter().zip([a, b, a]) {
        compare(logits, family.begun(source, 1).1);
    }
    println!("in a batch within {worst:.1e} of alone");
    assert!(worst < 1e-6);
}

macro_rules! families {
    ($($name:ident: $folder:literal)*) => {$(
        #[test]
        fn $name() {
            let family = Family::open($folder);
            encoder_output_and_logits_are_those_of_the_reference(&family);
            texts_are_those_of_the_reference(&family);
            texts_in_a_batch_equal_themselves_alone(&family);
        }
    )*};
}

families! {
    t5_is_that_of_the_reference: "t5"
    flan_t5_is_that_of_the_reference: "flan-t5"
    longt5_is_that_of_the_reference: "longt5"
    longt5_with_sums_of_blocks_is_that_of_the_reference: "longt5-global"
    bart_is_that_of_the_reference: "bart"
    distilbart_is_that_of_the_reference: "distilbart"
    mbart_is_that_of_the_reference: "mbart"
    pegasus_is_that_of_the_reference: "pegasus"
}

#[test]
fn names_may_lack_the_prefix_of_the_whole_model() {
    let original = Family::open("distilbart");
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "reference.json"] {
        fs::copy(original.folder.join(name), copy.path().join(name)).unwrap();
    }
    let file = "model.safetensors";
    let weights = candle_core::safetensors::load(original.folder.join(file), &Device::Cpu).unwrap();
    let renamed = weights.into_iter().map(|(name, weight)| {
        let name = name.strip_prefix("model.").map(str::to_string);
        (name.unwrap(), weight)
    });
    candle_core::safetensors::save(&renamed.collect(), copy.path().join(file)).unwrap();
    let renamed = Family::open_folder(copy.path().into());
    let source = &original.reference.input[..];
    let config = original.greedy();
    assert_eq!(
        renamed.write(&[source], &config),
        original.write(&[source], &config)
    );
}

#[test]
fn a_checkpoint_that_does_not_say_how_texts_begin_is_named() {
    let original = folder("t5");
    let copy = tempfile::tempdir().unwrap();
    fs::copy(
        original.join("model.safetensors"),
        copy.path().join("model.safetensors"),
    )
    .unwrap();
    let mut config = read_json(&original.join("config.json")).unwrap();
    config
        .as_object_mut()
        .unwrap()
        .remove("decoder_start_token_id");
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    let checkpoint = Checkpoint::open(copy.path()).unwrap();
    let error = checkpoint.model(&Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("decoder_start_token_id"), "{error}");
    assert!(
        error.contains(&copy.path().display().to_string()),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

//! Every family of decoders against the reference implementation, on tiny random checkpoints.
//!
//! `fixtures/models/make.py` writes the checkpoints with transformers and what it makes of them, and the same weights as
//! GGUF with what llama.cpp makes of those. Everything is f32, so nothing blurs the comparison.

#[path = "common/tiny.rs"]
mod tiny;

use chapterize::engine::batch::Model;
use tiny::{Gguf, Reference, folder, generate_all, load, relative, values};

const FAMILIES: [&str; 11] = [
    "llama",
    "smollm2",
    "smollm3",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma3",
    "phi3",
    "phi3-short",
    "granite",
    "olmo2",
];
/// How far logits may be from the reference, relative to its largest.
const CLOSE: f32 = 1e-4;

/// The logits after each token from `from` on, where the text before it goes in at once.
fn logits(model: &dyn Model, ids: &[u32], from: usize, room: usize) -> Vec<Vec<f32>> {
    let mut cache = model.cache(ids.len() + room).unwrap();
    if from > 0 {
        model.forward(&[&ids[..from]], &mut [&mut cache]).unwrap();
    }
    let mut step = |id: &u32| {
        let logits = model.forward(&[&[*id]], &mut [&mut cache]).unwrap();
        logits.squeeze(0).unwrap().to_vec1().unwrap()
    };
    ids[from..].iter().map(&mut step).collect()
}

#[test]
fn logits_are_those_of_transformers() {
    for family in FAMILIES {
        let model = load(&folder(family));
        let reference = Reference::of(family);
        let expected = values(family, "logits");
        let room = reference.greedy.len();
        let mut worst = 0f32;
        // Token by token, and with prompts of several lengths in one pass.
        for from in [0, 1, 17, reference.input.len() - 1] {
            let found = logits(&*model, &reference.input, from, room);
            for (found, expected) in found.iter().zip(&expected[from..]) {
                worst = worst.max(relative(found, expected));
            }
        }
        println!("{family}: {worst:.1e} of transformers");
        assert!(worst < CLOSE, "{family}: {worst}");
    }
}

#[test]
fn pytorch_files_hold_the_same_model() {
    for family in ["qwen2", "distilbart"] {
        let prompt = Reference::of(family).input;
        let texts = [family.to_string(), format!("{family}-torch")].map(|name| {
            let model = load(&folder(&name));
            generate_all(&*model, &[&prompt], 16)
        });
        assert_eq!(texts[0], texts[1], "{family}");
    }
}

#[test]
fn logits_past_position_4096_are_those_of_transformers() {
    for family in ["smollm2", "gemma3"] {
        let model = load(&folder(family));
        let expected = values(family, "far_logits");
        let vocab = expected[0].len() as u32;
        let ids = (0..4200u32)
            .map(|i| (i * i + 7 * i) / 5 % vocab)
            .collect::<Vec<_>>();
        let found = logits(&*model, &ids, ids.len() - expected.len(), 0);
        let differences = found.iter().zip(&expected).map(|(a, b)| relative(a, b));
        let worst = differences.fold(0., f32::max);
        println!("{family}: {worst:.1e} of transformers at position 4,200");
        assert!(worst < CLOSE, "{family}: {worst}");
    }
}

#[test]
fn greedy_texts_are_those_of_transformers_alone_and_in_a_batch() {
    for family in FAMILIES {
        let model = load(&folder(family));
        let Reference {
            input,
            greedy,
            second_input,
            second_greedy,
            ..
        } = Reference::of(family);
        assert!(greedy.len() >= 32, "{family}");
        let alone = generate_all(&*model, &[&input], greedy.len());
        assert_eq!(alone[0], greedy, "{family}");
        let alone = generate_all(&*model, &[&second_input], greedy.len());
        assert_eq!(alone[0], second_greedy, "{family}");
        let batch = generate_all(&*model, &[&input, &second_input, &input], greedy.len());
        assert_eq!(batch, [greedy.clone(), second_greedy, greedy], "{family}");
    }
}

#[test]
fn a_row_of_a_batch_has_the_logits_it_has_alone() {
    for family in FAMILIES {
        let model = load(&folder(family));
        let Reference {
            input,
            second_input,
            ..
        } = Reference::of(family);
        let forward = |rows: &[&[u32]]| {
            let mut caches = rows
                .iter()
                .map(|_| model.cache(input.len() + 1).unwrap())
                .collect::<Vec<_>>();
            let mut caches = caches.iter_mut().collect::<Vec<_>>();
            let first = model.forward(rows, &mut caches).unwrap();
            let next = vec![&[7u32][..]; rows.len()];
            let second = model.forward(&next, &mut caches).unwrap();
            (
                first.to_vec2::<f32>().unwrap(),
                second.to_vec2::<f32>().unwrap(),
            )
        };
        let (first, second) = forward(&[&input, &second_input, &input]);
        for (i, row) in [&input, &second_input, &input].into_iter().enumerate() {
            let (alone, then) = forward(&[row]);
            for (batch, alone) in [(&first[i], &alone[0]), (&second[i], &then[0])] {
                let difference = relative(batch, alone);
                assert!(difference < 1e-5, "{family}, row {i}: {difference}");
            }
        }
    }
}

#[test]
fn gguf_files_of_the_same_weights_give_what_llama_cpp_gives() {
    for family in FAMILIES {
        let path = folder(family).join("model.gguf");
        let model = load(&path);
        let Gguf { steps, last_logits } = Gguf::of(family);
        let mut input = Reference::of(family).input;
        let mut cache = model.cache(input.len() + steps.len()).unwrap();
        let mut worst = 0f32;
        for (i, step) in steps.iter().enumerate() {
            let logits = model.forward(&[&input], &mut [&mut cache]).unwrap();
            let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
            if i == 0 {
                worst = relative(&logits, &last_logits);
                // Transformers, told to do as llama.cpp where that does not know all of the configuration.
                let theirs = tiny::try_values(family, "llama_cpp_logits")
                    .unwrap_or_else(|| values(family, "logits"));
                let difference = relative(&logits, &theirs[theirs.len() - 1]);
                println!("{family} from GGUF: {difference:.1e} of transformers");
                assert!(difference < CLOSE, "{family} from GGUF: {difference}");
            }
            let best = step.ids.map(|id| logits[id as usize]);
            let largest = last_logits.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (found, expected) in best.iter().zip(step.logits) {
                worst = worst.max((found - expected).abs() / largest);
            }
            let top = logits.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(best[0], top, "{family}, step {i}");
            input = vec![step.ids[0]];
        }
        println!("{family} from GGUF: {worst:.1e} of llama.cpp");
        // llama.cpp looks GELU up in a table of 16 bits.
        let close = if family == "gemma3" { 3e-3 } else { CLOSE };
        assert!(worst < close, "{family}: {worst}");
    }
}

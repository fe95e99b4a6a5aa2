//! The engine against llama.cpp on the starter model and on Gemma 3: the same prompts, token ids and greedy answers.
//!
//! The references are in `fixtures/parity`, written by `make.py` there. Both sides quantise activations to
//! 8 bits, llama.cpp with scales in f16 and this program with scales in f32, so logits differ slightly.

#[path = "common/models.rs"]
mod models;

use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::LazyLock;

use candle_core::Device;
use chapterize::engine::batch::Model;
use chapterize::engine::checkpoint::Checkpoint;
use chapterize::engine::generate::{Row, generate};
use chapterize::engine::gguf::Gguf;
use chapterize::engine::sampler::Sampling;
use chapterize::engine::template::{ChatTemplate, Message};
use chapterize::engine::tokenizer::Tokenizer;
use chapterize::registry::{self, ModelSpec, STARTER};
use serde::Deserialize;

/// Where llama.cpp's own two best logits are nearer than this, either token will do.
const TIE: f32 = 1e-2;

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<Text>,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Prompt {
    system: Option<String>,
    user: String,
    prompt: String,
    ids: Vec<u32>,
    steps: Vec<Step>,
}

/// The two best tokens of a step, best first, and their logits.
#[derive(Deserialize)]
struct Step {
    ids: [u32; 2],
    logits: [f32; 2],
}

/// A checkpoint and what llama.cpp makes of it.
struct Case {
    fixture: Fixture,
    path: PathBuf,
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
}

impl Case {
    fn new(fixture: &str, spec: &ModelSpec) -> Self {
        let path = models::files_of(spec).swap_remove(0);
        let checkpoint = Checkpoint::open(&path).unwrap();
        Self {
            fixture: serde_json::from_str(fixture).expect("the fixture parses"),
            model: checkpoint.model(&Device::Cpu).unwrap().0,
            tokenizer: checkpoint.tokenizer().unwrap(),
            path,
        }
    }
}

static SMOLLM2: LazyLock<Case> = LazyLock::new(|| {
    let spec = registry::find(STARTER).unwrap();
    Case::new(include_str!("fixtures/parity/smollm2.json"), &spec)
});
static GEMMA3: LazyLock<Case> = LazyLock::new(|| {
    let spec = ModelSpec::from_toml(include_str!("fixtures/parity/gemma3.toml")).unwrap();
    Case::new(include_str!("fixtures/parity/gemma3.json"), &spec)
});

fn cases() -> [(&'static str, &'static Case); 2] {
    [("smollm2", &SMOLLM2), ("gemma3", &GEMMA3)]
}

#[test]
fn the_chat_template_gives_the_prompts_of_the_reference() {
    let gguf = Gguf::open(&SMOLLM2.path).unwrap();
    let template = ChatTemplate::from_gguf(&gguf, &SMOLLM2.tokenizer).unwrap();
    for prompt in &SMOLLM2.fixture.prompts {
        let message = |role, content| Message { role, content };
        let system = prompt.system.as_deref().map(|text| message("system", text));
        let messages = system.into_iter().chain([message("user", &prompt.user)]);
        let rendered = template.render(&messages.collect::<Vec<_>>()).unwrap();
        assert_eq!(rendered, prompt.prompt);
    }
}

#[test]
fn the_tokenizer_gives_the_ids_of_the_reference() {
    for (name, case) in cases() {
        let prompts = case.fixture.prompts.iter().map(|p| (&p.prompt, &p.ids));
        let texts = case.fixture.texts.iter().map(|t| (&t.text, &t.ids));
        for (text, ids) in prompts.chain(texts) {
            assert_eq!(
                case.tokenizer.encode(text).unwrap(),
                *ids,
                "{name}: {text:?}"
            );
        }
    }
}

/// Feeds llama.cpp's own tokens, so that every step is compared even after one that differs.
#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "rounds activations otherwise than the reference; tests/tiny.rs compares without rounding"
)]
fn after_every_token_of_the_reference_the_best_next_one_is_the_same() {
    let _turn = models::turn();
    for (name, case) in cases() {
        let (mut steps, mut ties, mut farthest) = (0, 0, 0f32);
        for (number, prompt) in case.fixture.prompts.iter().enumerate() {
            let room = prompt.ids.len() + prompt.steps.len();
            let mut cache = case.model.cache(room).unwrap();
            let mut input = prompt.ids.clone();
            for (place, step) in prompt.steps.iter().enumerate() {
                let logits = case.model.forward(&[&input], &mut [&mut cache]).unwrap();
                let logits = logits.squeeze(0).unwrap().to_vec1::<f32>().unwrap();
                let ours = best(&logits);
                if ours != step.ids[0] {
                    ties += 1;
                    let difference = describe(name, number, place, step, ours, &logits);
                    assert!(is_tie(step), "{difference}");
                }
                for (id, logit) in step.ids.iter().zip(step.logits) {
                    farthest = farthest.max((logits[*id as usize] - logit).abs());
                }
                steps += 1;
                input = vec![step.ids[0]];
            }
        }
        println!("{name}: {steps} tokens compared, {ties} ties, logits within {farthest}");
    }
}

#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "rounds activations otherwise than the reference; tests/tiny.rs compares without rounding"
)]
fn greedy_answers_are_those_of_the_reference() {
    let _turn = models::turn();
    for (name, case) in cases() {
        let mut compared = 0;
        for (number, prompt) in case.fixture.prompts.iter().enumerate() {
            let row = Row {
                prompt: Rc::new(prompt.ids.clone()),
                max_tokens: prompt.steps.len(),
                sampling: Sampling::greedy(),
                dictated: None,
                traced: None,
            };
            let answers = generate(&*case.model, &[row], &HashSet::new(), &mut |_, _| {}).unwrap();
            assert_eq!(answers[0].len(), prompt.steps.len());
            for (place, (step, ours)) in prompt.steps.iter().zip(&answers[0]).enumerate() {
                if *ours != step.ids[0] {
                    let difference = describe(name, number, place, step, *ours, &[]);
                    assert!(is_tie(step), "{difference}");
                    break;
                }
                compared += 1;
            }
        }
        println!("{name}: {compared} tokens equal");
    }
}

fn is_tie(step: &Step) -> bool {
    step.logits[0] - step.logits[1] <= TIE
}

/// The first of the largest.
fn best(logits: &[f32]) -> u32 {
    let order = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
    let best = logits.iter().enumerate().max_by(order);
    best.map_or(0, |(id, _)| id as u32)
}

fn describe(
    name: &str,
    prompt: usize,
    place: usize,
    step: &Step,
    ours: u32,
    logits: &[f32],
) -> String {
    let logit = |id: u32| logits.get(id as usize);
    format!(
        "{name}, prompt {prompt}, step {place}: llama.cpp writes {} (logit {}, next {} with {}), this program {ours}; \
         its logits of these three: {:?} {:?} {:?}",
        step.ids[0],
        step.logits[0],
        step.ids[1],
        step.logits[1],
        logit(step.ids[0]),
        logit(step.ids[1]),
        logit(ours),
    )
}

//! A row's text depends on nothing but the row: with the starter model, rows in a batch equal themselves alone.

#[path = "common/models.rs"]
mod models;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::LazyLock;

use candle_core::Device;
use chapterize::engine::Engine;
use chapterize::engine::checkpoint::Checkpoint;
use chapterize::engine::generate::{Row, generate, generate_with};
use chapterize::engine::generation::GenerationConfig;
use chapterize::engine::sampler::Sampling;
use chapterize::registry::STARTER;
use chapterize::summarize::{Llm, Request};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::load(&models::files(STARTER)[0], &Device::Cpu).unwrap());

const SHORT: &str = "Why does a clock stop?";
const LONG: &str = "The bridge was closed in May because two of its nine cables had lost a third of their strength. \
    The ferry that ran until November cost most of the money. Write a title for this.";

fn request(user: &str, sampling: Sampling) -> Request {
    Request {
        system: None,
        user: user.into(),
        answer_start: String::new(),
        refusal: None,
        max_tokens: 24,
        dictated: None,
        probe: None,
        sampling,
    }
}

fn greedy(user: &str) -> Request {
    request(user, Sampling::greedy())
}

fn sampled(user: &str, seed: u64) -> Request {
    let sampling = Sampling {
        temperature: 0.7,
        top_p: 0.9,
        seed,
        ..Sampling::greedy()
    };
    request(user, sampling)
}

fn answers(requests: &[Request]) -> Vec<String> {
    let _turn = models::turn();
    let answers = ENGINE.generate(requests, &mut |_, _| {}).unwrap();
    answers.into_iter().map(|answer| answer.text).collect()
}

/// Answers the requests together, after having checked that each alone is answered the same.
fn same_alone(requests: &[Request]) -> Vec<String> {
    let together = answers(requests);
    for (i, (request, answer)) in requests.iter().zip(&together).enumerate() {
        let alone = answers(std::slice::from_ref(request));
        assert_eq!(alone, [answer.as_str()], "request {i}");
    }
    together
}

#[test]
fn rows_of_unequal_length_equal_themselves_alone() {
    let answers = same_alone(&[greedy(SHORT), greedy(LONG), greedy(SHORT)]);
    assert_eq!(answers[0], answers[2]);
    assert_ne!(answers[0], answers[1]);
}

#[test]
fn sampled_rows_equal_themselves_alone() {
    // Six rows: a group of four and two single ones for the kernels, with rows that end early.
    let mut requests = [1, 2, 3].map(|seed| sampled(SHORT, seed)).to_vec();
    requests.extend([1, 2].map(|seed| sampled(LONG, seed)));
    requests.push(Request {
        max_tokens: 5,
        ..sampled(SHORT, 4)
    });
    let answers = same_alone(&requests);
    let distinct = answers.iter().collect::<HashSet<_>>();
    assert!(distinct.len() > 3, "seeds make a difference: {answers:?}");
}

#[test]
fn a_prompt_computed_in_several_passes_equals_itself_alone() {
    let long = format!("{}\n\n{LONG}", LONG.repeat(14));
    assert!(ENGINE.count(&long) > 512, "{}", ENGINE.count(&long));
    same_alone(&[greedy(SHORT), greedy(&long), sampled(&long, 1)]);
}

#[test]
fn rows_that_share_a_prompt_equal_rows_that_do_not() {
    let checkpoint = Checkpoint::open(&models::files(STARTER)[0]).unwrap();
    let (decoder, _) = checkpoint.model(&Device::Cpu).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    let prompt = Rc::new(tokenizer.encode(LONG).unwrap());
    let rows = |share: bool| {
        // The third row wants more room than the first one's cache has, the others do not.
        let row = |(seed, max_tokens)| Row {
            prompt: match share {
                true => prompt.clone(),
                false => Rc::new(prompt.to_vec()),
            },
            max_tokens,
            sampling: sampled("", seed).sampling,
            dictated: None,
            traced: None,
        };
        [(1, 12), (2, 12), (3, 24), (4, 6)].map(row)
    };
    let _turn = models::turn();
    let run = |rows: &[Row]| generate(&*decoder, rows, &HashSet::new(), &mut |_, _| {}).unwrap();
    let shared = run(&rows(true));
    assert_eq!(shared, run(&rows(false)));
    let lengths = shared.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths, [12, 12, 24, 6]);
    for (row, shared) in rows(true).into_iter().zip(shared) {
        assert_eq!(run(&[row]), [shared]);
    }
}

#[test]
fn what_is_dictated_is_weighed_as_if_it_were_written() {
    let checkpoint = Checkpoint::open(&models::files(STARTER)[0]).unwrap();
    let (decoder, _) = checkpoint.model(&Device::Cpu).unwrap();
    let prompt = Rc::new(checkpoint.tokenizer().unwrap().encode(LONG).unwrap());
    let row = |dictated: Option<Vec<u32>>, traced| Row {
        prompt: prompt.clone(),
        max_tokens: 12,
        sampling: Sampling::greedy(),
        dictated: dictated.map(Rc::new),
        traced,
    };
    let _turn = models::turn();
    let config = GenerationConfig::plain(HashSet::new());
    let run = |rows: &[Row]| generate_with(&*decoder, rows, &config, &mut |_, _| {}).unwrap();
    let written = run(&[row(None, Some(21))]).remove(0);
    assert_eq!(written.surprise, None);
    let ids = written.ids.clone();
    let backwards = ids.iter().rev().copied().collect::<Vec<_>>();
    let [same, other, untraced] = &run(&[
        row(Some(ids.clone()), Some(21)),
        row(Some(backwards.clone()), Some(20)),
        row(Some(ids.clone()), None),
    ])[..] else {
        panic!("three rows, three texts");
    };
    assert_eq!((&same.ids, &other.ids), (&ids, &backwards));
    assert_eq!((same.doubt, &same.state), (written.doubt, &written.state));
    assert_eq!(same.state.as_ref().unwrap().len(), 576);
    assert_ne!(same.state, other.state);
    assert_eq!(untraced.state, None);
    assert!(same.surprise < other.surprise);
    assert_eq!(same.surprise, untraced.surprise);
}

#[test]
fn progress_ends_at_its_total() {
    let _turn = models::turn();
    let mut seen = Vec::new();
    let requests = [sampled(SHORT, 1), sampled(SHORT, 2), greedy(LONG)];
    let mut progress = |done, total| seen.push((done, total));
    ENGINE.generate(&requests, &mut progress).unwrap();
    assert!(seen.is_sorted());
    let (done, total) = seen[seen.len() - 1];
    assert_eq!(done, total);
}

#[test]
fn a_prompt_that_does_not_fit_the_window_is_an_error_with_both_numbers() {
    let request = greedy(&"clock ".repeat(9000));
    let error = ENGINE.generate(&[request], &mut |_, _| {}).unwrap_err();
    let error = error.to_string();
    let numbers = error
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<usize>().ok())
        .collect::<Vec<_>>();
    assert!(numbers.contains(&8192), "{error}");
    assert!(numbers.iter().any(|n| *n > 9000), "{error}");
}

#[test]
fn no_request_gets_no_answer() {
    assert!(answers(&[]).is_empty());
}

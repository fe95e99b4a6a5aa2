//! How fast a model reads and writes here: what `chapterize bench` measures.
//!
//! The figures are those of llama.cpp's `llama-bench`, and taken as there: prompts of a fixed length, so many tokens after
//! them without a stop, one round to warm up, then mean and standard deviation over rounds. Unlike there, prompts are real
//! text, and the tokens written are kept: two devices that do not write the same are not doing the same work.

pub mod agreement;
pub mod csv;
pub mod environment;
pub mod markdown;
pub mod report;
pub mod stats;
pub mod svg;

use std::path::Path;
use std::slice;
use std::time::Instant;

use anyhow::{Result, ensure};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use self::stats::Figure;
use crate::chapters::{Count, Levels};
use crate::engine::batch::{Model, Prompt};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::rules::Rules;
use crate::engine::sampler::{Sampler, Sampling};
use crate::engine::tokenizer::Tokenizer;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::reading::Effort;
use crate::summarize::{self, Models, Options};
use crate::transcript;

/// The built-in example: what prompts are cut from, and what is summarised from end to end.
const EXAMPLE: &str = include_str!("../examples/interview.txt");

/// How much is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Tokens of a prompt.
    pub prompt: usize,
    /// Tokens written after each.
    pub write: usize,
    /// How many sequences run at once, one measurement each.
    pub batches: Vec<usize>,
    /// Rounds measured, after one that is not.
    pub repetitions: usize,
}

/// What was measured of one batch size. Tokens per second count all sequences.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    pub batch: usize,
    /// Seconds from the files on disk to a model that can be used; of the checkpoint, so the same for all batch sizes.
    pub load_s: f64,
    /// Seconds from the files on disk to the first token of the first prompt, before anything is warm; likewise.
    pub cold_start_s: f64,
    /// Seconds from one prompt to its first token; likewise.
    pub ttft_s: f64,
    pub prefill_tps: Figure,
    pub decode_tps: Figure,
    /// Seconds of a round: prompts and what is written after them.
    pub total_s: f64,
    /// The ids written, per sequence: the first of the prefill and one per step.
    pub tokens: Vec<Vec<u32>>,
}

/// Loads the checkpoint in `path` (see [`Checkpoint::open`]) and measures every batch size, from the smallest;
/// `each` is called with every result as soon as it is known, before it with the type most weights are stored in.
///
/// Errors: a checkpoint that cannot be loaded, or sizes that do not fit its window.
pub fn measure(
    path: &Path,
    device: &Device,
    sizes: &Sizes,
    each: &mut dyn FnMut(&str, Speed) -> Result<()>,
) -> Result<()> {
    let clock = Instant::now();
    let checkpoint = Checkpoint::open(path)?;
    let tokenizer = checkpoint.tokenizer()?;
    let (model, window) = checkpoint.model(device)?;
    device.synchronize()?;
    let load_s = clock.elapsed().as_secs_f64();
    let dtype = checkpoint.weights.quantization();
    check_window(sizes, window, checkpoint.generation().is_some())?;
    let mut batches = sizes.batches.clone();
    batches.sort_unstable();
    batches.dedup();
    let most = batches.last().copied().unwrap_or(1);
    let prompts = prompts(&tokenizer, most, sizes.prompt)?;
    let cold_start_s = load_s + round(&*model, &prompts[..1], 0)?.prefill_s;
    let mut ttft_s = None;
    if batches.first() != Some(&1) {
        let rounds = rounds(&*model, &prompts[..1], 0, sizes.repetitions)?;
        ttft_s = Some(stats::mean(&seconds(&rounds, |round| round.prefill_s)));
    }
    for batch in batches {
        let rounds = rounds(&*model, &prompts[..batch], sizes.write, sizes.repetitions)?;
        let prefill_s = seconds(&rounds, |round| round.prefill_s);
        let speed = Speed {
            batch,
            load_s,
            cold_start_s,
            ttft_s: *ttft_s.get_or_insert_with(|| stats::mean(&prefill_s)),
            prefill_tps: Figure::of_rates(batch * sizes.prompt, &prefill_s),
            decode_tps: Figure::of_rates(
                batch * sizes.write,
                &seconds(&rounds, |round| round.decode_s),
            ),
            total_s: stats::mean(&seconds(&rounds, |round| round.prefill_s + round.decode_s)),
            tokens: rounds.into_iter().next().unwrap_or_default().tokens,
        };
        each(&dtype, speed)?;
    }
    Ok(())
}

/// A decoder's window holds prompt and answer together, that of an encoder-decoder each alone.
fn check_window(sizes: &Sizes, window: usize, encoder_decoder: bool) -> Result<()> {
    let Sizes { prompt, write, .. } = *sizes;
    let need = match encoder_decoder {
        true => prompt.max(write + 1),
        false => prompt + write,
    };
    ensure!(
        need <= window,
        "--prompt {prompt} and --write {write} do not fit the model's window of {window} tokens; ask for less"
    );
    Ok(())
}

/// Whether a vocabulary has tokens for text. One that was made up, for a file to measure with, may have none.
pub fn spells(tokenizer: &Tokenizer) -> Result<bool> {
    Ok(tokenizer.encode(EXAMPLE)?.len() > tokenizer.encode("")?.len())
}

/// So many prompts of `length` tokens, cut from the example one after another, and from its beginning again at its end.
/// A vocabulary that cannot spell it gives tokens from all over itself instead.
fn prompts(tokenizer: &Tokenizer, count: usize, length: usize) -> Result<Vec<Vec<u32>>> {
    // What the checkpoint wants before every text, if anything.
    let start = tokenizer.encode("")?;
    let text = match spells(tokenizer)? {
        true => tokenizer.encode(EXAMPLE)?.split_off(start.len()),
        false => scattered(tokenizer.base_size()),
    };
    let own = length.saturating_sub(start.len());
    let mut stream = text.iter().cycle();
    let mut prompt = || {
        let ids = start.iter().chain(stream.by_ref().take(own));
        ids.take(length).copied().collect()
    };
    Ok((0..count).map(|_| prompt()).collect())
}

/// All ids below `size`, neighbours far from each other: a prime makes the steps.
fn scattered(size: usize) -> Vec<u32> {
    let ids = (0..size as u64).map(|i| i * 7919 % size as u64);
    ids.map(|id| id as u32).collect()
}

/// One time through.
#[derive(Default)]
struct Round {
    prefill_s: f64,
    decode_s: f64,
    tokens: Vec<Vec<u32>>,
}

/// A round to warm up, which is dropped, and those that count.
fn rounds(
    model: &dyn Model,
    prompts: &[Vec<u32>],
    write: usize,
    repetitions: usize,
) -> Result<Vec<Round>> {
    let all = (0..=repetitions).map(|_| round(model, prompts, write));
    let mut all = all.collect::<Result<Vec<_>>>()?;
    all.remove(0);
    Ok(all)
}

fn seconds(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(of).collect()
}

/// Reads the prompts, then runs `write` steps of one token in each, the likeliest always.
fn round(model: &dyn Model, prompts: &[Vec<u32>], write: usize) -> Result<Round> {
    let begin = |ids| Prompt {
        ids,
        // An encoder-decoder's start token takes a place too.
        room: write + 1,
    };
    let prompts = prompts.iter().map(|ids| begin(ids)).collect::<Vec<_>>();
    let mut sampler = Sampler::new(Sampling::greedy(), &[], Rules::default(), write + 1);
    let mut greedy = |logits: &mut Vec<f32>| sampler.next(logits, &[]);

    let clock = Instant::now();
    let (mut caches, mut logits): (Vec<_>, Vec<_>) =
        model.begin(&prompts, &mut |_| {})?.into_iter().unzip();
    let mut next = logits.iter_mut().map(&mut greedy).collect::<Vec<_>>();
    let prefill_s = clock.elapsed().as_secs_f64();

    let mut tokens = next.iter().map(|&id| vec![id]).collect::<Vec<_>>();
    let mut caches = caches.iter_mut().collect::<Vec<_>>();
    let clock = Instant::now();
    for _ in 0..write {
        let rows = next.iter().map(slice::from_ref).collect::<Vec<_>>();
        let mut logits = model.forward(&rows, &mut caches)?.to_vec2::<f32>()?;
        next = logits.iter_mut().map(&mut greedy).collect();
        for (sequence, id) in tokens.iter_mut().zip(&next) {
            sequence.push(*id);
        }
    }
    let decode_s = clock.elapsed().as_secs_f64();
    Ok(Round {
        prefill_s,
        decode_s,
        tokens,
    })
}

/// Seconds that the pipeline takes for the example, from its text to chapters with titles and summaries, and the seconds
/// that would be for an hour of it. Nothing is loaded in this time.
pub fn end_to_end(models: &Models, style: &Style) -> Result<(f64, f64)> {
    let transcript = transcript::parse("interview.txt", EXAMPLE.as_bytes(), None)?;
    let hours = transcript.duration().unwrap_or_default() / 3600.;
    ensure!(hours > 0., "the built-in example has no times");
    let options = Options {
        count: Count::Auto,
        levels: Levels::One,
        seed: 0,
        // As `summarize` has it.
        temperature: 0.3,
        style: style.clone(),
        effort: Effort::Balanced,
        language: None,
    };
    let clock = Instant::now();
    summarize::summarize(transcript, models, &options, Progress::hidden())?;
    let seconds = clock.elapsed().as_secs_f64();
    Ok((seconds, seconds / hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(prompt: usize, write: usize) -> Sizes {
        Sizes {
            prompt,
            write,
            batches: vec![1],
            repetitions: 1,
        }
    }

    #[test]
    fn sizes_that_do_not_fit_the_window_are_refused() {
        assert!(check_window(&sizes(96, 32), 128, false).is_ok());
        let error = check_window(&sizes(97, 32), 128, false).unwrap_err();
        let text = "--prompt 97 and --write 32 do not fit the model's window of 128 tokens";
        assert!(error.to_string().starts_with(text), "{error}");
        // Prompt and answer have a window each.
        assert!(check_window(&sizes(128, 127), 128, true).is_ok());
        assert!(check_window(&sizes(128, 128), 128, true).is_err());
    }

    fn tiny() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama")
    }

    #[test]
    fn prompts_are_the_example_from_front_to_back_and_again() {
        let tokenizer = Checkpoint::open(&tiny()).unwrap().tokenizer().unwrap();
        let text = tokenizer.encode(EXAMPLE).unwrap();
        let start = tokenizer.encode("").unwrap().len();
        let length = start + text.len() / 3 + 1;
        let prompts = prompts(&tokenizer, 4, length).unwrap();
        let read = prompts.iter().flat_map(|prompt| &prompt[start..]);
        let twice = text[start..].iter().chain(&text[start..]);
        assert!(prompts.iter().all(|prompt| prompt.len() == length));
        assert!(read.zip(twice).all(|(a, b)| a == b));
    }

    #[test]
    fn ids_for_a_vocabulary_without_text_are_all_there_are() {
        let mut ids = scattered(1000);
        assert_eq!(ids[..3], [0, 919, 838]);
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..1000));
    }

    #[test]
    fn a_sequence_is_the_same_alone_and_among_others() {
        let sizes = Sizes {
            batches: vec![3, 1, 3],
            ..sizes(20, 6)
        };
        let mut found = Vec::new();
        let mut keep = |dtype: &str, speed: Speed| {
            assert_eq!(dtype, "F32");
            found.push((speed.batch, speed.tokens));
            Ok(())
        };
        measure(&tiny(), &Device::Cpu, &sizes, &mut keep).unwrap();
        let [(1, one), (3, three)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(one[0], three[0]);
        assert_ne!(three[0], three[1]);
        assert!(three.iter().all(|sequence| sequence.len() == 7));
    }
}

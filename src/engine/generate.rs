//! The decode loop: requests in, texts out, many rows at a time.
//!
//! Rows that share a prompt (candidates for one chapter) compute it once and fork its cache. Rows run in waves
//! whose caches fit a budget of memory; within a wave every step runs the weights once for all rows.

use std::collections::HashSet;
use std::rc::Rc;

use anyhow::{Result, ensure};
use candle_core::D;

use super::batch::{Cache, Model};
use super::sampler::{Sampler, Sampling};

/// One text to generate.
#[derive(Debug, Clone)]
pub struct Row {
    /// Prompt ids, not empty. Rows that share the same `Rc` share its computation.
    pub prompt: Rc<Vec<u32>>,
    pub max_tokens: usize,
    pub sampling: Sampling,
}

/// Tokens of a prompt computed in one pass: bounds the memory of intermediate results.
const PREFILL_CHUNK: usize = 512;

/// How much cache may live at once, in bytes.
const CACHE_BUDGET: usize = 192 << 20;

/// Generates every row. `progress` is called with the tokens (prompt and new) done and those there are at most.
/// The text of a row depends on nothing but the row itself.
pub fn generate(
    model: &dyn Model,
    rows: &[Row],
    stops: &HashSet<u32>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u32>>> {
    ensure!(
        rows.iter().all(|row| !row.prompt.is_empty()),
        "an empty prompt cannot be continued"
    );
    let mut meter = Meter::new(rows, progress);
    let mut written = vec![Vec::new(); rows.len()];
    for wave in waves(model, rows) {
        let mut active = prefill_wave(model, rows, &wave, &mut meter)?;
        while !active.is_empty() {
            step(model, &mut active, stops, &mut written, &mut meter)?;
        }
    }
    Ok(written)
}

/// A row under way: its cache and the logits from which its next token is drawn.
struct Active {
    row: usize,
    left: usize,
    cache: Cache,
    logits: Vec<f32>,
    sampler: Sampler,
}

/// Draws a token for every active row, retires the finished, and runs the rest through the model.
fn step(
    model: &dyn Model,
    active: &mut Vec<Active>,
    stops: &HashSet<u32>,
    written: &mut [Vec<u32>],
    meter: &mut Meter<'_>,
) -> Result<()> {
    active.retain_mut(|a| {
        let text = &mut written[a.row];
        let token = a.sampler.next(&mut a.logits, text);
        let ended = stops.contains(&token);
        if !ended {
            text.push(token);
        }
        a.left -= 1;
        let more = !ended && a.left > 0;
        meter.add(if more { 1 } else { 1 + a.left });
        more
    });
    if active.is_empty() {
        return Ok(());
    }
    let last = active
        .iter()
        .map(|a| [written[a.row][written[a.row].len() - 1]])
        .collect::<Vec<_>>();
    let tokens = last.iter().map(|t| &t[..]).collect::<Vec<_>>();
    let mut caches = active.iter_mut().map(|a| &mut a.cache).collect::<Vec<_>>();
    let logits = model.forward(&tokens, &mut caches)?.to_vec2::<f32>()?;
    for (a, logits) in active.iter_mut().zip(logits) {
        a.logits = logits;
    }
    Ok(())
}

/// Computes each distinct prompt of the wave once and gives every row a cache of its own.
fn prefill_wave(
    model: &dyn Model,
    rows: &[Row],
    wave: &[usize],
    meter: &mut Meter<'_>,
) -> Result<Vec<Active>> {
    let mut active = Vec::<Active>::with_capacity(wave.len());
    for &row in wave {
        let Row {
            prompt,
            max_tokens,
            sampling,
        } = &rows[row];
        if *max_tokens == 0 {
            continue;
        }
        let twin = active
            .iter()
            .find(|a| Rc::ptr_eq(&rows[a.row].prompt, prompt));
        let (cache, logits) = match twin {
            Some(twin) if twin.cache.capacity() >= prompt.len() + max_tokens => {
                (twin.cache.fork()?, twin.logits.clone())
            }
            _ => prefill(model, prompt, *max_tokens, meter)?,
        };
        active.push(Active {
            row,
            left: *max_tokens,
            cache,
            logits,
            sampler: Sampler::new(*sampling, prompt),
        });
    }
    Ok(active)
}

/// Runs a prompt through the model and returns its cache and the logits after its last token.
///
/// One prompt at a time: the passes are wide enough to be bound by arithmetic, and a prompt's results then do
/// not depend on its neighbours in any way.
fn prefill(
    model: &dyn Model,
    prompt: &[u32],
    max_tokens: usize,
    meter: &mut Meter<'_>,
) -> Result<(Cache, Vec<f32>)> {
    let mut cache = model.cache(prompt.len() + max_tokens)?;
    let mut logits = Vec::new();
    for chunk in prompt.chunks(PREFILL_CHUNK) {
        let last = model.forward(&[chunk], &mut [&mut cache])?;
        logits = last.squeeze(D::Minus2)?.to_vec1::<f32>()?;
        meter.add(chunk.len());
    }
    Ok((cache, logits))
}

/// Rows in the order given, cut where the next one's cache would not fit the budget any more.
fn waves(model: &dyn Model, rows: &[Row]) -> Vec<Vec<usize>> {
    let budget = CACHE_BUDGET / model.cache_bytes_per_token();
    let mut waves = vec![Vec::new()];
    let mut used = 0;
    for (i, row) in rows.iter().enumerate() {
        let need = row.prompt.len() + row.max_tokens;
        if used + need > budget && used > 0 {
            waves.push(Vec::new());
            used = 0;
        }
        used += need;
        if let Some(wave) = waves.last_mut() {
            wave.push(i);
        }
    }
    waves
}

/// Counts tokens for the progress bar.
struct Meter<'a> {
    done: usize,
    total: usize,
    report: &'a mut dyn FnMut(usize, usize),
}

impl<'a> Meter<'a> {
    fn new(rows: &[Row], report: &'a mut dyn FnMut(usize, usize)) -> Self {
        let mut prompts = Vec::<&Rc<Vec<u32>>>::new();
        for row in rows {
            if !prompts.iter().any(|p| Rc::ptr_eq(p, &row.prompt)) {
                prompts.push(&row.prompt);
            }
        }
        let prompt_tokens: usize = prompts.iter().map(|p| p.len()).sum();
        Self {
            done: 0,
            total: prompt_tokens + rows.iter().map(|row| row.max_tokens).sum::<usize>(),
            report,
        }
    }

    fn add(&mut self, tokens: usize) {
        // A prompt computed twice, in two waves, must not push the bar past its end.
        self.done = (self.done + tokens).min(self.total);
        (self.report)(self.done, self.total);
    }
}

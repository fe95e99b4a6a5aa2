//! The decode loop: requests in, texts out, many rows at a time.
//!
//! Rows that share a prompt (candidates for one chapter) compute it once and fork its cache. Rows run in waves
//! whose caches fit a budget of memory; within a wave every step runs the weights once for all rows and all their beams.

use std::collections::HashSet;
use std::rc::Rc;

use anyhow::{Result, ensure};

use super::batch::{Cache, Model, Prompt};
use super::beam::{self, BeamSearch};
use super::generation::GenerationConfig;
use super::probe::Trace;
use super::sampler::{Sampler, Sampling};

/// One text to generate.
#[derive(Debug, Clone)]
pub struct Row {
    /// Prompt ids, not empty. Rows that share the same `Rc` share its computation.
    pub prompt: Rc<Vec<u32>>,
    pub max_tokens: usize,
    pub sampling: Sampling,
    /// What it is made to write, instead of what the model would: to learn how it finds that.
    pub dictated: Option<Rc<Vec<u32>>>,
    /// The layer whose hidden states are noted; see [`Text::state`].
    pub traced: Option<usize>,
}

/// What a row became.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Text {
    pub ids: Vec<u32>,
    /// How undecided the model was; see [`Sampler::doubt`]. `None` where beams were searched.
    pub doubt: Option<f32>,
    /// How likely it was to say nothing; see [`Sampler::refusal`].
    pub refusal: Option<f32>,
    /// How unlikely the model found what was dictated; see [`Sampler::surprise`].
    pub surprise: Option<f32>,
    /// The mean over its tokens of the hidden states behind a layer; see [`Trace`]. `None` where that was not asked for, or beams were searched.
    pub state: Option<Vec<f32>>,
}

/// How much cache may live at once, in bytes.
const CACHE_BUDGET: usize = 192 << 20;

/// Generates every row of a checkpoint that asks for nothing but where to stop; see [`generate_with`].
pub fn generate(
    model: &dyn Model,
    rows: &[Row],
    stops: &HashSet<u32>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u32>>> {
    let config = GenerationConfig::plain(stops.clone());
    let texts = generate_with(model, rows, &config, progress)?;
    Ok(texts.into_iter().map(|text| text.ids).collect())
}

/// Generates every row, under the rules of the checkpoint and with its beams where the row is not sampled. A search with
/// beams looks at the row's length only; its other settings are for single tokens.
///
/// `progress` is called with the tokens (prompt and new) done and those there are at most. The text of a row depends on
/// nothing but the row itself, and does not hold the id that ended it.
pub fn generate_with(
    model: &dyn Model,
    rows: &[Row],
    config: &GenerationConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Text>> {
    ensure!(
        rows.iter().all(|row| !row.prompt.is_empty()),
        "an empty prompt cannot be continued"
    );
    let mut meter = Meter::new(rows, progress);
    let mut written = vec![Text::default(); rows.len()];
    for wave in waves(model, rows, config) {
        let mut active = prefill_wave(model, (rows, &wave), config, &mut meter)?;
        while !active.is_empty() {
            active = step(model, active, &mut written, &mut meter)?;
        }
    }
    Ok(written)
}

/// A row under way: per beam its cache and the logits from which its next token is drawn.
struct Active<'a> {
    row: usize,
    left: usize,
    caches: Vec<Cache>,
    logits: Vec<Vec<f32>>,
    search: Search<'a>,
}

/// How a row finds its tokens.
enum Search<'a> {
    One {
        sampler: Box<Sampler>,
        text: Vec<u32>,
        dictated: Option<Rc<Vec<u32>>>,
        stops: &'a HashSet<u32>,
        max_tokens: usize,
    },
    Beams(BeamSearch<'a>),
}

impl<'a> Search<'a> {
    fn new(row: &Row, config: &'a GenerationConfig) -> Self {
        let stops = &config.stops;
        let rules = config.rules.for_length(row.max_tokens);
        match beams(row, config) {
            1 => Self::One {
                sampler: Box::new(Sampler::new(
                    row.sampling,
                    &row.prompt,
                    rules,
                    row.max_tokens,
                )),
                text: Vec::new(),
                dictated: row.dictated.clone(),
                stops,
                max_tokens: row.max_tokens,
            },
            _ => Self::Beams(BeamSearch::new(config.beams, rules, stops, row.max_tokens)),
        }
    }

    /// The beams of the next step: which of the present ones each continues, and with which token. None at the end.
    fn next(&mut self, logits: &mut [Vec<f32>]) -> Vec<(usize, u32)> {
        match self {
            Self::One {
                sampler,
                text,
                dictated,
                stops,
                max_tokens,
            } => {
                let token = match dictated.as_ref().map(|ids| ids.get(text.len())) {
                    Some(Some(&token)) => {
                        sampler.dictate(&logits[0], token);
                        token
                    }
                    Some(None) => return Vec::new(),
                    None => sampler.next(&mut logits[0], text),
                };
                if stops.contains(&token) {
                    return Vec::new();
                }
                text.push(token);
                let more = text.len() < *max_tokens;
                more.then_some((0, token)).into_iter().collect()
            }
            Self::Beams(search) => search.next(logits),
        }
    }

    fn into_text(self, trace: Option<&Trace>) -> Text {
        match self {
            Self::One { text, sampler, .. } => Text {
                ids: text,
                doubt: sampler.doubt(),
                refusal: sampler.refusal(),
                surprise: sampler.surprise(),
                state: trace.and_then(Trace::mean),
            },
            Self::Beams(search) => Text {
                ids: search.into_text(),
                ..Text::default()
            },
        }
    }
}

/// How many beams a row has at most.
fn beams(row: &Row, config: &GenerationConfig) -> usize {
    match row.sampling.temperature <= 0. && row.dictated.is_none() {
        true => config.beams.count.max(1),
        false => 1,
    }
}

/// Finds the next token or tokens of every active row, retires the finished, and runs the rest through the model.
fn step<'a>(
    model: &dyn Model,
    active: Vec<Active<'a>>,
    written: &mut [Text],
    meter: &mut Meter<'_>,
) -> Result<Vec<Active<'a>>> {
    let mut going = Vec::with_capacity(active.len());
    let mut tokens = Vec::with_capacity(active.len());
    for mut a in active {
        let next = a.search.next(&mut a.logits);
        a.left -= 1;
        if next.is_empty() {
            meter.add(1 + a.left);
            let trace = a.caches.first().and_then(|cache| cache.trace.as_ref());
            written[a.row] = a.search.into_text(trace);
            continue;
        }
        meter.add(1);
        let (parents, next): (Vec<_>, Vec<_>) = next.into_iter().unzip();
        a.caches = beam::follow(a.caches, &parents)?;
        tokens.extend(next.into_iter().map(|token| [token]));
        going.push(a);
    }
    if going.is_empty() {
        return Ok(going);
    }
    let tokens = tokens.iter().map(|token| &token[..]).collect::<Vec<_>>();
    let mut caches = going
        .iter_mut()
        .flat_map(|a| &mut a.caches)
        .collect::<Vec<_>>();
    let logits = model.forward(&tokens, &mut caches)?.to_vec2::<f32>()?;
    let mut logits = logits.into_iter();
    for a in &mut going {
        a.logits = logits.by_ref().take(a.caches.len()).collect();
    }
    Ok(going)
}

/// Computes each distinct prompt of the wave once and gives every row a cache of its own.
fn prefill_wave<'a>(
    model: &dyn Model,
    (rows, wave): (&[Row], &[usize]),
    config: &'a GenerationConfig,
    meter: &mut Meter<'_>,
) -> Result<Vec<Active<'a>>> {
    let wave = wave.iter().copied().filter(|&row| rows[row].max_tokens > 0);
    // Rows that share a prompt, and the most room one of them asks for.
    let mut shared = Vec::<(Vec<usize>, Prompt)>::new();
    for row in wave {
        let Row {
            prompt, max_tokens, ..
        } = &rows[row];
        match shared
            .iter_mut()
            .find(|(twins, _)| Rc::ptr_eq(&rows[twins[0]].prompt, prompt))
        {
            Some((twins, prompt)) => {
                twins.push(row);
                prompt.room = prompt.room.max(*max_tokens);
            }
            None => shared.push((
                vec![row],
                Prompt {
                    ids: prompt,
                    room: *max_tokens,
                },
            )),
        }
    }
    let prompts = shared.iter().map(|(_, prompt)| *prompt).collect::<Vec<_>>();
    let begun = model.begin(&prompts, &mut |tokens| meter.add(tokens))?;
    let start = |row: usize, mut cache: Cache, logits| {
        cache.trace = rows[row].traced.map(Trace::new);
        Active {
            row,
            left: rows[row].max_tokens,
            caches: vec![cache],
            logits: vec![logits],
            search: Search::new(&rows[row], config),
        }
    };
    let mut active = Vec::new();
    for ((twins, _), (cache, logits)) in shared.iter().zip(begun) {
        let (first, others) = twins.split_at(1);
        for &row in others {
            active.push(start(row, cache.fork()?, logits.clone()));
        }
        active.push(start(first[0], cache, logits));
    }
    Ok(active)
}

/// Rows in the order given, cut where the next one's cache would not fit the budget any more.
fn waves(model: &dyn Model, rows: &[Row], config: &GenerationConfig) -> Vec<Vec<usize>> {
    let budget = CACHE_BUDGET / model.cache_bytes_per_token();
    let mut waves = vec![Vec::new()];
    let mut used = 0;
    for (i, row) in rows.iter().enumerate() {
        let need = row.prompt.len() + beams(row, config) * row.max_tokens;
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

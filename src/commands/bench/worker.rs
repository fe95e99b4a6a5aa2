//! The process that measures one combination: how it is started, and what it does.
//!
//! It is this program again. Its task comes as JSON behind a hidden flag, its findings go back as lines of JSON on standard
//! output, each as soon as it is known; what goes wrong is the last line on standard error.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::super::encoder::EncoderRef;
use super::super::print;
use super::super::summarize::parse_model;
use super::super::weights::{Loaded, Weights};
use crate::bench::agreement::Tokens;
use crate::bench::environment::peak_memory;
use crate::bench::report::{EndToEnd, Row, Subject};
use crate::bench::{self, Sizes};
use crate::engine::checkpoint::Checkpoint;
use crate::engine::device;
use crate::hub::Hub;
use crate::progress::Progress;
use crate::registry::ENCODER;
use crate::summarize::Models;
use crate::summary::Provenance;

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// What the model is called in the report.
    pub name: String,
    /// What `--model` of `summarize` takes.
    pub model: String,
    pub device: String,
    pub task: Task,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Speed(Sizes),
    EndToEnd,
}

/// What a worker has found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Row(Row),
    Tokens(Tokens),
    EndToEnd(EndToEnd),
}

/// What the engine's pools of threads are sized by when a program starts: rayon's, and candle's own.
const THREADS: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

impl Job {
    /// Starts a worker and hands on what it finds, until `each` wants no more.
    ///
    /// Errors: the worker's own, or how it ended where it could not say.
    pub fn run_apart(
        &self,
        threads: Option<usize>,
        each: &mut dyn FnMut(Event) -> bool,
    ) -> Result<()> {
        let mut messages = tempfile::tempfile().context("a temporary file")?;
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(program);
        command
            .args(["bench", "--worker", &serde_json::to_string(self)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(messages.try_clone()?);
        if let Some(threads) = threads {
            command.envs(THREADS.map(|name| (name, threads.to_string())));
        }
        let mut child = command.spawn().context("starting a worker")?;
        let lines = child.stdout.take().map(BufReader::new);
        for line in lines.into_iter().flat_map(BufReader::lines) {
            let event = serde_json::from_str(&line?).context("what a worker has found")?;
            if !each(event) {
                child.kill()?;
                break;
            }
        }
        let status = child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow!("{}", reason(&mut messages, status))),
        }
    }

    fn subject(&self, device: &str, dtype: &str) -> Subject {
        Subject {
            model: self.name.clone(),
            device: device.into(),
            dtype: dtype.into(),
            // Of the engine's own kernels; candle's differ from them only where nothing is set and cores have two threads.
            threads: rayon::current_num_threads(),
        }
    }
}

/// The last thing that a worker said, but for advice to programmers; how it ended where it said nothing.
fn reason(messages: &mut File, status: ExitStatus) -> String {
    let mut text = Vec::new();
    // What cannot be read back was not said.
    let _ = messages.rewind();
    let _ = messages.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(str::trim).rev();
    let last = lines.find(|line| !line.is_empty() && !line.starts_with("note: "));
    match (last, status.code()) {
        (Some(last), Some(_)) => last.trim_start_matches("chapterize: ").into(),
        // By a signal: most often the system's, because there was no memory left.
        (_, None) => format!("ended by the system ({status}); there may be too little memory"),
        (None, Some(code)) => format!("ended with exit code {code} and said nothing"),
    }
}

/// The worker's side: does what `job` says, and prints events.
pub fn run(job: &str) -> Result<bool> {
    let job = serde_json::from_str::<Job>(job).context("--worker")?;
    let device = job.device.parse().map_err(|error: String| anyhow!(error))?;
    let opened = device::open(device)?;
    // The process that started this one has seen to it that all models are here.
    let weights = Weights::get(
        &parse_model(&job.model)?,
        &Hub::from_env(true)?,
        Progress::hidden(),
    )?;
    match &job.task {
        Task::Speed(sizes) => speed(&job, sizes, &weights, &opened)?,
        Task::EndToEnd => end_to_end(&job, &weights, &opened)?,
    }
    Ok(true)
}

fn send(event: &Event) -> Result<()> {
    print(&(serde_json::to_string(event)? + "\n"))
}

fn speed(job: &Job, sizes: &Sizes, weights: &Weights, opened: &device::OpenDevice) -> Result<()> {
    let path = weights.entry();
    bench::measure(&path, &opened.device, sizes, &mut |dtype, speed| {
        let subject = job.subject(&opened.name, dtype);
        let row = Row::new(subject.clone(), sizes, &speed, peak_memory());
        send(&Event::Row(row))?;
        send(&Event::Tokens(Tokens {
            subject,
            n_prompt: sizes.prompt,
            batch: speed.batch,
            ids: speed.tokens,
        }))
    })
}

fn end_to_end(job: &Job, weights: &Weights, opened: &device::OpenDevice) -> Result<()> {
    let checkpoint = Checkpoint::open(&weights.entry())?;
    if !bench::spells(&checkpoint.tokenizer()?)? {
        let subject = job.subject(&opened.name, &checkpoint.weights.quantization());
        return send(&Event::EndToEnd(EndToEnd::impossible(
            subject,
            "the model's vocabulary has no tokens for the text",
        )));
    }
    let chosen = EncoderRef::parse(ENCODER)?;
    let hub = Hub::from_env(true)?;
    let encoder = chosen.load(&hub, &opened.device, Progress::hidden())?;
    let boundaries = chosen.boundaries(&encoder)?;
    let Loaded { engine, style, .. } = weights.load(None, &opened.device)?;
    let dtype = engine.quantization().to_string();
    let models = Models {
        encoder: &encoder,
        boundaries: boundaries.as_ref(),
        writer: Some((&engine, unnamed())),
    };
    let (seconds, seconds_per_hour) = bench::end_to_end(&models, &style)?;
    send(&Event::EndToEnd(EndToEnd {
        subject: job.subject(&opened.name, &dtype),
        seconds: Some(seconds),
        seconds_per_hour: Some(seconds_per_hour),
        peak_rss_bytes: peak_memory(),
        reason: None,
    }))
}

/// The origin of a summary that nobody will see.
fn unnamed() -> Provenance {
    Provenance {
        name: String::new(),
        repo: None,
        revision: None,
        file: String::new(),
        sha256: String::new(),
        quantization: None,
        adapter: None,
        encoder: String::new(),
        device: String::new(),
        seed: 0,
        temperature: 0.,
        prompt_hash: String::new(),
    }
}

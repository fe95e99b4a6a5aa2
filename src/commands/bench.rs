//! `chapterize bench`: every combination of model, device and threads in a process of its own, and a report of all.
//!
//! A process of its own, because pools of threads are made once, by what the environment says when a program starts; because
//! peak memory is that of a process; and because one that crashes leaves the others to go on.

mod sink;
mod worker;

use anyhow::{Result, anyhow};

use self::sink::Sink;
use self::worker::{Event, Job, Task};
use super::summarize::parse_model;
use super::weights::Weights;
use super::{Usage, report};
use crate::bench::Sizes;
use crate::bench::agreement::{self, Tokens};
use crate::bench::report::{Failure, Report};
use crate::cli::Bench;
use crate::engine::device::DeviceChoice;
use crate::hub::Hub;
use crate::model_ref::ModelRef;
use crate::progress::Progress;
use crate::registry::{self, ENCODER};

/// Runs the command. `false` where a combination failed; the others are done nevertheless.
pub fn run(args: &Bench) -> Result<bool> {
    if let Some(job) = &args.worker {
        return worker::run(job);
    }
    let progress = Progress::new(args.quiet);
    let models = distinct(&args.models).into_iter();
    let models = models.map(|text| Ok((parse_model(&text)?, text)));
    let models = models.collect::<Result<Vec<_>, Usage>>()?;
    let mut run = Run {
        args,
        progress,
        sink: Sink::open(args)?,
        report: Report::new(args.repetitions),
        tokens: Vec::new(),
        end_to_end: args.end_to_end,
    };
    let models = run.find(&models)?;
    let combinations = combinations(&models, args);
    let count = combinations.len();
    for (i, combination) in combinations.iter().enumerate() {
        progress.note(&format!("[{}/{count}] {}", i + 1, combination.name()));
        run.measure(combination)?;
    }
    run.close()
}

/// A model that is on this disk.
struct Found {
    /// What it is called in the report.
    name: String,
    /// What `--model` of `summarize` takes for it.
    model: String,
}

/// A process for each of its tasks.
struct Combination<'a> {
    model: &'a Found,
    device: DeviceChoice,
    /// `None` leaves the number to the engine.
    threads: Option<usize>,
}

/// What is measured of every combination.
fn tasks(args: &Bench, end_to_end: bool) -> Vec<Task> {
    // A length of prompts per process: the peak of the memory that one takes is not that of another.
    let speeds = distinct(&args.prompts).into_iter().map(|prompt| {
        Task::Speed(Sizes {
            prompt,
            write: args.write,
            batches: args.batches.clone(),
            repetitions: args.repetitions,
        })
    });
    speeds.chain(end_to_end.then_some(Task::EndToEnd)).collect()
}

impl Combination<'_> {
    fn failure(&self, error: String) -> Failure {
        Failure {
            model: self.model.name.clone(),
            device: Some(self.device.to_string()),
            threads: self.threads,
            error,
        }
    }

    fn name(&self) -> String {
        let name = self.failure(String::new()).to_string();
        name.trim_end_matches([':', ' ']).into()
    }
}

/// Every model on every device with every number of threads, in the order they were asked for.
fn combinations<'a>(models: &'a [Found], args: &Bench) -> Vec<Combination<'a>> {
    let devices = distinct(&args.devices);
    let threads = match args.threads.is_empty() {
        true => vec![None],
        false => distinct(&args.threads).into_iter().map(Some).collect(),
    };
    let mut all = Vec::new();
    for model in models {
        for &device in &devices {
            all.extend(threads.iter().map(|&threads| Combination {
                model,
                device,
                threads,
            }));
        }
    }
    all
}

/// Each once, in the order of their first appearance.
fn distinct<T: PartialEq + Clone>(all: &[T]) -> Vec<T> {
    let mut kept = Vec::<T>::new();
    for one in all {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    kept
}

/// A run under way.
struct Run<'a> {
    args: &'a Bench,
    progress: Progress,
    sink: Sink,
    report: Report,
    tokens: Vec<Tokens>,
    /// Whether that is wanted, and can be done.
    end_to_end: bool,
}

impl Run<'_> {
    /// Finds or fetches the models. One that cannot be had is a failure, and the others go on.
    fn find(&mut self, models: &[(ModelRef, String)]) -> Result<Vec<Found>> {
        let hub = Hub::from_env(self.args.offline)?;
        let mut found = Vec::<Found>::new();
        for (model, text) in models {
            if let Some(note) = model.note(text) {
                self.progress.note(&note);
            }
            match Weights::get(model, &hub, self.progress) {
                Ok(weights) => {
                    let name = weights.name();
                    let taken = found.iter().any(|other| other.name == name);
                    found.push(Found {
                        // `auto` may mean another model when a worker asks.
                        model: match model {
                            ModelRef::Auto => name.clone(),
                            _ => text.clone(),
                        },
                        name: if taken { text.clone() } else { name },
                    });
                }
                Err(error) => self.not_here(text, &error),
            }
        }
        if self.end_to_end {
            let wanted = registry::find(ENCODER)?.wanted()?;
            if let Err(error) = hub.get(&wanted, self.progress) {
                self.not_here(ENCODER, &error);
                self.end_to_end = false;
            }
        }
        Ok(found)
    }

    fn measure(&mut self, combination: &Combination) -> Result<()> {
        for task in tasks(self.args, self.end_to_end) {
            let job = Job {
                name: combination.model.name.clone(),
                model: combination.model.model.clone(),
                device: combination.device.to_string(),
                task,
            };
            let mut written = Ok(());
            let done = job.run_apart(combination.threads, &mut |event| {
                written = self.take(event);
                written.is_ok()
            });
            written?;
            if let Err(error) = done {
                self.failed(combination.failure(format!("{error:#}")));
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Row(row) => {
                self.sink.row(&self.report.record(&row))?;
                self.report.results.push(row);
            }
            Event::Tokens(tokens) => self.tokens.push(tokens),
            Event::EndToEnd(found) => self.report.end_to_end.push(found),
        }
        Ok(())
    }

    /// A model that could not be had.
    fn not_here(&mut self, model: &str, error: &anyhow::Error) {
        self.failed(Failure {
            model: model.into(),
            device: None,
            threads: None,
            error: format!("{error:#}"),
        });
    }

    fn failed(&mut self, failure: Failure) {
        report(&anyhow!("{failure}"));
        self.report.failures.push(failure);
    }

    /// Compares what was written and writes the report; what has no place in it is noted.
    fn close(mut self) -> Result<bool> {
        self.report.agreement = agreement::compare(&self.tokens);
        if !self.args.format.holds_all() {
            for agreement in &self.report.agreement {
                self.progress.note(&agreement.to_string());
            }
            for found in &self.report.end_to_end {
                self.progress.note(&found.to_string());
            }
        }
        self.sink.close(&self.report)?;
        Ok(self.report.failures.is_empty())
    }
}

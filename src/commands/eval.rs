//! `chapterize eval`: every way to boundaries or to a summary on every text, and how near each comes to what people made of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;

use super::summarize::parse_model;
use super::weights::Weights;
use super::{print, report};
use crate::chapters::embed::MiniLm;
use crate::chapters::{Count, Levels};
use crate::cli::Eval;
use crate::engine::device;
use crate::eval::boundaries::{self, Mean};
use crate::eval::methods::Method;
use crate::eval::summaries::{self, Text, Tools, WAYS};
use crate::eval::{self, Item};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::registry::{self, ENCODER};
use crate::summarize::{Models, Options};
use crate::summary::Provenance;

/// Runs the command. `false` where a file, document or passage failed; the others are in the table nevertheless.
pub fn run(args: &Eval) -> Result<bool> {
    match args.summaries {
        true => compare_summaries(args),
        false => compare_boundaries(args),
    }
}

/// Reads every file; what is wrong with one is reported, and makes `fine` false.
fn read<T>(
    args: &Eval,
    fine: &mut bool,
    read: impl Fn(&Path) -> Result<Vec<T>>,
) -> Vec<(String, Vec<T>)> {
    let mut sets = Vec::new();
    for path in &args.data {
        match read(path) {
            Ok(found) => {
                let name = path.file_stem().unwrap_or(path.as_os_str());
                sets.push((name.to_string_lossy().into_owned(), found));
            }
            Err(error) => {
                report(&error);
                *fine = false;
            }
        }
    }
    sets
}

fn encoder(hub: &Hub, device: &Device, progress: Progress) -> Result<MiniLm> {
    let encoder = registry::find(ENCODER)?;
    let files = hub.get(&encoder.wanted()?, progress)?.paths();
    MiniLm::load(&files, encoder.window, device)
}

/// Compares boundaries, each file a set.
fn compare_boundaries(args: &Eval) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let mut fine = true;
    let sets = read(args, &mut fine, eval::divided);
    if sets.is_empty() {
        return Ok(false);
    }
    let opened = device::open(args.writing.device)?;
    let hub = Hub::from_env(args.writing.offline)?;
    let encoder = encoder(&hub, &opened.device, progress)?;
    let methods = args
        .method
        .map_or(Method::ALL.to_vec(), |method| vec![method]);
    let (mut means, mut all) = (Vec::new(), Vec::new());
    let mut texts = Vec::new();
    for (set, documents) in sets {
        let documents = spread(documents, args.limit);
        let bar = progress.bar(&set, documents.len(), "documents");
        let mut found = Vec::new();
        for document in documents {
            match boundaries::Text::new(&document, &encoder) {
                Ok(text) => {
                    found.extend(
                        methods
                            .iter()
                            .map(|&method| text.find(method, args.given_count)),
                    );
                    texts.push(text);
                }
                Err(error) => {
                    report(&error);
                    fine = false;
                }
            }
            bar.inc(1);
        }
        means.extend(methods.iter().map(|&method| Mean::of(&set, method, &found)));
        all.extend(found);
    }
    if let Some(path) = &args.signs {
        boundaries::write_signs(path, &texts)
            .with_context(|| format!("{}: cannot write", path.display()))?;
    }
    print(&eval::boundaries_table(
        args.format,
        args.given_count,
        &means,
        &all,
    ))?;
    Ok(fine)
}

/// Compares summaries and titles.
fn compare_summaries(args: &Eval) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let model = parse_model(&args.writing.model)?;
    let mut fine = true;
    let sets = read(args, &mut fine, eval::items);
    let items = sets
        .into_iter()
        .flat_map(|(_, items)| items)
        .collect::<Vec<_>>();
    if items.is_empty() {
        return Ok(false);
    }
    let items = spread(items, args.limit);
    let opened = device::open(args.writing.device)?;
    let hub = Hub::from_env(args.writing.offline)?;
    let weights = Weights::get(&model, &hub, progress)?;
    let loaded = weights.load(args.writing.adapter.as_deref(), &opened.device)?;
    let plain = weights.load(Some(Path::new("none")), &opened.device)?;
    let encoder = encoder(&hub, &opened.device, progress)?;
    let adapter = loaded.adapter.as_deref().unwrap_or_default();
    let subject = match adapter.get(..8) {
        Some(hash) => format!("{} and the adapter {hash}", weights.name()),
        None => weights.name(),
    };
    let tools = Tools {
        models: Models {
            encoder: &encoder,
            writer: Some((&loaded.engine, Provenance::default())),
        },
        plain: &plain.engine,
        options: Options {
            count: Count::Exactly(1),
            levels: Levels::One,
            seed: args.writing.seed,
            temperature: args.writing.temperature,
            style: loaded
                .style
                .with(args.writing.prompt_file.as_deref(), args.writing.candidates)?,
            effort: args.writing.effort,
            language: args.writing.language,
        },
    };
    let texts = all_texts(&items, &tools, progress, &mut fine);
    if let Some(path) = &args.texts {
        write(path, &texts).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    let scores = WAYS.map(|way| summaries::scores(way, &texts, &encoder));
    let scores = scores.into_iter().collect::<Result<Vec<_>>>()?;
    print(&eval::summaries_table(args.format, &subject, &scores))?;
    Ok(fine)
}

fn all_texts(items: &[Item], tools: &Tools, progress: Progress, fine: &mut bool) -> Vec<Text> {
    let bar = progress.bar("Comparing", items.len(), "passages");
    let mut texts = Vec::new();
    for item in items {
        match summaries::texts(item, tools) {
            Ok(found) => texts.extend(found),
            Err(error) => {
                report(&error);
                *fine = false;
            }
        }
        bar.inc(1);
    }
    texts
}

/// So many of the items, at even distances.
fn spread<T>(items: Vec<T>, limit: Option<usize>) -> Vec<T> {
    let count = items.len();
    let limit = limit.unwrap_or(count).min(count);
    let chosen = (0..limit).map(|i| i * count / limit);
    let chosen = chosen.collect::<std::collections::HashSet<_>>();
    let items = items.into_iter().enumerate();
    let items = items.filter(|(i, _)| chosen.contains(i));
    items.map(|(_, item)| item).collect()
}

fn write(path: &Path, texts: &[Text]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for text in texts {
        serde_json::to_writer(&mut file, text)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

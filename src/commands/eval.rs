//! `chapterize eval`: every way to a summary on every passage, and how near each comes to what people wrote.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::summarize::parse_model;
use super::weights::Weights;
use super::{print, report};
use crate::chapters::Count;
use crate::chapters::embed::MiniLm;
use crate::cli::Eval;
use crate::engine::device;
use crate::eval::{self, Item, Text, Tools, WAYS};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::registry::{self, ENCODER};
use crate::summarize::{Models, Options};
use crate::summary::Provenance;

/// Runs the command. `false` where a file or passage failed; the others are in the table nevertheless.
pub fn run(args: &Eval) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let model = parse_model(&args.writing.model)?;
    let mut fine = true;
    let mut items = Vec::new();
    for path in &args.data {
        match eval::items(path) {
            Ok(found) => items.extend(found),
            Err(error) => {
                report(&error);
                fine = false;
            }
        }
    }
    if items.is_empty() {
        return Ok(false);
    }
    let items = spread(items, args.limit);
    let opened = device::open(args.writing.device)?;
    let hub = Hub::from_env(args.writing.offline)?;
    let weights = Weights::get(&model, &hub, progress)?;
    let loaded = weights.load(args.writing.adapter.as_deref(), &opened.device)?;
    let plain = weights.load(Some(Path::new("none")), &opened.device)?;
    let encoder = registry::find(ENCODER)?;
    let files = hub.get(&encoder.wanted()?, progress)?.paths();
    let encoder = MiniLm::load(&files, encoder.window, &opened.device)?;
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
    let scores = WAYS.map(|way| eval::scores(way, &texts, &encoder));
    let scores = scores.into_iter().collect::<Result<Vec<_>>>()?;
    print(&eval::render(args.format, &subject, &scores))?;
    Ok(fine)
}

fn all_texts(items: &[Item], tools: &Tools, progress: Progress, fine: &mut bool) -> Vec<Text> {
    let bar = progress.bar("Comparing", items.len(), "passages");
    let mut texts = Vec::new();
    for item in items {
        match eval::texts(item, tools) {
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
fn spread(items: Vec<Item>, limit: Option<usize>) -> Vec<Item> {
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

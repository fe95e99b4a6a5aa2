//! `chapterize eval`: every way to boundaries or to a summary on every text, and how near each comes to what people made of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::encoder::EncoderRef;
use super::summarize::parse_model;
use super::weights::{Loaded, Weights};
use super::{Usage, print, report};
use crate::chapters::boundary::Boundaries;
use crate::chapters::{Count, Levels};
use crate::cli::Eval;
use crate::engine::device;
use crate::eval::boundaries::{self, Found, Mean};
use crate::eval::methods::Method;
use crate::eval::summaries::{self, Text, Tools, WAYS};
use crate::eval::{self, Document, Item, titles};
use crate::hub::Hub;
use crate::model_ref::ModelRef;
use crate::progress::Progress;
use crate::summarize::{Llm, Models, Options, summarize};
use crate::summary::Provenance;

/// Runs the command. `false` where a file, document or passage failed; the others are in the table nevertheless.
pub fn run(args: &Eval) -> Result<bool> {
    // Before anything is read or fetched: nobody shall wait to learn of a typing error.
    let model = parse_model(&args.writing.model)?;
    let encoder = EncoderRef::parse(&args.writing.encoder)?;
    match args.summaries {
        true => compare_summaries(args, &model, &encoder),
        false => compare_boundaries(args, &model, &encoder),
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

/// Compares boundaries, each file a set.
fn compare_boundaries(args: &Eval, model: &ModelRef, chosen: &EncoderRef) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let methods = args
        .method
        .map_or(Method::ALL.to_vec(), |method| vec![method]);
    if args.titles && !methods.contains(&Method::Learned) {
        return Err(Usage(
            "--titles: titles are given to what 'learned' finds; leave out --method".into(),
        )
        .into());
    }
    let mut fine = true;
    let sets = read(args, &mut fine, eval::divided);
    if sets.is_empty() {
        return Ok(false);
    }
    let opened = device::open(args.writing.device)?;
    let hub = Hub::from_env(args.writing.offline)?;
    let weights = args.titles.then(|| Weights::get(model, &hub, progress));
    let writer = match weights.transpose()? {
        Some(weights) => Some(weights.load(args.writing.adapter.as_deref(), &opened.device)?),
        None => None,
    };
    let encoder = chosen.load(&hub, &opened.device, progress)?;
    // Signs can be written that the model does not read yet.
    let boundaries = match (&args.boundaries, methods.contains(&Method::Learned)) {
        (Some(path), true) => Some(Boundaries::from_file(path)?),
        (None, true) => chosen.boundaries(&encoder)?,
        (_, false) => None,
    };
    let models = Models {
        encoder: &encoder,
        boundaries: boundaries.as_ref(),
        writer: writer
            .as_ref()
            .map(|writer| (&writer.engine as &dyn Llm, Provenance::default())),
    };
    let tried = Tried {
        options: writer
            .as_ref()
            .map(|writer| options(args, writer))
            .transpose()?,
        models,
        methods: &methods,
        given_count: args.given_count,
    };
    let (mut means, mut all) = (Vec::new(), Vec::new());
    let mut texts = Vec::new();
    for (set, documents) in sets {
        let documents = spread(documents, args.limit);
        let bar = progress.bar(&set, documents.len(), "documents");
        let mut found = Vec::new();
        for document in documents {
            match tried.on(&document) {
                Ok((text, own)) => {
                    found.extend(own);
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

/// What is tried on every document.
struct Tried<'a> {
    models: Models<'a>,
    methods: &'a [Method],
    given_count: bool,
    /// How titles are asked for, if they are.
    options: Option<Options>,
}

impl Tried<'_> {
    fn on(&self, document: &Document) -> Result<(boundaries::Text, Vec<Found>)> {
        let Models {
            encoder,
            boundaries,
            ..
        } = self.models;
        let text = boundaries::Text::new(document, encoder, boundaries, self.given_count)?;
        let found = self.methods.iter().map(|&method| text.find(method));
        let mut found = found.collect::<Vec<_>>();
        if let Some(options) = &self.options {
            let options = Options {
                count: Count::Exactly(text.count),
                ..options.clone()
            };
            let transcript = document.transcript();
            let summary = summarize(transcript, &self.models, &options, Progress::hidden())?;
            let titles = titles::compare(&text, document, &summary, encoder)?;
            let learned = found.iter_mut().filter(|f| f.method == Method::Learned);
            learned.for_each(|found| found.scores.set_titles(titles));
        }
        Ok((text, found))
    }
}

/// How the model is asked, for one chapter.
fn options(args: &Eval, loaded: &Loaded) -> Result<Options> {
    let style = loaded.style.clone();
    let style = style.with(args.writing.prompt_file.as_deref(), args.writing.candidates)?;
    Ok(Options {
        count: Count::Exactly(1),
        levels: Levels::One,
        seed: args.writing.seed,
        temperature: args.writing.temperature,
        style,
        effort: args.writing.effort,
        language: args.writing.language,
    })
}

/// Compares summaries and titles.
fn compare_summaries(args: &Eval, model: &ModelRef, chosen: &EncoderRef) -> Result<bool> {
    let progress = Progress::new(args.quiet);
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
    let weights = Weights::get(model, &hub, progress)?;
    let loaded = weights.load(args.writing.adapter.as_deref(), &opened.device)?;
    let plain = weights.load(Some(Path::new("none")), &opened.device)?;
    let encoder = chosen.load(&hub, &opened.device, progress)?;
    let boundaries = chosen.boundaries(&encoder)?;
    let adapter = loaded.adapter.as_deref().unwrap_or_default();
    let subject = match adapter.get(..8) {
        Some(hash) => format!("{} and the adapter {hash}", weights.name()),
        None => weights.name(),
    };
    let tools = Tools {
        models: Models {
            encoder: &encoder,
            boundaries: boundaries.as_ref(),
            writer: Some((&loaded.engine, Provenance::default())),
        },
        plain: &plain.engine,
        options: options(args, &loaded)?,
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

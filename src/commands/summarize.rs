//! `chapterize summarize`: the pipeline over files, with models loaded once.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::output::Output;
use super::{Usage, report};
use crate::cache;
use crate::chapters::embed::{Encode, MiniLm};
use crate::cli::Summarize;
use crate::engine::Engine;
use crate::engine::device::{self, OpenDevice};
use crate::engine::fake::{FakeEncoder, FakeLlm};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::registry::{self, ENCODER, Kind, ModelSpec, STARTER};
use crate::summarize::{Llm, Models, Options, summarize};
use crate::summary::Provenance;
use crate::transcript::{self, Transcript};

/// Runs the command. `false` where some input failed; the others are done nevertheless.
pub fn run(args: &Summarize) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let choice = Choice::parse(&args.model)?;
    let mut output = Output::new(args.output.as_deref(), args.format.extension(), &args.files)?;
    // Files are read before models are fetched: nobody shall wait for a download to learn of a typing error.
    let transcripts = args
        .files
        .iter()
        .map(|path| transcript::open(path, args.from))
        .collect::<Vec<_>>();
    if transcripts.iter().all(Result::is_err) {
        transcripts
            .iter()
            .filter_map(|t| t.as_ref().err())
            .for_each(report);
        return Ok(false);
    }
    let loaded = Loaded::new(args, &choice, progress)?;
    let mut fine = true;
    for transcript in transcripts {
        let done = transcript.and_then(|transcript| {
            let path = transcript.path.clone();
            let summary = loaded.summarize(transcript, args, progress)?;
            output.write(&path, &args.format.render(&summary, output.width()))
        });
        if let Err(error) = done {
            report(&error);
            fine = false;
        }
    }
    output.close()?;
    Ok(fine)
}

/// Which model was asked for.
enum Choice {
    /// The best on disk that fits this machine's memory, else the starter.
    Auto,
    Named(Box<ModelSpec>),
    File(PathBuf),
}

impl Choice {
    fn parse(text: &str) -> Result<Self, Usage> {
        let path = Path::new(text);
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
        {
            if !path.is_file() {
                return Err(Usage(format!("--model: {text}: no such file")));
            }
            return Ok(Self::File(path.into()));
        }
        let spec = registry::find(text).map_err(|error| Usage(format!("--model: {error}")))?;
        if spec.kind != Kind::Decoder {
            return Err(Usage(format!(
                "--model: '{text}' is an encoder and cannot write; 'chapterize models list' shows those that can"
            )));
        }
        Ok(Self::Named(Box::new(spec)))
    }
}

/// The best decoder on disk that fits in memory; where there is none, the starter.
fn best_here(hub: &Hub) -> Result<ModelSpec> {
    let system = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing()
            .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
    );
    let memory_mb = system.total_memory() / 1_000_000;
    registry::all()
        .into_iter()
        .rev()
        .find(|spec| {
            spec.kind == Kind::Decoder && spec.memory_mb < memory_mb && hub.cache.holds(spec)
        })
        .map_or_else(|| registry::find(STARTER), Ok)
}

/// Everything that is loaded once for all inputs.
struct Loaded {
    encoder: Box<dyn Encode>,
    writer: Option<(Box<dyn Llm>, Provenance)>,
    style: Style,
}

impl Loaded {
    fn new(args: &Summarize, choice: &Choice, progress: Progress) -> Result<Self> {
        if args.fake_models {
            return Ok(Self::fake(args));
        }
        let opened = device::open(args.device)?;
        let hub = Hub::from_env(args.offline)?;
        let encoder = registry::find(ENCODER)?;
        let spec = match choice {
            Choice::Auto => Some(best_here(&hub)?),
            Choice::Named(spec) => Some(*spec.clone()),
            Choice::File(_) => None,
        };
        let wanted = spec.as_ref().filter(|_| !args.boundaries_only);
        let encoder_files = hub.get(&encoder, progress)?;
        let spec_files = wanted.map(|spec| hub.get(spec, progress)).transpose()?;
        let style = spec
            .as_ref()
            .map_or_else(Style::default, |spec| spec.prompt.clone());
        let writer = match (args.boundaries_only, choice, spec_files) {
            (true, ..) => None,
            (_, Choice::File(path), _) => Some(writer(path, None, args, &style, &opened)?),
            (_, _, Some(files)) => Some(writer(&files[0], wanted, args, &style, &opened)?),
            _ => None,
        };
        let name = writer.as_ref().map_or(ENCODER, |(_, p)| p.name.as_str());
        progress.note(&format!(
            "using {name} on {} ({})",
            opened.name, opened.reason
        ));
        Ok(Self {
            encoder: Box::new(MiniLm::load(
                &encoder_files,
                encoder.window,
                &opened.device,
            )?),
            writer,
            style,
        })
    }

    fn fake(args: &Summarize) -> Self {
        let style = Style {
            material: 120,
            ..Style::default()
        };
        let provenance = Provenance {
            name: "fake".into(),
            repo: None,
            revision: None,
            file: String::new(),
            sha256: String::new(),
            quantization: None,
            encoder: "fake".into(),
            device: "cpu".into(),
            seed: args.seed,
            temperature: args.temperature,
            prompt_hash: style.hash(),
        };
        let writer: Option<(Box<dyn Llm>, _)> = match args.boundaries_only {
            true => None,
            false => Some((Box::new(FakeLlm), provenance)),
        };
        Self {
            encoder: Box::new(FakeEncoder),
            writer,
            style,
        }
    }

    fn summarize(
        &self,
        transcript: Transcript,
        args: &Summarize,
        progress: Progress,
    ) -> Result<crate::summary::Summary> {
        let models = Models {
            encoder: &*self.encoder,
            writer: self.writer.as_ref().map(|(llm, p)| (&**llm, p.clone())),
        };
        let options = Options {
            count: args.count(),
            seed: args.seed,
            temperature: args.temperature,
            style: self.style.clone(),
        };
        summarize(transcript, &models, &options, progress)
    }
}

/// Loads the model in `path`; `spec` is its manifest, where it has one.
fn writer(
    path: &Path,
    spec: Option<&ModelSpec>,
    args: &Summarize,
    style: &Style,
    opened: &OpenDevice,
) -> Result<(Box<dyn Llm>, Provenance)> {
    let engine = Engine::load(path, &opened.device)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let hub = spec.map(ModelSpec::hub).transpose()?;
    let provenance = Provenance {
        name: spec.map_or_else(|| file.to_string(), |spec| spec.name.clone()),
        repo: hub.map(|(repo, _)| repo.into()),
        revision: hub.map(|(_, revision)| revision.into()),
        // A manifest's hash was compared when the file was taken into use.
        sha256: match spec {
            Some(spec) => spec.files[0].sha256.clone(),
            None => cache::sha256(path)?,
        },
        file: file.into(),
        quantization: Some(engine.quantization().into()),
        encoder: ENCODER.into(),
        device: opened.name.clone(),
        seed: args.seed,
        temperature: args.temperature,
        prompt_hash: style.hash(),
    };
    Ok((Box::new(engine), provenance))
}

//! `chapterize summarize`: the pipeline over files, with models loaded once.

use anyhow::Result;

use super::encoder::EncoderRef;
use super::output::Output;
use super::weights::{Loaded, Weights};
use super::{Usage, report};
use crate::chapters::boundary::Boundaries;
use crate::chapters::embed::Encode;
use crate::cli::Summarize;
use crate::engine::device::{self, OpenDevice};
use crate::engine::fake::{FakeEncoder, FakeLlm};
use crate::hub::Hub;
use crate::language::Language;
use crate::model_ref::ModelRef;
use crate::progress::Progress;
use crate::prompt::Style;
use crate::registry::{MULTILINGUAL, POLYGLOT};
use crate::render::Layout;
use crate::summarize::{Llm, Models, Options, summarize};
use crate::summary::{Provenance, Summary};
use crate::transcript::{self, Transcript};

/// Runs the command. `false` where some input failed; the others are done nevertheless.
pub fn run(args: &Summarize) -> Result<bool> {
    let progress = Progress::new(args.quiet);
    let model = parse_model(&args.writing.model)?;
    let encoder = EncoderRef::parse(&args.writing.encoder)?;
    if let Some(note) = model.note(&args.writing.model) {
        progress.note(&note);
    }
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
    let loaded = Tools::new(args, &model, &encoder, progress)?;
    let mut fine = true;
    for transcript in transcripts {
        let done = transcript.and_then(|transcript| {
            let path = transcript.path.clone();
            let summary = loaded.summarize(transcript, args, progress)?;
            let layout = Layout {
                width: output.width(),
                evidence: args.evidence,
            };
            output.write(&path, &args.format.render(&summary, layout))
        });
        if let Err(error) = done {
            report(&error);
            fine = false;
        }
    }
    output.close()?;
    Ok(fine)
}

/// Reads `--model`; what cannot write is refused.
pub(super) fn parse_model(text: &str) -> Result<ModelRef, Usage> {
    let model = ModelRef::parse(text).map_err(|error| Usage(format!("--model: {error:#}")))?;
    match &model {
        ModelRef::Known(spec) if !spec.kind.writes() => Err(Usage(format!(
            "--model: '{text}' is an encoder and cannot write; 'chapterize models list' shows those that can"
        ))),
        _ => Ok(model),
    }
}

/// A language model, and what there is to say of it.
type Writer = (Box<dyn Llm>, Provenance);

/// Everything that is loaded once for all inputs.
struct Tools {
    encoder: Box<dyn Encode>,
    boundaries: Option<Boundaries>,
    reads_english_only: bool,
    writer: Option<Writer>,
    style: Style,
}

impl Tools {
    fn new(
        args: &Summarize,
        model: &ModelRef,
        encoder: &EncoderRef,
        progress: Progress,
    ) -> Result<Self> {
        if args.fake_models {
            return Ok(Self::fake(args));
        }
        let opened = device::open(args.writing.device)?;
        let hub = Hub::from_env(args.writing.offline)?;
        let weights = match args.boundaries_only {
            true => None,
            false => Some(Weights::get(model, &hub, progress)?),
        };
        // After the writer is fetched, which is likelier to be refused.
        let loaded = encoder.load(&hub, &opened.device, progress)?;
        let (writer, style) = match &weights {
            Some(weights) => {
                let (writer, style) = writer(weights, args, encoder, &opened)?;
                (Some(writer), style)
            }
            None => (None, Style::default()),
        };
        let own = encoder.name();
        let name = writer
            .as_ref()
            .map_or(own.as_str(), |(_, p)| p.name.as_str());
        progress.note(&format!(
            "using {name} on {} ({})",
            opened.name, opened.reason
        ));
        Ok(Self {
            boundaries: encoder.boundaries(&loaded)?,
            reads_english_only: encoder.reads_english_only(),
            encoder: Box::new(loaded),
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
            adapter: None,
            encoder: "fake".into(),
            device: "cpu".into(),
            seed: args.writing.seed,
            temperature: args.writing.temperature,
            prompt_hash: style.hash(),
        };
        let writer: Option<Writer> = match args.boundaries_only {
            true => None,
            false => Some((Box::new(FakeLlm), provenance)),
        };
        Self {
            encoder: Box::new(FakeEncoder),
            boundaries: None,
            reads_english_only: false,
            writer,
            style,
        }
    }

    fn summarize(
        &self,
        transcript: Transcript,
        args: &Summarize,
        progress: Progress,
    ) -> Result<Summary> {
        let models = Models {
            encoder: &*self.encoder,
            boundaries: self.boundaries.as_ref(),
            writer: self.writer.as_ref().map(|(llm, p)| (&**llm, p.clone())),
        };
        let options = Options {
            count: args.count(),
            levels: args.levels(),
            seed: args.writing.seed,
            temperature: args.writing.temperature,
            style: self.style.clone(),
            effort: args.writing.effort,
            language: args.writing.language,
        };
        let summary = summarize(transcript, &models, &options, progress)?;
        self.note_languages(&summary, args.writing.language, progress);
        Ok(summary)
    }

    /// Says where a model does not know the language.
    fn note_languages(&self, summary: &Summary, wanted: Option<Language>, progress: Progress) {
        let source = &summary.source;
        let path = &source.path;
        let spoken = source.language.and_then(|code| code.parse().ok());
        if let Some(language) = spoken.filter(|&language: &Language| language != Language::ENGLISH)
            && self.reads_english_only
        {
            progress.note(&format!(
                "{path}: {language}, of which the sentence encoder was taught nothing; '--encoder {MULTILINGUAL}' reads 50 languages"
            ));
        }
        let mut languages = [wanted, spoken].into_iter().flatten();
        if let Some(unknown) = languages.find(|&language| !self.style.knows(Some(language)))
            && let Some(model) = &summary.model
        {
            progress.note(&format!(
                "{path}: {} does not know {unknown}, so chapters are quoted; '-m {POLYGLOT}' was taught 119 languages",
                model.name
            ));
        }
    }
}

/// Loads the language model; and how it is best asked.
fn writer(
    weights: &Weights,
    args: &Summarize,
    encoder: &EncoderRef,
    opened: &OpenDevice,
) -> Result<(Writer, Style)> {
    let Loaded {
        engine,
        style,
        adapter,
    } = weights.load(args.writing.adapter.as_deref(), &opened.device)?;
    let style = style.with(args.writing.prompt_file.as_deref(), args.writing.candidates)?;
    let (file, sha256) = weights.file()?;
    let (repo, revision) = weights.commit().unzip();
    let provenance = Provenance {
        name: weights.name(),
        repo,
        revision,
        file,
        sha256,
        quantization: Some(engine.quantization().into()),
        adapter,
        encoder: encoder.name(),
        device: opened.name.clone(),
        seed: args.writing.seed,
        temperature: args.writing.temperature,
        prompt_hash: style.hash(),
    };
    Ok(((Box::new(engine), provenance), style))
}

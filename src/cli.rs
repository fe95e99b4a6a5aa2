//! The command line: what can be typed, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bench::report::ReportFormat;
use crate::chapters::{Count, Levels};
use crate::engine::device::DeviceChoice;
use crate::eval::TableFormat;
use crate::eval::methods::Method;
use crate::language::Language;
use crate::reading::Effort;
use crate::registry::ENCODER;
use crate::render::OutputFormat;
use crate::transcript::Format;

/// Turn transcripts into chapters with titles and summaries, on this machine
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Summarize(Summarize),
    Models(Models),
    Bench(Bench),
    Eval(Eval),
}

/// Find chapters, and give each a title and a summary
#[derive(Debug, Args)]
pub struct Summarize {
    /// Transcripts: WebVTT, SubRip, Whisper JSON or text; '-' is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,

    #[command(flatten)]
    pub writing: Writing,

    /// Make exactly this many chapters
    #[arg(
        long,
        value_name = "N",
        value_parser = at_least_one,
        allow_negative_numbers = true,
        conflicts_with = "chapter_minutes",
        help_heading = "Chapters"
    )]
    pub chapters: Option<usize>,

    /// Make chapters of about this many minutes
    #[arg(
        long,
        value_name = "MINUTES",
        value_parser = positive,
        allow_negative_numbers = true,
        help_heading = "Chapters"
    )]
    pub chapter_minutes: Option<f64>,

    /// With 2, find also the topics inside each chapter, and give each a title
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=2),
        help_heading = "Chapters"
    )]
    pub levels: u8,

    /// Only find where chapters begin; no titles, no summaries
    #[arg(long, help_heading = "Chapters")]
    pub boundaries_only: bool,

    /// Read the input as this format, whatever it looks like: vtt, srt, json or txt
    #[arg(long, value_name = "FORMAT", help_heading = "Input and output")]
    pub from: Option<Format>,

    /// Write the result in this format
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Input and output"
    )]
    pub format: OutputFormat,

    /// Say below each chapter where what stands in it was said (JSON always does)
    #[arg(long, help_heading = "Input and output")]
    pub evidence: bool,

    /// Write to this file, or into this folder one file per transcript, instead of standard output
    #[arg(short, long, value_name = "PATH", help_heading = "Input and output")]
    pub output: Option<PathBuf>,

    /// Print no progress and no notes
    #[arg(short, long, help_heading = "Input and output")]
    pub quiet: bool,

    /// Answer from a fixed rule instead of a model, for tests of everything else
    #[arg(long, hide = true)]
    pub fake_models: bool,
}

/// What writes, and how
#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
pub struct Writing {
    /// Model to write with: 'auto', a name from 'chapterize models list', a hub id
    /// (owner/name[:file][@revision]), a folder or a .gguf file
    #[arg(short, long, default_value = "auto")]
    pub model: String,

    /// LoRA adapter to add to the model: a folder as PEFT writes it, or 'none' to leave out the one
    /// that belongs to it
    #[arg(long, value_name = "FOLDER")]
    pub adapter: Option<PathBuf>,

    /// Sentence encoder that finds chapters and checks summaries: a name from 'chapterize models
    /// list', as multilingual-minilm-l12-v2, or a folder
    #[arg(long, default_value = ENCODER, value_name = "ENCODER")]
    pub encoder: String,

    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,

    /// Use only models that are on this machine; never open a connection
    #[arg(long)]
    pub offline: bool,

    /// Choose the random draws: the same seed writes the same text
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,

    /// How freely the model writes, 0 to 2; 0 takes the likeliest words only
    #[arg(
        long,
        default_value_t = 0.3,
        value_name = "T",
        value_parser = temperature,
        allow_negative_numbers = true,
    )]
    pub temperature: f32,

    /// Have so many answers written for each chapter and keep what holds best [default: what suits
    /// the model]
    #[arg(
        long,
        value_name = "N",
        value_parser = at_least_one,
        allow_negative_numbers = true,
    )]
    pub candidates: Option<usize>,

    /// How much of each chapter the model reads, and how often it is asked
    #[arg(long, value_enum, default_value_t, value_name = "EFFORT")]
    pub effort: Effort,

    /// Write in this language, as 'de' or 'German' [default: that of the transcript]
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Option<Language>,

    /// Ask the model as this TOML file says (see docs/prompts.md)
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
}

impl Summarize {
    /// How many chapters are wanted.
    pub fn count(&self) -> Count {
        match (self.chapters, self.chapter_minutes) {
            (Some(count), _) => Count::Exactly(count),
            (_, Some(minutes)) => Count::Minutes(minutes),
            _ => Count::Auto,
        }
    }

    /// Whether topics are wanted, too.
    pub fn levels(&self) -> Levels {
        match self.levels {
            2 => Levels::Two,
            _ => Levels::One,
        }
    }
}

/// See, fetch, check and remove models
#[derive(Debug, Args)]
pub struct Models {
    #[command(subcommand)]
    pub action: Action,

    /// Never open a connection
    #[arg(long, global = true)]
    pub offline: bool,

    /// Print no progress and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show all models and what is on this machine
    List,
    /// Fetch models, or all that a first 'summarize' needs
    Get {
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        /// Fetch also what this machine has not the memory to run
        #[arg(long)]
        force: bool,
    },
    /// Show what is known about a model
    Info {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print where a model's files are
    Path {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Read models on this machine again and compare their hashes
    Verify {
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove models from this machine
    Rm {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// Measure how fast models read and write on this machine
///
/// Every model is measured on every device with every number of threads, each in a process of its own, and there with
/// every batch size. Prompts are cut from a transcript that is built in.
#[derive(Debug, Args)]
pub struct Bench {
    /// Models, separated by commas, each named as for 'summarize'
    #[arg(
        short,
        long = "model",
        default_value = "auto",
        value_delimiter = ',',
        value_name = "MODELS",
        help_heading = "What to measure"
    )]
    pub models: Vec<String>,

    /// Devices: auto, cpu, cuda, cuda:N, metal
    #[arg(
        long = "device",
        default_value = "auto",
        value_delimiter = ',',
        value_name = "DEVICES",
        help_heading = "What to measure"
    )]
    pub devices: Vec<DeviceChoice>,

    /// Threads on the CPU; as many as 'summarize' takes where none is given
    #[arg(
        short,
        long,
        value_delimiter = ',',
        value_parser = at_least_one,
        allow_negative_numbers = true,
        value_name = "N,...",
        help_heading = "What to measure"
    )]
    pub threads: Vec<usize>,

    /// How many sequences are read and written at once
    #[arg(
        short,
        long = "batch",
        default_value = "1,12",
        value_delimiter = ',',
        value_parser = at_least_one,
        allow_negative_numbers = true,
        value_name = "N,...",
        help_heading = "What to measure"
    )]
    pub batches: Vec<usize>,

    /// Tokens of a prompt
    #[arg(
        short,
        long = "prompt",
        default_value = "512",
        value_delimiter = ',',
        value_parser = at_least_one,
        allow_negative_numbers = true,
        value_name = "N,...",
        help_heading = "What to measure"
    )]
    pub prompts: Vec<usize>,

    /// Tokens written after each prompt
    #[arg(
        short = 'n',
        long,
        default_value_t = 32,
        value_parser = at_least_one,
        allow_negative_numbers = true,
        value_name = "TOKENS",
        help_heading = "What to measure"
    )]
    pub write: usize,

    /// Measure so many times, after one time to warm up
    #[arg(
        short,
        long,
        default_value_t = 5,
        value_parser = at_least_one,
        allow_negative_numbers = true,
        value_name = "TIMES",
        help_heading = "What to measure"
    )]
    pub repetitions: usize,

    /// Also run the whole of 'summarize' once on the built-in transcript; needs the sentence encoder
    #[arg(long, help_heading = "What to measure")]
    pub end_to_end: bool,

    /// Use only models that are on this machine; never open a connection
    #[arg(long, help_heading = "Input and output")]
    pub offline: bool,

    /// Write the results in this format
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Input and output"
    )]
    pub format: ReportFormat,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "PATH", help_heading = "Input and output")]
    pub output: Option<PathBuf>,

    /// Print no progress and no notes
    #[arg(short, long, help_heading = "Input and output")]
    pub quiet: bool,

    /// Measure what this JSON says, for the process that started this one
    #[arg(long, hide = true)]
    pub worker: Option<String>,
}

/// Compare with what people made of the same texts
///
/// Where chapters begin, by several methods; with --summaries, what is written about them.
///
/// Data are JSON lines, a document each: "utterances" with "text" and, where known, "speaker", "start" and "end"; and either
/// "title" and "summary" of the whole, or "chapters" with "start_utterance", "title" and "summary".
#[derive(Debug, Args)]
pub struct Eval {
    /// Documents with chapters, titles or summaries by people
    #[arg(required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,

    /// Find boundaries only in this way; in all ways without it
    #[arg(long, value_enum, conflicts_with = "summaries", value_name = "METHOD")]
    pub method: Option<Method>,

    /// Make as many chapters as the person did
    #[arg(long, conflicts_with = "summaries")]
    pub given_count: bool,

    /// Write titles, too, and compare them with those of chapters that a person begins at the same place
    #[arg(long, conflicts_with = "summaries")]
    pub titles: bool,

    /// Compare summaries and titles of given passages instead
    #[arg(long)]
    pub summaries: bool,

    /// Take only so many documents or passages, from all over the data
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<usize>,

    /// Write also every text to this file, as JSON lines
    #[arg(long, requires = "summaries", value_name = "PATH")]
    pub texts: Option<PathBuf>,

    /// Use this boundary model instead of the program's, as scripts/train_boundaries.py writes it; no place is read again then
    #[arg(long, conflicts_with = "summaries", hide = true, value_name = "PATH")]
    pub boundaries: Option<PathBuf>,

    /// Write what the boundary model reads of every document to this file, to train it
    #[arg(long, conflicts_with = "summaries", hide = true, value_name = "PATH")]
    pub signs: Option<PathBuf>,

    /// Write the result in this format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: TableFormat,

    #[command(flatten)]
    pub writing: Writing,

    /// Print no progress and no notes
    #[arg(short, long)]
    pub quiet: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".into()),
        Ok(n) => Ok(n),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes.is_finite() && minutes > 0. => Ok(minutes),
        _ => Err("expected a number of minutes above 0".into()),
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(t) if (0. ..=2.).contains(&t) => Ok(t),
        _ => Err("expected a number from 0 to 2".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

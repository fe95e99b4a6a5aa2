//! Where a benchmark's results go, as soon as their format allows.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::super::output::Output;
use super::super::{Usage, print};
use crate::bench::report::{Record, Report, ReportFormat, Row};
use crate::cli::Bench;

/// The name of a result in a folder, without its extension.
const NAME: &str = "bench";

/// A place for results.
pub enum Sink {
    /// Lines, each written when it is known: what a later failure or Ctrl-C leaves undone loses nothing.
    Lines(Option<(PathBuf, File)>),
    /// A document, written at the end and whole.
    Whole(Output, ReportFormat),
}

impl Sink {
    /// Opens what `--output` says; a folder that is not there is found before anything is measured.
    pub fn open(args: &Bench) -> Result<Self> {
        let extension = args.format.extension();
        let output = Output::new(args.output.as_deref(), extension, &[])?;
        Ok(match (args.format, &args.output) {
            (ReportFormat::Jsonl, None) => Self::Lines(None),
            (ReportFormat::Jsonl, Some(path)) => {
                let path = match path.is_dir() {
                    true => path.join(NAME).with_extension(extension),
                    false => path.clone(),
                };
                let file = File::create(&path)
                    .map_err(|error| Usage(format!("--output: {}: {error}", path.display())))?;
                Self::Lines(Some((path, file)))
            }
            _ => Self::Whole(output, args.format),
        })
    }

    pub fn row(&mut self, row: &Record<&Row>) -> Result<()> {
        match self {
            Self::Lines(None) => print(&row.json_line()),
            Self::Lines(Some((path, file))) => file
                .write_all(row.json_line().as_bytes())
                .with_context(|| format!("{}: cannot be written", path.display())),
            Self::Whole(..) => Ok(()),
        }
    }

    pub fn close(self, report: &Report) -> Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Whole(mut output, format) => {
                output.write(NAME, &report.render(format))?;
                output.close()
            }
        }
    }
}

//! A summary as text, one file per format.

mod json;
mod markdown;

use clap::ValueEnum;

use crate::summary::Summary;

/// The formats a summary can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Markdown,
    Json,
}

impl OutputFormat {
    /// Of a file in this format, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
        }
    }

    /// The summary, ending in a newline; paragraphs in lines of `width` columns, where that is given.
    pub fn render(self, summary: &Summary, width: Option<usize>) -> String {
        match self {
            Self::Markdown => markdown::render(summary, width),
            Self::Json => json::render(summary),
        }
    }
}

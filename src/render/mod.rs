//! A summary as text, one file per format.

mod json;
mod markdown;

use clap::ValueEnum;

use crate::summary::Summary;

/// How text for people is laid out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Columns of a paragraph's lines; `None` breaks none.
    pub width: Option<usize>,
    /// Whether to say, below each chapter, where what stands in it was said.
    pub evidence: bool,
}

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

    /// The summary, ending in a newline.
    pub fn render(self, summary: &Summary, layout: Layout) -> String {
        match self {
            Self::Markdown => markdown::render(summary, layout),
            Self::Json => json::render(summary),
        }
    }
}

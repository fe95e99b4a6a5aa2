//! The program beside what people made of the same texts: `chapterize eval`.

pub mod boundaries;
mod documents;
pub mod facts;
pub mod methods;
pub mod metrics;
pub mod rouge;
pub mod summaries;
mod table;
pub mod titles;

use clap::ValueEnum;

pub use documents::{Document, Item, divided, items};
pub use table::{boundaries as boundaries_table, summaries as summaries_table};

/// In what form the table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TableFormat {
    #[default]
    Md,
    Json,
}

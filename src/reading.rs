//! What of a chapter the model reads, request by request.

use clap::ValueEnum;

use crate::chunk::Passage;
use crate::prompt::Style;

/// How much of each chapter the model reads, and how often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Effort {
    // No doc comments: clap would make pages of them.
    // The most central sentences of each chapter, once.
    Fast,
    // More of them, and several answers to choose from.
    #[default]
    Balanced,
    // Every sentence of every chapter.
    Full,
}

impl Effort {
    /// Quotes of a chapter that are reported.
    fn quotes(self) -> usize {
        match self {
            Self::Fast => 4,
            Self::Balanced => 8,
            Self::Full => usize::MAX,
        }
    }
}

/// The sentences that one request shows, ascending.
pub type Reading = Vec<usize>;

/// What is read of a passage: quotes where the style has them reported, else as much as `budget` tokens hold. `attempt` counts from 0: a
/// second one reads other quotes, or less at a time.
pub fn readings(
    passage: &Passage,
    style: &Style,
    effort: Effort,
    attempt: usize,
    budget: usize,
    count: impl Fn(&str) -> usize,
) -> Vec<Reading> {
    if style.reports() {
        let quotes = match effort {
            Effort::Full if attempt > 0 => Vec::new(),
            Effort::Full => passage.all_quotes(),
            _ => passage.central_quotes(effort.quotes(), attempt * effort.quotes()),
        };
        return quotes.into_iter().map(Iterator::collect).collect();
    }
    let budget = budget >> attempt;
    match effort {
        Effort::Full => passage.parts(budget, count),
        _ => vec![passage.material(budget, count)],
    }
}

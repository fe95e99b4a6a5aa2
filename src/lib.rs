pub mod engine;
pub mod summarize;

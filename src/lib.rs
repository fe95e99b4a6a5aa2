//! Turns a talk, interview, lecture or meeting transcript into chapters, each with a start time, a title and a short
//! summary, on your own machine, with open models.
//!
//! In the order in which the data flows: [`transcript`] reads and cleans a file and finds its sentences, [`chapters`]
//! embeds them and finds where chapters begin, [`chunk`], [`reading`] and [`prompt`] choose what the model reads, [`writer`] asks the [`engine`],
//! [`ground`] and [`title`] check what it wrote against what was [`said`], [`merge`] sums up the whole, [`render`] prints the [`summary`].
//! [`summarize`] is the pipeline itself, and the file to read first. [`bench`] measures how fast it all is,
//! [`eval`] how good.

pub mod bench;
pub mod cache;
pub mod chapters;
pub mod chunk;
pub mod cli;
pub mod commands;
pub mod disfluency;
pub mod engine;
pub mod eval;
pub mod gist;
pub mod ground;
pub mod hash;
pub mod hub;
pub mod language;
pub mod machine;
pub mod memory;
pub mod merge;
pub mod model_ref;
pub mod numbers;
pub mod opening;
pub mod phrase;
pub mod progress;
pub mod prompt;
pub mod reading;
pub mod registry;
pub mod render;
pub mod repo;
pub mod roles;
pub mod said;
pub mod summarize;
pub mod summary;
pub mod title;
pub mod transcript;
pub mod trust;
pub mod words;
pub mod writer;

pub mod cache;
pub mod engine;
pub mod hub;
pub mod progress;
pub mod registry;
pub mod summarize;

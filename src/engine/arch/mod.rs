//! Architectures: one file per family, sharing the layers.

pub mod decoder;
pub mod kernel;
pub mod layers;

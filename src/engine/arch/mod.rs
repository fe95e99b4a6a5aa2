//! Architectures: one file per family, sharing the layers.

pub mod attention;
pub mod decoder;
pub mod kernel;
pub mod layers;

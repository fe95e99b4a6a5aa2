//! One file per family of architectures, over shared parts.

pub mod attention;
pub mod bart;
pub mod bert;
pub mod config;
pub mod cpu;
pub mod decoder;
pub mod half;
pub mod kernel;
pub mod layers;
pub mod rope;
pub mod seq2seq;
pub mod simd;
pub mod t5;

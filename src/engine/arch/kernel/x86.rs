//! The loops around the tiles, and how they are given to threads.

mod avx2;
mod avx512;

use std::ops::Range;

use rayon::prelude::*;

use super::activations::{Activations, GROUP};
use super::{Isa, PackedWeight, TILE};

/// Multiply-adds below which handing work to other threads costs more than it saves.
const INLINE: usize = 1 << 20;
/// Chunks per thread.
const CHUNKS: usize = 8;
/// Bytes of activations that stay in a core's second-level cache while the tiles pass by.
const STRIP: usize = 256 << 10;

/// An output matrix, shared by threads that write disjoint columns.
struct Output(*mut f32);
// SAFETY: `multiply` gives every tile, and so every column, to one thread.
unsafe impl Sync for Output {}
// SAFETY: as above.
unsafe impl Send for Output {}

/// Some tiles of one of the weights.
type Chunk = (usize, Range<usize>);

/// Fills empty vectors, which have the room, with the products of `rows` rows with several weights, `(rows, out)` each. Zeros would
/// be overwritten at once.
pub fn multiply(
    weights: &[&PackedWeight],
    x: &Activations,
    rows: usize,
    products: &mut [Vec<f32>],
) {
    for (weight, product) in weights.iter().zip(&*products) {
        assert!(rows * weight.out <= product.capacity());
    }
    let outputs = products.iter_mut().map(|y| Output(y.as_mut_ptr()));
    let outputs = outputs.collect::<Vec<_>>();
    let run = |(weight, tiles): Chunk| {
        let y = &outputs[weight];
        let weight = weights[weight];
        // SAFETY: `isa` is what was detected when this weight was packed; the tiles are this thread's alone.
        unsafe {
            match weight.isa {
                Isa::Avx512Vnni => weight.strips_avx512(x, rows, tiles, y),
                Isa::Avx2 => weight.strips_avx2(x, rows, tiles, y),
            }
        }
    };
    let tiles = weights
        .iter()
        .map(|weight| weight.out / TILE)
        .sum::<usize>();
    let work = weights
        .iter()
        .map(|weight| rows * weight.out * weight.input);
    let chunk = match work.sum::<usize>() < INLINE {
        true => tiles,
        // More chunks than threads, so that a core which is busy with something else does less.
        false => tiles.div_ceil(rayon::current_num_threads() * CHUNKS),
    };
    let chunks = weights.iter().enumerate().flat_map(|(i, weight)| {
        let tiles = weight.out / TILE;
        let starts = (0..tiles).step_by(chunk);
        starts.map(move |start| (i, start..tiles.min(start + chunk)))
    });
    match chunk == tiles {
        true => chunks.for_each(run),
        // The pool that candle uses too: two pools on the same cores wait for each other.
        false => chunks.collect::<Vec<_>>().into_par_iter().for_each(run),
    }
    for (weight, product) in weights.iter().zip(products) {
        let len = rows * weight.out;
        assert!(weight.out.is_multiple_of(TILE));
        // SAFETY: every row has been written in all its tiles, which are all its columns.
        unsafe { product.set_len(len) }
    }
}

impl PackedWeight {
    /// Rows of activations that are multiplied with all tiles before the next ones are: whole groups.
    fn strip(&self) -> usize {
        (STRIP / self.input).next_multiple_of(GROUP)
    }
}

//! The loops around the tiles, and how they are given to threads.

mod avx2;
mod avx512;

use std::ops::Range;

use rayon::prelude::*;

use super::activations::Activations;
use super::{Isa, PackedWeight, TILE};

/// Multiply-adds below which handing work to other threads costs more than it saves.
const INLINE: usize = 1 << 20;
/// Chunks per thread.
const CHUNKS: usize = 8;
/// Bytes of activations that stay in a core's second-level cache while the tiles pass by.
const STRIP: usize = 256 << 10;

/// The output matrix, shared by threads that write disjoint columns.
struct Output(*mut f32);
// SAFETY: `multiply` gives every tile, and so every column, to one thread.
unsafe impl Sync for Output {}

impl PackedWeight {
    pub(super) fn multiply(&self, x: &Activations, y: &mut [f32]) {
        let rows = y.len() / self.out;
        let output = Output(y.as_mut_ptr());
        let tiles = self.out / TILE;
        let run = |tiles: Range<usize>| {
            // SAFETY: `isa` is what was detected when this weight was packed; the tiles are this thread's alone.
            unsafe {
                match self.isa {
                    Isa::Avx512Vnni => self.strips_avx512(x, rows, tiles, &output),
                    Isa::Avx2 => self.strips_avx2(x, rows, tiles, &output),
                }
            }
        };
        if rows * self.out * self.input < INLINE {
            return run(0..tiles);
        }
        // The pool that candle uses too: two pools on the same cores wait for each other. More chunks than threads,
        // so that a core which is busy with something else does less.
        let chunk = tiles.div_ceil(rayon::current_num_threads() * CHUNKS);
        (0..tiles.div_ceil(chunk))
            .into_par_iter()
            .for_each(|i| run(i * chunk..tiles.min((i + 1) * chunk)));
    }

    /// Rows of activations that are multiplied with all tiles before the next ones are.
    fn strip(&self, group: usize) -> usize {
        (STRIP / self.input).next_multiple_of(group)
    }
}

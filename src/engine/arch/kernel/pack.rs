//! Weights as GGUF files store them to tiles.

mod blocks;

use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::iter::Either;
use rayon::prelude::*;

use super::{
    BLOCK, Bytes, Halves, Isa, Layout, Line, PackedWeight, SUPER, Small, Stored, TILE, Width,
};

impl Layout {
    fn of(dtype: GgmlDType) -> Option<Self> {
        let (width, offset, mins, small) = match dtype {
            GgmlDType::Q4_0 => (Width::Four, 8., false, Small::None),
            GgmlDType::Q4_1 => (Width::Four, 0., true, Small::None),
            GgmlDType::Q5_0 => (Width::Five, 16., false, Small::None),
            GgmlDType::Q5_1 => (Width::Five, 0., true, Small::None),
            GgmlDType::Q8_0 => (Width::Eight, 128., false, Small::None),
            GgmlDType::Q2K => (Width::Four, 0., true, Small::PerHalf),
            GgmlDType::Q3K => (Width::Four, 4., false, Small::PerHalf),
            GgmlDType::Q4K => (Width::Four, 0., true, Small::PerBlock),
            GgmlDType::Q5K => (Width::Five, 0., true, Small::PerBlock),
            GgmlDType::Q6K => (Width::Six, 32., false, Small::PerHalf),
            _ => return None,
        };
        Some(Self {
            width,
            offset,
            mins,
            small,
        })
    }

    /// Of a tile of rows of `input`: lines of codes, large and small numbers.
    fn sizes(self, input: usize) -> (usize, usize, usize) {
        let lines = input / BLOCK * self.width.lines();
        let each = 1 + usize::from(self.mins);
        let (large, small) = match self.small {
            Small::None => (input / BLOCK, 0),
            Small::PerBlock => (input / SUPER, input / BLOCK),
            Small::PerHalf => (input / SUPER, 2 * input / BLOCK),
        };
        (lines, each * large, each * small)
    }
}

/// Repacks a weight, or `None` where its type or shape is not for these kernels.
pub fn pack(weight: &Stored, isa: Isa) -> Option<PackedWeight> {
    let Stored {
        dtype,
        shape: (all, input),
        bytes,
        order,
    } = *weight;
    let layout = Layout::of(dtype)?;
    let out = order.map_or(all, <[usize]>::len);
    if out == 0 || out % TILE != 0 || input % dtype.block_size() != 0 {
        return None;
    }
    let row_bytes = bytes.len() / all;
    let tiles = out / TILE;
    let (lines, larges, smalls) = layout.sizes(input);
    let mut codes = vec![Line([0; TILE]); tiles * lines];
    let mut large = vec![Halves([f16::ZERO; TILE]); tiles * larges];
    let mut small = vec![Bytes([0; TILE]); tiles * smalls];
    let parts = (
        chunks(&mut codes, tiles),
        chunks(&mut large, tiles),
        chunks(&mut small, tiles),
    );
    let parts = parts.into_par_iter().enumerate();
    parts.for_each(|(tile, (codes, large, small))| {
        for r in 0..TILE {
            let row = tile * TILE + r;
            let row = order.map_or(row, |order| order[row]);
            let row = &bytes[row * row_bytes..][..row_bytes];
            blocks::codes(dtype, row, layout.width, codes, r);
            blocks::large(dtype, row, |i, value| large[i].0[r] = value);
            blocks::small(dtype, row, |i, value| small[i].0[r] = value);
        }
    });
    Some(PackedWeight {
        out,
        input,
        isa,
        layout,
        codes,
        large,
        small,
    })
}

/// As many equal parts as there are tiles, also of nothing.
fn chunks<T: Send>(
    values: &mut [T],
    tiles: usize,
) -> impl IndexedParallelIterator<Item = &mut [T]> {
    match values.len() / tiles {
        0 => Either::Left((0..tiles).into_par_iter().map(|_| &mut [][..])),
        each => Either::Right(values.par_chunks_exact_mut(each)),
    }
}

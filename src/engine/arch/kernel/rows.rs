//! Rows of a packed matrix in full: a tied head is the table of embeddings too.

use candle_core::{Device, Result, Tensor, bail};

use super::{BLOCK, PackedWeight, SUPER, Small, TILE, Width};

impl PackedWeight {
    /// The rows that `ids` name, `(T, in)`. Errors: an id that is no row.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.out) {
            bail!("row {id} of a matrix of {}", self.out)
        }
        let mut rows = vec![0f32; ids.len() * self.input];
        for (row, id) in rows.chunks_exact_mut(self.input).zip(ids) {
            self.row(*id as usize, row);
        }
        Tensor::from_vec(rows, (ids.len(), self.input), &Device::Cpu)
    }

    /// Row `row` of the matrix the weight stands for, `out` is `(in)`.
    fn row(&self, row: usize, out: &mut [f32]) {
        let (tile, r) = (row / TILE, row % TILE);
        let blocks = self.input / BLOCK;
        for (b, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let codes = self.block_codes(tile * blocks + b, r);
            for (half, (out, codes)) in out.chunks_exact_mut(16).zip(codes.chunks(16)).enumerate() {
                let (scale, min) = self.scale(tile, b, half, r);
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = scale * f32::from(*code) + min;
                }
            }
        }
    }

    fn block_codes(&self, block: usize, r: usize) -> [u8; BLOCK] {
        let lines = self.layout.width.lines();
        let lines = &self.codes[block * lines..][..lines];
        let byte = |line: usize, c: usize| lines[line].0[r].to_le_bytes()[c];
        let nibble = |i: usize| byte(i % 16 / 4, i % 4) >> (i / 16 * 4) & 15;
        std::array::from_fn(|i| match self.layout.width {
            Width::Four => nibble(i),
            Width::Five => {
                let mask = lines[4].0[i / 4 * 2 + r / 8];
                nibble(i) | ((mask >> (r % 8 * 4 + i % 4) & 1) as u8) << 4
            }
            Width::Six => {
                let pair = byte(4 + i / 16, i % 4) >> (i % 16 / 4 * 2) & 3;
                nibble(i) | pair << 4
            }
            Width::Eight => byte(i / 4, i % 4),
        })
    }

    /// Scale and min of a half block.
    fn scale(&self, tile: usize, b: usize, half: usize, r: usize) -> (f32, f32) {
        let layout = &self.layout;
        let each = 1 + usize::from(layout.mins);
        let blocks = self.input / BLOCK;
        let large = match layout.small {
            Small::None => tile * blocks + b,
            _ => tile * (self.input / SUPER) + b / (SUPER / BLOCK),
        };
        let small = match layout.small {
            Small::None => None,
            Small::PerBlock => Some(tile * blocks + b),
            Small::PerHalf => Some((tile * blocks + b) * 2 + half),
        };
        let number = |which: usize| {
            let small = small.map_or(1., |i| f32::from(self.small[i * each + which].0[r]));
            self.large[large * each + which].0[r].to_f32() * small
        };
        match layout.mins {
            true => (number(0), number(1)),
            false => (number(0), -layout.offset * number(0)),
        }
    }
}

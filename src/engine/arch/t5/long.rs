//! LongT5's encoder attention: every token sees its neighbours and, in the transient-global variant, the sum of each block of
//! the source, so that the work grows with the source's length and not with its square.
//!
//! Paper: Guo et al. 2022. Reference: `LongT5LocalAttention` and `LongT5TransientGlobalAttention` of transformers.

use candle_core::{Result, Tensor};

use super::super::attention::{Mask, Scores, attention};
use super::super::layers::RmsNorm;
use super::super::seq2seq::Attention;
use super::relative::RelativeBias;

/// What the layers share.
pub struct LongPositions {
    /// How many neighbours to each side are seen.
    radius: usize,
    /// What a block of `radius + 1` queries adds to the scores of the keys from `radius` before its first query to
    /// `radius` behind its last, `(heads, radius + 1, 3 radius + 1)`; minus infinity where one is too far.
    local: Tensor,
    /// Tokens that are summed up as one, and the bias by distance in such blocks.
    global: Option<(usize, RelativeBias)>,
}

impl LongPositions {
    pub fn new(
        radius: usize,
        local: &RelativeBias,
        global: Option<(usize, RelativeBias)>,
    ) -> Result<Self> {
        let seen = |query: usize, key: usize| {
            let distance = key as isize - query as isize;
            (distance.unsigned_abs() <= radius).then_some(distance)
        };
        Ok(Self {
            radius,
            local: local.at(radius..2 * radius + 1, 0..3 * radius + 1, seen)?,
            global,
        })
    }

    /// Attention within packed sources `(T, hidden)`. `norm` is that of the blocks' sums, where there are such.
    pub fn attend(
        &self,
        layer: &Attention,
        norm: Option<&RmsNorm>,
        x: &Tensor,
        lengths: &[usize],
    ) -> Result<Tensor> {
        let q = layer.queries(x)?;
        let (k, v) = layer.keys_values(x)?;
        let mut blocks = Vec::new();
        let mut start = 0;
        for len in lengths {
            let globals = match (&self.global, norm) {
                (Some((size, bias)), Some(norm)) if len >= size => {
                    let sums = norm.forward(&block_sums(&x.narrow(0, start, *len)?, *size)?)?;
                    Some((layer.keys_values(&sums)?, *size, bias))
                }
                _ => None,
            };
            for first in (0..*len).step_by(self.radius + 1) {
                let count = (self.radius + 1).min(len - first);
                let (from, to) = (
                    first.saturating_sub(self.radius),
                    (first + count + self.radius).min(*len),
                );
                let near = |x: &Tensor| x.narrow(1, start + from, to - from)?.contiguous();
                let (mut keys, mut values) = (near(&k)?, near(&v)?);
                // The shared bias begins `radius` before the first query, the source may begin later.
                let cut = from + self.radius - first;
                let bias = self.local.narrow(1, 0, count)?;
                let mut bias = bias.narrow(2, cut, to - from)?.contiguous()?;
                if let Some(((block_keys, block_values), size, by_block)) = &globals {
                    let there = block_keys.dim(1)?;
                    let distance = |query: usize, key: usize| {
                        // Tokens behind the last whole block belong to it.
                        let own = (query / size).min(there - 1);
                        Some(key as isize - own as isize)
                    };
                    let by_block = by_block.at(first..first + count, 0..there, distance)?;
                    keys = Tensor::cat(&[&keys, block_keys], 1)?;
                    values = Tensor::cat(&[&values, block_values], 1)?;
                    bias = Tensor::cat(&[&bias, &by_block], 2)?;
                }
                let scores = Scores {
                    scale: 1.,
                    mask: Mask::None,
                    bias: Some(&bias),
                };
                let q = q.narrow(0, start + first, count)?;
                blocks.push(attention(&q, &keys, &values, scores)?);
            }
            start += len;
        }
        layer.output(&Tensor::cat(&blocks, 0)?)
    }
}

/// Sums of each `size` tokens of a source `(t, hidden)`, those behind the last whole block with it: `(t / size, hidden)`.
fn block_sums(x: &Tensor, size: usize) -> Result<Tensor> {
    let (t, hidden) = x.dims2()?;
    let blocks = t / size;
    let whole = x.narrow(0, 0, blocks * size)?;
    let sums = whole.reshape((blocks, size, hidden))?.sum(1)?;
    if t == blocks * size {
        return Ok(sums);
    }
    let rest = x.narrow(0, blocks * size, t - blocks * size)?;
    let rest = rest.sum_keepdim(0)?;
    let last = (sums.narrow(0, blocks - 1, 1)? + rest)?;
    Tensor::cat(&[&sums.narrow(0, 0, blocks - 1)?, &last], 0)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn tokens_behind_the_last_block_belong_to_it() {
        let x = Tensor::from_iter((0..14).map(|x| x as f32), &Device::Cpu).unwrap();
        let x = x.reshape((7, 2)).unwrap();
        let sums = |x: &Tensor| block_sums(x, 3).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(sums(&x), [[6., 9.], [36., 40.]]);
        assert_eq!(sums(&x.narrow(0, 0, 6).unwrap()), [[6., 9.], [24., 27.]]);
    }
}

//! What encoder-decoders share: attention within a source, over what is written and across to the source, and how a
//! batch of sources begins.
//!
//! Architecture: Vaswani et al. 2017. Sources are packed, not padded: linear layers see the tokens of all sources of a pass as
//! one `(T, hidden)` matrix, attention sees each source alone. That is what padding masks are for, without the padding.

use anyhow::Result as Loaded;
use candle_core::{Device, Result, Tensor};

use super::attention::{Mask, Scores, attend_rows_biased, attention};
use super::layers::Linear;
use crate::engine::batch::{Cache, Model, PREFILL_CHUNK, Prompt};
use crate::engine::weights::Weights;

/// An encoder-decoder, for [`begin`].
pub trait EncoderDecoder: Model {
    /// The encoder's output for packed sources, none of them empty: `(T, hidden)`.
    fn encode(&self, sources: &[&[u32]]) -> Result<Tensor>;

    /// Per layer of the decoder, keys and values of one source's encoder output `(t, hidden)`: `(heads, t, d)` each.
    fn cross(&self, encoded: &Tensor) -> Result<Vec<(Tensor, Tensor)>>;

    /// The token that stands before every text written.
    fn start(&self) -> u32;
}

/// Encodes the prompts, as many in one pass as its budget of tokens allows, and runs the decoder's start token.
/// See [`Model::begin`].
pub fn begin(
    model: &impl EncoderDecoder,
    prompts: &[Prompt],
    passed: &mut dyn FnMut(usize),
) -> Result<Vec<(Cache, Vec<f32>)>> {
    let mut begun = Vec::with_capacity(prompts.len());
    for pass in passes(prompts) {
        let sources = pass.iter().map(|prompt| prompt.ids).collect::<Vec<_>>();
        let encoded = model.encode(&sources)?;
        let mut caches = Vec::with_capacity(pass.len());
        let mut start = 0;
        for prompt in pass {
            let len = prompt.ids.len();
            // The start token takes the place of the last token written, which is never read.
            let mut cache = model.cache(prompt.room.max(1))?;
            cache.cross = model.cross(&encoded.narrow(0, start, len)?)?;
            caches.push(cache);
            start += len;
        }
        let token = [model.start()];
        let rows = vec![&token[..]; pass.len()];
        let logits = model.forward(&rows, &mut caches.iter_mut().collect::<Vec<_>>())?;
        begun.extend(caches.into_iter().zip(logits.to_vec2::<f32>()?));
        passed(start);
    }
    Ok(begun)
}

/// Cut where the next source would exceed the tokens of a pass; a source longer than that is a pass of its own.
fn passes<'a, 'b>(mut prompts: &'a [Prompt<'b>]) -> Vec<&'a [Prompt<'b>]> {
    let mut passes = Vec::new();
    while !prompts.is_empty() {
        let mut tokens = 0;
        let fitting = prompts
            .iter()
            .take_while(|prompt| {
                tokens += prompt.ids.len();
                tokens <= PREFILL_CHUNK
            })
            .count();
        let (pass, rest) = prompts.split_at(fitting.max(1));
        passes.push(pass);
        prompts = rest;
    }
    passes
}

/// Sizes of an [`Attention`].
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub hidden: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// One attention layer with as many key and value heads as query heads.
pub struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    shape: Shape,
    /// What products of queries and keys are multiplied with.
    scale: f32,
}

impl Attention {
    /// `names` are those of queries, keys, values and output behind `prefix`.
    pub fn load(
        weights: &Weights,
        prefix: &str,
        names: [&str; 4],
        shape: Shape,
        scale: f32,
        device: &Device,
    ) -> Loaded<Self> {
        let inner = shape.heads * shape.head_dim;
        let linear = |name: &str, size| weights.linear(&format!("{prefix}.{name}"), size, device);
        let [q, k, v, output] = names;
        Ok(Self {
            q: linear(q, (inner, shape.hidden))?,
            k: linear(k, (inner, shape.hidden))?,
            v: linear(v, (inner, shape.hidden))?,
            output: linear(output, (shape.hidden, inner))?,
            shape,
            scale,
        })
    }

    /// Queries of `(T, hidden)`: `(T, heads, d)`.
    pub fn queries(&self, x: &Tensor) -> Result<Tensor> {
        let Shape {
            heads, head_dim, ..
        } = self.shape;
        self.q.forward(x)?.reshape((x.dim(0)?, heads, head_dim))
    }

    /// Keys and values of `(T, hidden)`: `(heads, T, d)` each.
    pub fn keys_values(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let Shape {
            heads, head_dim, ..
        } = self.shape;
        let t = x.dim(0)?;
        let split = |x: Tensor| {
            let x = x.reshape((t, heads, head_dim))?;
            x.transpose(0, 1)?.contiguous()
        };
        Ok((split(self.k.forward(x)?)?, split(self.v.forward(x)?)?))
    }

    /// From `(T, heads * d)` to `(T, hidden)`.
    pub fn output(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(x)
    }

    /// Each source's tokens over all of the same source's. `biases` holds one for each source, `(heads, t, t)`, or is empty.
    pub fn within(&self, x: &Tensor, lengths: &[usize], biases: &[Tensor]) -> Result<Tensor> {
        let q = self.queries(x)?;
        let (k, v) = self.keys_values(x)?;
        let mut rows = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for (row, len) in lengths.iter().enumerate() {
            let of = |x: &Tensor, dim| x.narrow(dim, start, *len)?.contiguous();
            let scores = self.scores(Mask::None, biases.get(row));
            rows.push(attention(&of(&q, 0)?, &of(&k, 1)?, &of(&v, 1)?, scores)?);
            start += len;
        }
        self.output(&Tensor::cat(&rows, 0)?)
    }

    /// Each row's new tokens over all that is written before them, which `caches` hold for this `layer`.
    /// `biases` holds one for each row, `(heads, t, len)`, or is empty.
    pub fn written(
        &self,
        x: &Tensor,
        (layer, lengths): (usize, &[usize]),
        caches: &[&mut Cache],
        biases: &[Tensor],
    ) -> Result<Tensor> {
        let (k, v) = self.keys_values(x)?;
        let mut held = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for (len, cache) in lengths.iter().zip(caches) {
            let of = |x: &Tensor| x.narrow(1, start, *len)?.contiguous();
            held.push(cache.append(layer, &of(&k)?, &of(&v)?)?);
            start += len;
        }
        self.over(x, lengths, &held, Mask::Causal, biases)
    }

    /// Each row's new tokens over its source.
    pub fn across(
        &self,
        x: &Tensor,
        (layer, lengths): (usize, &[usize]),
        caches: &[&mut Cache],
    ) -> Result<Tensor> {
        let held = caches
            .iter()
            .map(|cache| cache.cross[layer].clone())
            .collect::<Vec<_>>();
        self.over(x, lengths, &held, Mask::None, &[])
    }

    fn over(
        &self,
        x: &Tensor,
        lengths: &[usize],
        held: &[(Tensor, Tensor)],
        mask: Mask,
        biases: &[Tensor],
    ) -> Result<Tensor> {
        let q = self.queries(x)?;
        if q.device().is_cpu() && lengths.iter().all(|len| *len == 1) {
            return self.output(&attend_rows_biased(&q, held, self.scale, biases)?);
        }
        let mut rows = Vec::with_capacity(lengths.len());
        let mut start = 0;
        for (row, (len, (keys, values))) in lengths.iter().zip(held).enumerate() {
            let q = q.narrow(0, start, *len)?;
            let scores = self.scores(mask, biases.get(row));
            rows.push(attention(&q, keys, values, scores)?);
            start += len;
        }
        self.output(&Tensor::cat(&rows, 0)?)
    }

    fn scores<'a>(&self, mask: Mask, bias: Option<&'a Tensor>) -> Scores<'a> {
        Scores {
            scale: self.scale,
            mask,
            bias,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_holds_as_many_sources_as_fit_and_at_least_one() {
        let ids = vec![1; 2 * PREFILL_CHUNK];
        let lengths = [300, 212, 1, 2 * PREFILL_CHUNK, 511, 2];
        let prompts = lengths.map(|len| Prompt {
            ids: &ids[..len],
            room: 1,
        });
        let passes = passes(&prompts);
        let counts = passes.iter().map(|pass| pass.len()).collect::<Vec<_>>();
        assert_eq!(counts, [2, 1, 1, 1, 1]);
        assert_eq!(counts.iter().sum::<usize>(), prompts.len());
    }
}

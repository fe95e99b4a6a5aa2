//! The seam between the decode loop and an architecture: packed rows in, logits out, state passed by the caller.

use candle_core::{CpuStorage, D, DType, Device, InplaceOp2, Layout, Result, Tensor, bail};
use half::f16;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use rayon::prelude::*;

use super::probe::Trace;

/// What the decode loop needs of an architecture.
///
/// Rows are packed, not padded: the tokens of all rows run through every linear layer as one `(T, hidden)`
/// matrix; only attention looks at rows one by one, each over its own [`Cache`].
pub trait Model: Send + Sync {
    /// Appends each row's tokens to its cache and returns the logits after its last token, `(rows, vocab)` f32.
    /// Every row has at least one token.
    fn forward(&self, rows: &[&[u32]], caches: &mut [&mut Cache]) -> Result<Tensor>;

    /// An empty cache with room for `capacity` tokens.
    fn cache(&self, capacity: usize) -> Result<Cache>;

    /// Bytes of cache that one token takes.
    fn cache_bytes_per_token(&self) -> usize;

    /// Reads prompts and returns, for each, a cache with the room it asks for and the logits of the first token to
    /// write, `(vocab)`. `passed` is called with the tokens of each pass.
    ///
    /// As written here for a decoder, the prompt itself goes through [`Model::forward`], one prompt at a time: the passes
    /// are wide enough to be bound by arithmetic, and a prompt's results do not depend on its neighbours in any way.
    /// An encoder-decoder encodes the prompts and starts the answers.
    fn begin(
        &self,
        prompts: &[Prompt],
        passed: &mut dyn FnMut(usize),
    ) -> Result<Vec<(Cache, Vec<f32>)>> {
        let begin = |prompt: &Prompt| {
            let mut cache = self.cache(prompt.ids.len() + prompt.room)?;
            let mut logits = Vec::new();
            for chunk in prompt.ids.chunks(PREFILL_CHUNK) {
                let last = self.forward(&[chunk], &mut [&mut cache])?;
                logits = last.squeeze(D::Minus2)?.to_vec1::<f32>()?;
                passed(chunk.len());
            }
            Ok((cache, logits))
        };
        prompts.iter().map(begin).collect()
    }
}

/// Tokens of a prompt computed in one pass: bounds the memory of intermediate results.
pub const PREFILL_CHUNK: usize = 512;

/// A prompt, not empty, and how many tokens may be written after it.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    pub ids: &'a [u32],
    pub room: usize,
}

/// Keys and values of one sequence, per layer `(kv heads, capacity, head size)`.
pub struct Cache {
    layers: Vec<(Tensor, Tensor)>,
    /// Of an encoder-decoder: what its layers attend to in the source, `(heads, source tokens, head size)`.
    pub cross: Vec<(Tensor, Tensor)>,
    /// What is noted of the tokens to come; nothing of a prompt's.
    pub trace: Option<Trace>,
    len: usize,
    capacity: usize,
}

impl Cache {
    /// Room in every layer for keys and values of `shape`, `(kv heads, capacity, head size)`; F32 or F16.
    pub fn new(
        layers: usize,
        shape: (usize, usize, usize),
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let capacity = shape.1;
        let room = || room(shape, dtype, device);
        Ok(Self {
            layers: (0..layers)
                .map(|_| Ok((room()?, room()?)))
                .collect::<Result<_>>()?,
            cross: Vec::new(),
            trace: None,
            len: 0,
            capacity,
        })
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes f32 keys and values `(kv heads, t, head size)`, whose heads may be interleaved, behind those held and returns
    /// all of the layer's, `(kv heads, len + t, head size)` in the cache's type. The length moves only with
    /// [`Cache::advance`], after the last layer.
    pub fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (keys, values) = &self.layers[layer];
        Ok((self.write(keys, k)?, self.write(values, v)?))
    }

    fn write(&self, held: &Tensor, new: &Tensor) -> Result<Tensor> {
        let t = new.dim(1)?;
        match held.device().is_cpu() {
            true => held.narrow(1, self.len, t)?.inplace_op2(new, &Write)?,
            false => held.slice_set(&new.contiguous()?, 1, self.len)?,
        }
        held.narrow(1, 0, self.len + t)
    }

    pub fn advance(&mut self, t: usize) {
        self.len += t;
    }

    /// A copy with its own room: rows that share a prompt compute it once and go separate ways from there.
    pub fn fork(&self) -> Result<Self> {
        let copy = |from: &Tensor| -> Result<Tensor> {
            let held = from.narrow(1, 0, self.len)?.contiguous()?;
            let to = room(from.dims3()?, from.dtype(), from.device())?;
            to.slice_set(&held, 1, 0)?;
            Ok(to)
        };
        Ok(Self {
            layers: self
                .layers
                .iter()
                .map(|(k, v)| Ok((copy(k)?, copy(v)?)))
                .collect::<Result<_>>()?,
            // Never written to, so it is shared.
            cross: self.cross.clone(),
            trace: self.trace.clone(),
            ..*self
        })
    }
}

/// Zeros. On the CPU memory that the system has not given yet is not touched before it is written to.
fn room(shape: (usize, usize, usize), dtype: DType, device: &Device) -> Result<Tensor> {
    if dtype == DType::F16 && device.is_cpu() {
        // Of these numbers' own zeros a vector would be filled one by one.
        let bits = vec![0u16; shape.0 * shape.1 * shape.2];
        return Tensor::from_vec(bits.reinterpret_into::<f16>(), shape, device);
    }
    Tensor::zeros(shape, dtype, device)
}

/// Copies f32 numbers `(heads, t, head size)` into a part of a cache, in its type.
struct Write;

impl InplaceOp2 for Write {
    fn name(&self) -> &'static str {
        "write-to-cache"
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        to_layout: &Layout,
        from: &CpuStorage,
        from_layout: &Layout,
    ) -> Result<()> {
        let CpuStorage::F32(from) = from else {
            bail!("keys and values are written to a cache from f32")
        };
        let from = &from[from_layout.start_offset()..];
        let start = to_layout.start_offset();
        let (to_strides, strides) = (to_layout.stride(), from_layout.stride());
        if to_layout.shape() != from_layout.shape() || to_strides[2] != 1 || strides[2] != 1 {
            bail!("keys and values need a place of their shape and contiguous rows")
        }
        let (_, t, d) = to_layout.shape().dims3()?;
        let rows = |head| (0..t).map(move |i| &from[head * strides[0] + i * strides[1]..][..d]);
        match to {
            CpuStorage::F32(to) => write(&mut to[start..], to_strides, t * d, |head, to| {
                for (from, to) in rows(head).zip(to.chunks_exact_mut(d)) {
                    to.copy_from_slice(from);
                }
            }),
            CpuStorage::F16(to) => write(&mut to[start..], to_strides, t * d, |head, to| {
                for (from, to) in rows(head).zip(to.chunks_exact_mut(d)) {
                    to.convert_from_f32_slice(from);
                }
            }),
            _ => bail!("a cache is of F32 or F16"),
        }
        Ok(())
    }
}

/// Has each head's part of a cache, `size` numbers, written.
fn write<T: Send>(
    to: &mut [T],
    strides: &[usize],
    size: usize,
    head: impl Fn(usize, &mut [T]) + Sync,
) {
    /// Numbers below which it is not worth to wake other threads.
    const INLINE: usize = 1 << 15;
    match size < INLINE {
        true => {
            (to.chunks_mut(strides[0]).enumerate()).for_each(|(i, to)| head(i, &mut to[..size]));
        }
        false => {
            (to.par_chunks_mut(strides[0]).enumerate())
                .for_each(|(i, to)| head(i, &mut to[..size]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_holds_what_was_appended_in_its_type() {
        let device = Device::Cpu;
        for dtype in [DType::F32, DType::F16] {
            let mut cache = Cache::new(1, (3, 40, 8), dtype, &device).unwrap();
            let mut all = Vec::new();
            for t in [20, 1, 1] {
                // Interleaved, as a product of a matrix leaves them.
                let new = Tensor::randn(0f32, 1., (t, 3, 8), &device).unwrap();
                let new = new.transpose(0, 1).unwrap();
                let (keys, values) = cache.append(0, &new, &new.contiguous().unwrap()).unwrap();
                cache.advance(t);
                all.push(new.to_dtype(dtype).unwrap());
                let expected = Tensor::cat(&all, 1).unwrap();
                for found in [keys, values] {
                    let found = found
                        .to_dtype(DType::F32)
                        .unwrap()
                        .to_vec3::<f32>()
                        .unwrap();
                    let expected = expected.to_dtype(DType::F32).unwrap();
                    assert_eq!(found, expected.to_vec3::<f32>().unwrap());
                }
            }
            let fork = cache.fork().unwrap();
            assert_eq!((fork.len(), fork.layers[0].0.dtype()), (22, dtype));
        }
    }
}

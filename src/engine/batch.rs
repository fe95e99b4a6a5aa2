//! The seam between the decode loop and an architecture: packed rows in, logits out, state passed by the caller.

use candle_core::{D, DType, Device, Result, Tensor};

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
    len: usize,
    capacity: usize,
}

impl Cache {
    pub fn new(
        layers: usize,
        (kv_heads, capacity, head_dim): (usize, usize, usize),
        device: &Device,
    ) -> Result<Self> {
        let zeros = || Tensor::zeros((kv_heads, capacity, head_dim), DType::F32, device);
        Ok(Self {
            layers: (0..layers)
                .map(|_| Ok((zeros()?, zeros()?)))
                .collect::<Result<_>>()?,
            cross: Vec::new(),
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

    /// Writes keys and values `(kv heads, t, head size)` behind those held and returns all of the layer's,
    /// `(kv heads, len + t, head size)`. The length moves only with [`Cache::advance`], after the last layer.
    pub fn append(&self, layer: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (keys, values) = &self.layers[layer];
        let t = k.dim(1)?;
        keys.slice_set(k, 1, self.len)?;
        values.slice_set(v, 1, self.len)?;
        Ok((
            keys.narrow(1, 0, self.len + t)?,
            values.narrow(1, 0, self.len + t)?,
        ))
    }

    pub fn advance(&mut self, t: usize) {
        self.len += t;
    }

    /// A copy with its own room: rows that share a prompt compute it once and go separate ways from there.
    pub fn fork(&self) -> Result<Self> {
        let copy = |from: &Tensor| -> Result<Tensor> {
            let held = from.narrow(1, 0, self.len)?.contiguous()?;
            let to = Tensor::zeros(from.shape(), from.dtype(), from.device())?;
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
            ..*self
        })
    }
}

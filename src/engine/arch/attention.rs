//! Attention. The general form is candle tensors and runs on any device. For the CPU there are two more: prompts go through
//! `blocks`, and the decode loop's usual step, one new token in each of many rows, through `rows`, as dozens of small tensor
//! operations per row and layer would else cost more than the arithmetic.

mod blocks;
mod lanes;
mod rows;

use candle_core::{DType, Device, Result, Storage, Tensor};

use self::lanes::{Element, Isa};

/// How scores are made of queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// What products are multiplied with: usually `1 / sqrt(head size)`.
    pub scale: f32,
    pub mask: Mask,
    /// Added to the products, `(heads, t, len)`: relative positions.
    pub bias: Option<&'a Tensor>,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All.
    None,
    /// Those up to its own.
    Causal,
    /// So many up to its own, itself included.
    Window(usize),
}

/// Attention of `t` new tokens over a whole cache, with grouped key and value heads.
///
/// `q` is `(t, heads, d)` f32, `k` and `v` `(kv heads, len, d)`, f32 or f16, where, under a mask, the last `t` of `len` are the
/// new tokens'. Returns `(t, heads * d)`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scores: Scores) -> Result<Tensor> {
    match blocks::attention(q, k, v, scores, Isa::best())? {
        Some(out) => Ok(out),
        None => general(q, k, v, scores),
    }
}

/// The same in candle tensors, on any device.
fn general(q: &Tensor, k: &Tensor, v: &Tensor, scores: Scores) -> Result<Tensor> {
    let (t, heads, d) = q.dims3()?;
    let (kv_heads, len, _) = k.dims3()?;
    let group = heads / kv_heads;
    // (t, H, d) -> (H, t, d) -> (KV, group * t, d): heads of a group lie side by side and share one matmul.
    let q = (q.transpose(0, 1)?.contiguous()? * f64::from(scores.scale))?;
    let q = q.reshape((kv_heads, group * t, d))?;
    let (k, v) = (k.to_dtype(DType::F32)?, v.to_dtype(DType::F32)?);
    let mut products = q.matmul(&k.transpose(1, 2)?)?; // (KV, group * t, len)
    if let Some(bias) = scores.bias {
        products = (products + bias.reshape((kv_heads, group * t, len))?)?;
    }
    if let Some(mask) = mask(scores.mask, t, len, q.device())? {
        products = products
            .reshape((kv_heads, group, t, len))?
            .broadcast_add(&mask)?
            .reshape((kv_heads, group * t, len))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&products)?;
    weights
        .matmul(&v)?
        .reshape((heads, t, d))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((t, heads * d))
}

/// `(t, len)`: minus infinity where a token must not look; `None` where it may look everywhere.
fn mask(mask: Mask, t: usize, len: usize, device: &Device) -> Result<Option<Tensor>> {
    let window = match mask {
        Mask::None => return Ok(None),
        Mask::Causal if t == 1 => return Ok(None),
        Mask::Window(window) if t == 1 && len <= window => return Ok(None),
        Mask::Causal => len,
        Mask::Window(window) => window,
    };
    let past = len - t;
    let sees = |i: usize, j: usize| j <= past + i && past + i < j + window;
    let mask = (0..t)
        .flat_map(|i| (0..len).map(move |j| if sees(i, j) { 0. } else { f32::NEG_INFINITY }))
        .collect::<Vec<_>>();
    Ok(Some(Tensor::from_vec(mask, (t, len), device)?))
}

/// Attention of one new token in each of many rows, each over its own cache; on the CPU.
///
/// `q` is `(rows, heads, d)` f32, `caches` holds per row keys and values `(kv heads, len, d)` f32 or f16, whose heads may lie
/// apart. Scores are products times `scale`; a row sees its whole cache. Returns `(rows, heads * d)`.
pub fn attend_rows(q: &Tensor, caches: &[(Tensor, Tensor)], scale: f32) -> Result<Tensor> {
    attend_rows_biased(q, caches, scale, &[])
}

/// As [`attend_rows`], with what is added to each row's scores, `(heads, 1, len)`; `biases` is empty where nothing is.
pub fn attend_rows_biased(
    q: &Tensor,
    caches: &[(Tensor, Tensor)],
    scale: f32,
    biases: &[Tensor],
) -> Result<Tensor> {
    rows::attend(q, caches, scale, biases, Isa::best())
}

/// Keys or values of one sequence, `(kv heads, len, d)` of which each head is contiguous.
struct Heads<'a, E> {
    data: &'a [E],
    stride: usize,
    size: usize,
}

impl<'a, E: Element> Heads<'a, E> {
    fn new(storage: &'a Storage, layout: &candle_core::Layout) -> Result<Self> {
        let Storage::Cpu(storage) = storage else {
            candle_core::bail!("the fused attention is for the CPU");
        };
        let data = storage.as_slice::<E>()?;
        let (_, len, d) = layout.shape().dims3()?;
        // One key alone has no distance to the next.
        let [_, rows, columns] = layout.stride()[..] else {
            candle_core::bail!("heads have three dimensions");
        };
        if (rows != d && len != 1) || columns != 1 {
            candle_core::bail!("the fused attention needs contiguous heads");
        }
        Ok(Self {
            data: &data[layout.start_offset()..],
            stride: layout.stride()[0],
            size: len * d,
        })
    }

    fn head(&self, head: usize) -> &'a [E] {
        &self.data[head * self.stride..][..self.size]
    }
}

/// A dot product in independent lanes, so that it can be computed in wide registers.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x * y;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_form_equals_the_general_one() {
        let device = Device::Cpu;
        for (heads, kv_heads, d, scale, dtype) in [
            (9, 3, 64, 0.125, DType::F32),
            (16, 8, 128, 0.1, DType::F16),
            (4, 4, 20, 1., DType::F32),
            (4, 2, 7, 1., DType::F16),
            (6, 1, 8, 0.3, DType::F16),
            (7, 1, 80, 0.3, DType::F32),
        ] {
            let q = Tensor::randn(0f32, 1., (3, heads, d), &device).unwrap();
            let caches = [5, 1, 2070].map(|len| {
                // As in the decode loop: a view of a cache that has room for more.
                let cache = || Tensor::randn(0f32, 1., (kv_heads, len + 7, d), &device).unwrap();
                let cache = || cache().to_dtype(dtype).unwrap();
                let view = |cache: Tensor| cache.narrow(1, 0, len).unwrap();
                (view(cache()), view(cache()))
            });
            let biases = [5, 1, 2070].map(|len| {
                let bias = Tensor::randn(0f32, 1., (heads, 1, len), &device);
                bias.unwrap()
            });
            let ways = Isa::ALL.into_iter().filter(|isa| isa.is_here());
            for (isa, biases) in ways.flat_map(|isa| [(isa, &biases[..]), (isa, &[])]) {
                let fused = rows::attend(&q, &caches, scale, biases, isa).unwrap();
                let fused = fused.to_vec2::<f32>().unwrap();
                for (row, (k, v)) in caches.iter().enumerate() {
                    let scores = Scores {
                        scale,
                        mask: Mask::Causal,
                        bias: biases.get(row),
                    };
                    let q = q.narrow(0, row, 1).unwrap();
                    let general = general(&q, k, v, scores).unwrap();
                    let general = general.to_vec2::<f32>().unwrap();
                    for (a, b) in fused[row].iter().zip(&general[0]) {
                        assert!((a - b).abs() < 1e-5, "{a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_window_sees_so_many_keys_up_to_its_own() {
        let seen = |mask_kind, t, len| {
            let mask = mask(mask_kind, t, len, &Device::Cpu).unwrap()?;
            let rows = mask.to_vec2::<f32>().unwrap();
            let count = |row: &Vec<f32>| row.iter().filter(|x| **x == 0.).count();
            Some(rows.iter().map(count).collect::<Vec<_>>())
        };
        assert_eq!(seen(Mask::Causal, 3, 5), Some(vec![3, 4, 5]));
        assert_eq!(seen(Mask::Window(2), 3, 5), Some(vec![2, 2, 2]));
        assert_eq!(seen(Mask::Window(4), 3, 5), Some(vec![3, 4, 4]));
        assert_eq!(seen(Mask::Window(2), 1, 5), Some(vec![2]));
        assert_eq!(seen(Mask::Causal, 1, 5), None);
        assert_eq!(seen(Mask::None, 3, 5), None);
    }
}

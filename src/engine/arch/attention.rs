//! Attention. The general form is candle tensors and runs on any device. For the CPU there are two more: prompts go through
//! `blocks`, and the decode loop's usual step, one new token in each of many rows, is fused, as dozens of small tensor
//! operations per row and layer would else cost more than the arithmetic.

mod blocks;

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use rayon::prelude::*;

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
/// `q` is `(t, heads, d)`, `k` and `v` `(kv heads, len, d)` where, under a mask, the last `t` of `len` are the new tokens'.
/// Returns `(t, heads * d)`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scores: Scores) -> Result<Tensor> {
    match blocks::attention(q, k, v, scores)? {
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
        .matmul(v)?
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

/// Attention of one new token in each of many rows, each over its own cache; f32 on the CPU.
///
/// `q` is `(rows, heads, d)`, `caches` holds per row keys and values `(kv heads, len, d)`, whose heads may lie apart.
/// Scores are products times `scale`; a row sees its whole cache. Returns `(rows, heads * d)`.
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
    let (rows, heads, d) = q.dims3()?;
    let q = q.flatten_all()?.to_vec1::<f32>()?;
    let storages = caches
        .iter()
        .map(|(k, v)| (k.storage_and_layout(), v.storage_and_layout()))
        .collect::<Vec<_>>();
    let views = storages
        .iter()
        .map(|((k, kl), (v, vl))| Ok((Heads::new(k, kl)?, Heads::new(v, vl)?)))
        .collect::<Result<Vec<_>>>()?;
    let bias_storages = biases
        .iter()
        .map(Tensor::storage_and_layout)
        .collect::<Vec<_>>();
    let biases = bias_storages
        .iter()
        .map(|(bias, layout)| Heads::new(bias, layout))
        .collect::<Result<Vec<_>>>()?;
    let kv_heads = caches.first().map_or(Ok(1), |(k, _)| k.dim(0))?;
    let group = heads / kv_heads;
    let mut out = vec![0f32; rows * heads * d];
    // (rows, KV, group * d): heads that share keys and values are one task.
    out.par_chunks_mut(group * d)
        .zip(q.par_chunks(group * d))
        .enumerate()
        .for_each(|(task, (out, q))| {
            let (row, kv_head) = (task / kv_heads, task % kv_heads);
            let (keys, values) = &views[row];
            let (keys, values) = (keys.head(kv_head), values.head(kv_head));
            let bias = |head| Some(biases.get(row)?.head(kv_head * group + head));
            attend_group(q, keys, values, &bias, (d, scale), out);
        });
    Tensor::from_vec(out, (rows, heads * d), caches[0].0.device())
}

/// Keys or values of one sequence, `(kv heads, len, d)` of which each head is contiguous.
struct Heads<'a> {
    data: &'a [f32],
    stride: usize,
    size: usize,
}

impl<'a> Heads<'a> {
    fn new(storage: &'a Storage, layout: &candle_core::Layout) -> Result<Self> {
        let Storage::Cpu(CpuStorage::F32(data)) = storage else {
            candle_core::bail!("the fused attention is for f32 on the CPU");
        };
        let (_, len, d) = layout.shape().dims3()?;
        if layout.stride()[1..] != [d, 1] {
            candle_core::bail!("the fused attention needs contiguous heads");
        }
        Ok(Self {
            data: &data[layout.start_offset()..],
            stride: layout.stride()[0],
            size: len * d,
        })
    }

    fn head(&self, head: usize) -> &'a [f32] {
        &self.data[head * self.stride..][..self.size]
    }
}

/// What is added to the scores of one of some heads.
type HeadBias<'a> = &'a dyn Fn(usize) -> Option<&'a [f32]>;

/// Some heads of one token over the keys and values they share. `shape` is the head size and the scale.
fn attend_group(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    bias: HeadBias,
    shape: (usize, f32),
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { attend_group_avx2(q, keys, values, bias, shape, out) };
    }
    attend_group_any(q, keys, values, bias, shape, out);
}

/// The same code, compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_group_avx2(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    bias: HeadBias,
    shape: (usize, f32),
    out: &mut [f32],
) {
    attend_group_any(q, keys, values, bias, shape, out);
}

#[inline(always)]
fn attend_group_any(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    bias: HeadBias,
    (d, scale): (usize, f32),
    out: &mut [f32],
) {
    let mut weights = Vec::with_capacity(keys.len() / d);
    let heads = q.chunks_exact(d).zip(out.chunks_exact_mut(d));
    for (head, (q, out)) in heads.enumerate() {
        weights.clear();
        weights.extend(keys.chunks_exact(d).map(|key| dot(q, key) * scale));
        for (weight, bias) in weights.iter_mut().zip(bias(head).unwrap_or_default()) {
            *weight += bias;
        }
        let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.;
        for weight in &mut weights {
            *weight = (*weight - largest).exp();
            sum += *weight;
        }
        for (weight, value) in weights.iter().zip(values.chunks_exact(d)) {
            let weight = weight / sum;
            for (out, x) in out.iter_mut().zip(value) {
                *out += weight * x;
            }
        }
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
        for (heads, kv_heads, d, scale) in [(9, 3, 64, 0.125), (4, 4, 20, 1.), (6, 1, 8, 0.3)] {
            let q = Tensor::randn(0f32, 1., (3, heads, d), &device).unwrap();
            let caches = [5, 1, 70].map(|len| {
                // As in the decode loop: a view of a cache that has room for more.
                let cache = || Tensor::randn(0f32, 1., (kv_heads, len + 7, d), &device).unwrap();
                let view = |cache: Tensor| cache.narrow(1, 0, len).unwrap();
                (view(cache()), view(cache()))
            });
            let biases = [5, 1, 70].map(|len| {
                let bias = Tensor::randn(0f32, 1., (heads, 1, len), &device);
                bias.unwrap()
            });
            for biases in [&biases[..], &[]] {
                let fused = attend_rows_biased(&q, &caches, scale, biases).unwrap();
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

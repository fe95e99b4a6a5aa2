//! Attention. The general form is candle tensors and runs on any device; for the decode loop's usual step, one new
//! token in each of many rows, there is a fused form for the CPU: dozens of small tensor operations per row and layer
//! would else cost more than the arithmetic.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use rayon::prelude::*;

/// Causal attention of `t` new tokens over a whole cache, with grouped key and value heads.
///
/// `q` is `(t, heads, d)`, `k` and `v` `(kv heads, len, d)` where the last `t` of `len` are the new tokens'.
/// Returns `(t, heads * d)`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (t, heads, d) = q.dims3()?;
    let (kv_heads, len, _) = k.dims3()?;
    let group = heads / kv_heads;
    // (t, H, d) -> (H, t, d) -> (KV, group * t, d): heads of a group lie side by side and share one matmul.
    let q = (q.transpose(0, 1)?.contiguous()? * (1. / (d as f64).sqrt()))?;
    let q = q.reshape((kv_heads, group * t, d))?;
    let mut scores = q.matmul(&k.transpose(1, 2)?)?; // (KV, group * t, len)
    if t > 1 {
        let mask = causal_mask(t, len, q.device())?;
        scores = scores
            .reshape((kv_heads, group, t, len))?
            .broadcast_add(&mask)?
            .reshape((kv_heads, group * t, len))?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    weights
        .matmul(v)?
        .reshape((heads, t, d))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((t, heads * d))
}

/// `(t, len)`: minus infinity where a token would look ahead.
fn causal_mask(t: usize, len: usize, device: &Device) -> Result<Tensor> {
    let past = len - t;
    let mask = (0..t)
        .flat_map(|i| (0..len).map(move |j| if j > past + i { f32::NEG_INFINITY } else { 0. }))
        .collect::<Vec<_>>();
    Tensor::from_vec(mask, (t, len), device)
}

/// Attention of one new token in each of many rows, each over its own cache; f32 on the CPU.
///
/// `q` is `(rows, heads, d)`, `caches` holds per row keys and values `(kv heads, len, d)`, whose heads may lie apart.
/// Returns `(rows, heads * d)`.
pub fn attend_rows(q: &Tensor, caches: &[(Tensor, Tensor)]) -> Result<Tensor> {
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
    let kv_heads = caches.first().map_or(Ok(1), |(k, _)| k.dim(0))?;
    let group = heads / kv_heads;
    let mut out = vec![0f32; rows * heads * d];
    // (rows, KV, group * d): heads that share keys and values are one task.
    out.par_chunks_mut(group * d)
        .zip(q.par_chunks(group * d))
        .enumerate()
        .for_each(|(task, (out, q))| {
            let (keys, values) = &views[task / kv_heads];
            let (keys, values) = (keys.head(task % kv_heads), values.head(task % kv_heads));
            attend_group(q, keys, values, d, out);
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

/// Some heads of one token over the keys and values they share.
fn attend_group(q: &[f32], keys: &[f32], values: &[f32], d: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features are there.
        return unsafe { attend_group_avx2(q, keys, values, d, out) };
    }
    attend_group_any(q, keys, values, d, out);
}

/// The same code, compiled for wider registers.
///
/// # Safety
/// AVX2 and FMA are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_group_avx2(q: &[f32], keys: &[f32], values: &[f32], d: usize, out: &mut [f32]) {
    attend_group_any(q, keys, values, d, out);
}

#[inline(always)]
fn attend_group_any(q: &[f32], keys: &[f32], values: &[f32], d: usize, out: &mut [f32]) {
    let scale = 1. / (d as f32).sqrt();
    let mut weights = Vec::with_capacity(keys.len() / d);
    for (q, out) in q.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
        weights.clear();
        weights.extend(keys.chunks_exact(d).map(|key| dot(q, key) * scale));
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
fn dot(a: &[f32], b: &[f32]) -> f32 {
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
        for (heads, kv_heads, d) in [(9, 3, 64), (4, 4, 20), (6, 1, 8)] {
            let q = Tensor::randn(0f32, 1., (3, heads, d), &device).unwrap();
            let caches = [5, 1, 70].map(|len| {
                // As in the decode loop: a view of a cache that has room for more.
                let cache = || Tensor::randn(0f32, 1., (kv_heads, len + 7, d), &device).unwrap();
                let view = |cache: Tensor| cache.narrow(1, 0, len).unwrap();
                (view(cache()), view(cache()))
            });
            let fused = attend_rows(&q, &caches).unwrap().to_vec2::<f32>().unwrap();
            for (row, (k, v)) in caches.iter().enumerate() {
                let q = q.narrow(0, row, 1).unwrap();
                let general = attention(&q, k, v).unwrap().to_vec2::<f32>().unwrap();
                for (a, b) in fused[row].iter().zip(&general[0]) {
                    assert!((a - b).abs() < 1e-5, "{a} {b}");
                }
            }
        }
    }
}

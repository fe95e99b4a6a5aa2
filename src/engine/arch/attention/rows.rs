//! Attention of one new token in each of many rows on the CPU, the decode loop's usual step. It is bound by memory: keys and
//! values are read once, as they are stored, for all heads that share them.
//!
//! Softmax is computed as keys come (Milakov and Gimelshein 2018), and long caches are cut into segments whose results are
//! merged (Dao et al. 2023, flash decoding), so that one row keeps all threads busy. The cuts follow from a row's length
//! alone: its result does not depend on the rows beside it.

use std::ops::Range;

use candle_core::{CpuStorage, DType, Result, Storage, Tensor, bail};
use half::f16;
use rayon::prelude::*;

use super::Heads;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Element, Isa, Lanes, Plain};
use crate::engine::arch::simd::{exp, exp_less, largest};

/// Keys whose scores are known before their values are added up.
const BLOCK: usize = 64;
/// Keys per task.
const SEGMENT: usize = 1024;
/// Elements of keys, times the heads that look at them, below which handing work to other threads costs more than it saves.
const INLINE: usize = 1 << 18;

/// Some keys and values, and the heads of one token over them.
struct Task<'a, E> {
    /// `(heads, d)`
    q: &'a [f32],
    /// `(len, d)`
    keys: &'a [E],
    values: &'a [E],
    /// What is added to the scores of a head.
    bias: &'a (dyn Fn(usize) -> Option<&'a [f32]> + 'a),
    d: usize,
    scale: f32,
}

/// See [`super::attend_rows_biased`].
pub fn attend(
    q: &Tensor,
    caches: &[(Tensor, Tensor)],
    scale: f32,
    biases: &[Tensor],
    isa: Isa,
) -> Result<Tensor> {
    match caches.first().map(|(k, _)| k.dtype()) {
        Some(DType::F16) => attend_as::<f16>(q, caches, scale, biases, isa),
        _ => attend_as::<f32>(q, caches, scale, biases, isa),
    }
}

fn attend_as<E: Element>(
    q: &Tensor,
    caches: &[(Tensor, Tensor)],
    scale: f32,
    biases: &[Tensor],
    isa: Isa,
) -> Result<Tensor> {
    let (rows, heads, d) = q.dims3()?;
    let (q_storage, q_layout) = q.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(q)), Some((from, to))) =
        (&*q_storage, q_layout.contiguous_offsets())
    else {
        bail!("the fused attention is for contiguous f32 queries on the CPU")
    };
    let q = &q[from..to];
    let storages = caches
        .iter()
        .map(|(k, v)| (k.storage_and_layout(), v.storage_and_layout()))
        .collect::<Vec<_>>();
    let views = storages
        .iter()
        .map(|((k, kl), (v, vl))| Ok((Heads::<E>::new(k, kl)?, Heads::<E>::new(v, vl)?)))
        .collect::<Result<Vec<_>>>()?;
    let bias_storages = biases
        .iter()
        .map(Tensor::storage_and_layout)
        .collect::<Vec<_>>();
    let biases = bias_storages
        .iter()
        .map(|(bias, layout)| Heads::<f32>::new(bias, layout))
        .collect::<Result<Vec<_>>>()?;
    let kv_heads = caches.first().map_or(Ok(1), |(k, _)| k.dim(0))?;
    let group = heads / kv_heads;
    // Row, head of keys and segment of each task, and its results: see [`Task::run`].
    let mut tasks = Vec::new();
    for (row, (keys, _)) in views.iter().enumerate() {
        let segments = keys.size.div_ceil(SEGMENT * d);
        tasks.extend((0..kv_heads * segments).map(|i| (row, i / segments, i % segments)));
    }
    let mut parts = vec![0f32; tasks.len() * group * (d + 2)];
    let run = |(row, kv_head, segment): (usize, usize, usize), parts: &mut [f32]| {
        let (keys, values) = &views[row];
        let from = segment * SEGMENT;
        let to = (from + SEGMENT).min(keys.size / d);
        let first = kv_head * group;
        let task = Task {
            q: &q[(row * heads + first) * d..][..group * d],
            keys: &keys.head(kv_head)[from * d..to * d],
            values: &values.head(kv_head)[from * d..to * d],
            bias: &|head| Some(&biases.get(row)?.head(first + head)[from..to]),
            d,
            scale,
        };
        task.run(isa, parts);
    };
    let keys = views.iter().map(|(keys, _)| kv_heads * keys.size);
    let keys = keys.sum::<usize>();
    let pairs = tasks.iter().zip(parts.chunks_mut(group * (d + 2)));
    match keys * group < INLINE {
        true => pairs.for_each(|(task, parts)| run(*task, parts)),
        false => tasks
            .par_iter()
            .zip(parts.par_chunks_mut(group * (d + 2)))
            .for_each(|(task, parts)| run(*task, parts)),
    }
    let mut out = vec![0f32; rows * heads * d];
    let mut parts = parts.chunks(group * (d + 2));
    for tasks in tasks.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (row, kv_head, _) = tasks[0];
        let out = &mut out[(row * heads + kv_head * group) * d..][..group * d];
        merge(parts.by_ref().take(tasks.len()), d, out);
    }
    Tensor::from_vec(out, (rows, heads * d), caches[0].0.device())
}

/// What the segments of a row found, into the heads `(group, d)`.
fn merge<'a>(segments: impl Iterator<Item = &'a [f32]>, d: usize, out: &mut [f32]) {
    let segments = segments.collect::<Vec<_>>();
    for (head, out) in out.chunks_exact_mut(d).enumerate() {
        let parts = segments.iter().map(|s| s[head * (d + 2)..].split_at(d));
        let most = parts.clone().map(|(_, rest)| rest[0]);
        let most = most.fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.;
        for (values, rest) in parts {
            let weight = exp(rest[0] - most);
            sum += weight * rest[1];
            for (out, x) in out.iter_mut().zip(values) {
                *out += weight * x;
            }
        }
        out.iter_mut().for_each(|x| *x /= sum);
    }
}

impl<E: Element> Task<'_, E> {
    /// Per head: the sum of values weighted by exponentials of scores less the largest, `d` numbers; the largest score; the
    /// sum of the weights.
    fn run(&self, isa: Isa, parts: &mut [f32]) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the features were detected.
            Isa::Avx512 if self.d.is_multiple_of(Avx512::COUNT) => unsafe {
                self.run_avx512(parts);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 if self.d.is_multiple_of(Avx2::COUNT) => unsafe { self.run_avx2(parts) },
            // SAFETY: arrays need no instructions of their own.
            _ => unsafe {
                match self.d % 8 {
                    0 => self.heads::<Plain<8>>(parts),
                    _ => self.heads::<Plain<1>>(parts),
                }
            },
        }
    }

    /// # Safety
    /// The features are there, and [`Avx512`] divides a head.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma,f16c")]
    unsafe fn run_avx512(&self, parts: &mut [f32]) {
        // SAFETY: as this function's.
        unsafe { self.heads::<Avx512>(parts) }
    }

    /// # Safety
    /// The features are there, and [`Avx2`] divides a head.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run_avx2(&self, parts: &mut [f32]) {
        // SAFETY: as this function's.
        unsafe { self.heads::<Avx2>(parts) }
    }

    /// As many heads at once as there are registers for.
    ///
    /// # Safety
    /// The instructions of `L` are there, and it divides a head.
    #[inline(always)]
    unsafe fn heads<L: Lanes>(&self, parts: &mut [f32]) {
        let size = self.d + 2;
        for (i, parts) in parts.chunks_mut(L::HEADS * size).enumerate() {
            let first = i * L::HEADS;
            // SAFETY: as this function's.
            unsafe {
                match parts.len() / size {
                    1 => self.some_heads::<L, 1>(first, parts),
                    2 => self.some_heads::<L, 2>(first, parts),
                    3 => self.some_heads::<L, 3>(first, parts),
                    _ => self.some_heads::<L, 4>(first, parts),
                }
            }
        }
    }

    /// # Safety
    /// As [`Task::heads`]; there are `H` heads from `first`.
    #[inline(always)]
    unsafe fn some_heads<L: Lanes, const H: usize>(&self, first: usize, parts: &mut [f32]) {
        let d = self.d;
        let len = self.keys.len() / d;
        let mut most = [f32::NEG_INFINITY; H];
        let mut sums = [0f32; H];
        for from in (0..len).step_by(BLOCK) {
            let block = from..len.min(from + BLOCK);
            // What is beyond the last key weighs nothing.
            let mut scores = [[f32::NEG_INFINITY; BLOCK]; H];
            // What the sums so far are multiplied with, as the largest score grows.
            let mut shrink = [0f32; H];
            // SAFETY: as this function's.
            unsafe { self.products::<L, H>(first, block.clone(), &mut scores) };
            for h in 0..H {
                let seen = &mut scores[h][..block.len()];
                seen.iter_mut().for_each(|x| *x *= self.scale);
                if let Some(bias) = (self.bias)(first + h) {
                    let bias = &bias[block.clone()];
                    seen.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
                }
                let now = largest(&scores[h]).max(most[h]);
                shrink[h] = exp(most[h] - now);
                sums[h] = sums[h] * shrink[h] + exp_less(&mut scores[h], now);
                most[h] = now;
            }
            let mut column = 0;
            // SAFETY: as this function's.
            unsafe {
                while column + 4 * L::COUNT <= d {
                    self.add::<L, H, 4>(&scores, shrink, block.clone(), column, parts);
                    column += 4 * L::COUNT;
                }
                while column < d {
                    self.add::<L, H, 1>(&scores, shrink, block.clone(), column, parts);
                    column += L::COUNT;
                }
            }
        }
        for h in 0..H {
            parts[h * (d + 2) + d] = most[h];
            parts[h * (d + 2) + d + 1] = sums[h];
        }
    }

    /// Products of queries and keys, four keys at a time.
    ///
    /// # Safety
    /// As [`Task::some_heads`]; the keys are there, at most [`BLOCK`].
    #[expect(clippy::needless_range_loop, reason = "adapters are not unrolled")]
    #[inline(always)]
    unsafe fn products<L: Lanes, const H: usize>(
        &self,
        first: usize,
        keys: Range<usize>,
        scores: &mut [[f32; BLOCK]; H],
    ) {
        let d = self.d;
        let q = self.q[first * d..][..H * d].as_ptr();
        for start in keys.clone().step_by(4) {
            // Where fewer are left, the last one again.
            let key = |i: usize| self.keys[(start + i).min(keys.end - 1) * d..].as_ptr();
            let rows = [key(0), key(1), key(2), key(3)];
            // SAFETY: as this function's: rows and queries are `d` long, which `L` divides.
            unsafe {
                let mut sums = [[L::splat(0.); 4]; H];
                for at in (0..d).step_by(L::COUNT) {
                    let rows = [
                        E::load::<L>(rows[0].add(at)),
                        E::load::<L>(rows[1].add(at)),
                        E::load::<L>(rows[2].add(at)),
                        E::load::<L>(rows[3].add(at)),
                    ];
                    for h in 0..H {
                        let q = L::load(q.add(h * d + at));
                        for i in 0..4 {
                            sums[h][i] = sums[h][i].add_product(q, rows[i]);
                        }
                    }
                }
                let count = (keys.end - start).min(4);
                for h in 0..H {
                    let sums = L::sums(sums[h]);
                    scores[h][start - keys.start..][..count].copy_from_slice(&sums[..count]);
                }
            }
        }
    }

    /// Adds `C` registers of columns of the values, weighted, to sums that shrink first.
    ///
    /// # Safety
    /// As [`Task::products`]; the columns are there.
    #[expect(clippy::needless_range_loop, reason = "adapters are not unrolled")]
    #[inline(always)]
    unsafe fn add<L: Lanes, const H: usize, const C: usize>(
        &self,
        weights: &[[f32; BLOCK]; H],
        shrink: [f32; H],
        keys: Range<usize>,
        column: usize,
        parts: &mut [f32],
    ) {
        let d = self.d;
        let count = keys.len();
        let values = self.values[keys.start * d..keys.end * d].as_ptr();
        let parts = parts[..H * (d + 2)].as_mut_ptr();
        // SAFETY: as this function's.
        unsafe {
            let mut sums = [[L::splat(0.); C]; H];
            for h in 0..H {
                for c in 0..C {
                    let sum = L::load(parts.add(h * (d + 2) + column + c * L::COUNT));
                    sums[h][c] = L::splat(0.).add_product(sum, L::splat(shrink[h]));
                }
            }
            for key in 0..count {
                let value = values.add(key * d + column);
                let mut row = [L::splat(0.); C];
                for c in 0..C {
                    row[c] = E::load::<L>(value.add(c * L::COUNT));
                }
                for h in 0..H {
                    let weight = L::splat(*weights[h].get_unchecked(key));
                    for c in 0..C {
                        sums[h][c] = sums[h][c].add_product(weight, row[c]);
                    }
                }
            }
            for h in 0..H {
                for c in 0..C {
                    sums[h][c].store(parts.add(h * (d + 2) + column + c * L::COUNT));
                }
            }
        }
    }
}

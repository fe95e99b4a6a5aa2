//! Attention of many tokens at once on a CPU with AVX2 or AVX-512, f32: blocks of queries over the keys they see and no others,
//! whose scores never leave a core's cache.
//!
//! The general form makes a matrix of all scores, masks half of it away and passes over it four times.

use candle_core::{CpuStorage, Result, Storage, Tensor};
use rayon::prelude::*;

use super::{Heads, Mask, Scores};
use crate::engine::arch::simd::exp;

/// Columns that a product is padded to: keys are computed in groups of so many.
const GROUP: usize = 16;
/// Queries that share a pass over keys.
const QUERIES: usize = 8;
/// Queries per task.
const TASK: usize = 64;

/// `c (m, n) = a (m, k) b (k, n)`, rows `lda`, `ldb` and `ldc` apart; `n` is a multiple of [`GROUP`].
type Product = unsafe fn(a: Matrix, b: Matrix, c: *mut f32, ldc: usize, k: usize, n: usize);

#[derive(Clone, Copy)]
struct Matrix {
    data: *const f32,
    stride: usize,
}

/// The products of this machine, for [`QUERIES`] rows and for one.
struct Products {
    many: Product,
    one: Product,
    /// Exponentials of some scores less the largest, in place, and their sum.
    softmax: unsafe fn(&mut [f32]) -> f32,
}

/// What a task needs of a layer.
struct Work<'a> {
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a Heads<'a>,
    out: Output,
    /// Tokens, heads, heads that share keys, head size.
    sizes: (usize, usize, usize, usize),
    /// Keys, and keys padded to groups.
    len: (usize, usize),
    scale: f32,
    mask: Mask,
    products: Products,
}

/// The result, of which tasks write disjoint parts.
struct Output(*mut f32);
// SAFETY: every task has queries or a head of its own.
unsafe impl Sync for Output {}
// SAFETY: as above; the pointer outlives the tasks.
unsafe impl Send for Output {}

/// [`super::attention`] where it can be done in blocks, else `None`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scores: Scores) -> Result<Option<Tensor>> {
    match ways().into_iter().flatten().next() {
        Some(products) => attention_by(products, q, k, v, scores),
        None => Ok(None),
    }
}

fn attention_by(
    products: Products,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scores: Scores,
) -> Result<Option<Tensor>> {
    let (t, heads, d) = q.dims3()?;
    let (kv_heads, len, _) = k.dims3()?;
    let usable = q.device().is_cpu() && scores.bias.is_none() && d % GROUP == 0;
    if !usable {
        return Ok(None);
    }
    let q = q.contiguous()?;
    let (q_storage, q_layout) = q.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(q)) = &*q_storage else {
        return Ok(None);
    };
    let q = &q[q_layout.start_offset()..][..t * heads * d];
    let (k_storage, k_layout) = k.storage_and_layout();
    let (v_storage, v_layout) = v.storage_and_layout();
    let keys = Heads::new(&k_storage, k_layout)?;
    let values = Heads::new(&v_storage, v_layout)?;
    let padded = len.next_multiple_of(GROUP);
    let keys = transposed(&keys, (kv_heads, len, padded, d));
    let mut out = vec![0f32; t * heads * d];
    let work = Work {
        q,
        keys: &keys,
        values: &values,
        out: Output(out.as_mut_ptr()),
        sizes: (t, heads, heads / kv_heads, d),
        len: (len, padded),
        scale: scores.scale,
        mask: scores.mask,
        products,
    };
    let tasks = t.div_ceil(TASK);
    (0..heads * tasks).into_par_iter().for_each_init(
        || vec![0f32; QUERIES * padded],
        |scores, i| {
            let (head, start) = (i / tasks, i % tasks * TASK);
            work.queries(head, start..t.min(start + TASK), scores);
        },
    );
    Ok(Some(Tensor::from_vec(out, (t, heads * d), k.device())?))
}

/// Keys `(KV, len, d)` as `(KV, d, padded)`: products then run along keys.
fn transposed(keys: &Heads, (kv_heads, len, padded, d): (usize, usize, usize, usize)) -> Vec<f32> {
    let mut turned = vec![0f32; kv_heads * d * padded];
    let heads = turned.par_chunks_mut(d * padded).enumerate();
    heads.for_each(|(head, turned)| {
        let keys = keys.head(head);
        // Blocks of sixteen keys: what is written lies in as many cache lines as there are elements in a key.
        for start in (0..len).step_by(GROUP) {
            let end = len.min(start + GROUP);
            for i in 0..d {
                for (key, to) in (start..end).zip(&mut turned[i * padded + start..]) {
                    *to = keys[key * d + i];
                }
            }
        }
    });
    turned
}

impl Work<'_> {
    fn queries(&self, head: usize, range: std::ops::Range<usize>, scores: &mut [f32]) {
        let mut start = range.start;
        while start < range.end {
            let rows = match start + QUERIES <= range.end {
                true => QUERIES,
                false => 1,
            };
            self.block(head, start, rows, scores);
            start += rows;
        }
    }

    /// Keys that query `i` sees.
    fn seen(&self, i: usize) -> std::ops::Range<usize> {
        let (t, ..) = self.sizes;
        let (len, _) = self.len;
        let last = len - t + i + 1;
        match self.mask {
            Mask::None => 0..len,
            Mask::Causal => 0..last,
            Mask::Window(window) => last.saturating_sub(window)..last,
        }
    }

    fn block(&self, head: usize, start: usize, rows: usize, scores: &mut [f32]) {
        let (_, heads, group, d) = self.sizes;
        let (_, padded) = self.len;
        let product = match rows {
            1 => self.products.one,
            _ => self.products.many,
        };
        let from = self.seen(start).start / GROUP * GROUP;
        let to = self.seen(start + rows - 1).end;
        let columns = (to - from).next_multiple_of(GROUP);
        let kv_head = head / group;
        let q = Matrix {
            data: self.q[(start * heads + head) * d..].as_ptr(),
            stride: heads * d,
        };
        let keys = Matrix {
            data: self.keys[kv_head * d * padded + from..].as_ptr(),
            stride: padded,
        };
        // SAFETY: `rows` queries of `d`, `d` rows of `columns` keys and a buffer for QUERIES rows of all keys are there.
        unsafe { product(q, keys, scores.as_mut_ptr(), padded, d, columns) };
        let mut sums = [0f32; QUERIES];
        for (r, sum) in sums.iter_mut().enumerate().take(rows) {
            let row = &mut scores[r * padded..][..columns];
            let seen = self.seen(start + r);
            let (first, last) = (seen.start - from, seen.end - from);
            row[..first].fill(0.);
            row[last..].fill(0.);
            let row = &mut row[first..last];
            row.iter_mut().for_each(|x| *x *= self.scale);
            // SAFETY: the features were detected.
            *sum = unsafe { (self.products.softmax)(row) };
        }
        let weights = Matrix {
            data: scores.as_ptr(),
            stride: padded,
        };
        let values = Matrix {
            data: self.values.head(kv_head)[from * d..].as_ptr(),
            stride: d,
        };
        let index = (start * heads + head) * d;
        // SAFETY: as above; the rows of the result belong to this task.
        unsafe {
            let out = self.out.0.add(index);
            product(weights, values, out, heads * d, to - from, d);
            for (r, sum) in sums.iter().enumerate().take(rows) {
                let row = std::slice::from_raw_parts_mut(out.add(r * heads * d), d);
                row.iter_mut().for_each(|x| *x /= sum);
            }
        }
    }
}

#[inline(always)]
fn softmax_any(scores: &mut [f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; 16];
    for chunk in scores.chunks(16) {
        for (m, x) in largest.iter_mut().zip(chunk) {
            *m = if *x > *m { *x } else { *m };
        }
    }
    let largest = largest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0f32; 16];
    for chunk in scores.chunks_mut(16) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - largest);
            *sum += *x;
        }
    }
    sums.iter().sum()
}

/// The products that this machine can compute, the fastest first.
#[cfg(not(target_arch = "x86_64"))]
fn ways() -> [Option<Products>; 0] {
    []
}

#[cfg(target_arch = "x86_64")]
use x86::ways;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;
    use crate::engine::arch::simd::avx512_is_hidden;

    /// The products that this machine can compute, the fastest first.
    pub fn ways() -> [Option<Products>; 2] {
        let avx512 = is_x86_feature_detected!("avx512f") && !avx512_is_hidden();
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        [
            (avx512 && avx2).then_some(Products {
                many: product_avx512::<QUERIES>,
                one: product_avx512::<1>,
                softmax: softmax_avx512,
            }),
            avx2.then_some(Products {
                many: product_avx2::<QUERIES>,
                one: product_avx2::<1>,
                softmax: softmax_avx2,
            }),
        ]
    }

    /// # Safety
    /// AVX-512 F is there.
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn softmax_avx512(scores: &mut [f32]) -> f32 {
        softmax_any(scores)
    }

    /// # Safety
    /// AVX2 and FMA are there.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn softmax_avx2(scores: &mut [f32]) -> f32 {
        softmax_any(scores)
    }

    /// # Safety
    /// AVX-512 F is there, and the matrices are as [`Product`] says, `M` rows each.
    #[target_feature(enable = "avx512f")]
    unsafe fn product_avx512<const M: usize>(
        a: Matrix,
        b: Matrix,
        c: *mut f32,
        ldc: usize,
        k: usize,
        n: usize,
    ) {
        let mut column = 0;
        // SAFETY: by the contract of this function.
        unsafe {
            while column + 32 <= n {
                columns_avx512::<M, 2>(a, b, c, ldc, k, column);
                column += 32;
            }
            if column < n {
                columns_avx512::<M, 1>(a, b, c, ldc, k, column);
            }
        }
    }

    /// Sixteen `V` columns.
    ///
    /// # Safety
    /// As [`product_avx512`].
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn columns_avx512<const M: usize, const V: usize>(
        a: Matrix,
        b: Matrix,
        c: *mut f32,
        ldc: usize,
        k: usize,
        column: usize,
    ) {
        let mut sums = [[_mm512_setzero_ps(); V]; M];
        // SAFETY: by the contract of this function.
        unsafe {
            for i in 0..k {
                let b = b.data.add(i * b.stride + column);
                let b: [__m512; V] = std::array::from_fn(|v| _mm512_loadu_ps(b.add(16 * v)));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*a.data.add(m * a.stride + i));
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = _mm512_fmadd_ps(a, *b, *sum);
                    }
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(c.add(m * ldc + column + 16 * v), *sum);
                }
            }
        }
    }

    /// # Safety
    /// AVX2 and FMA are there, and the matrices are as [`Product`] says, `M` rows each.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn product_avx2<const M: usize>(
        a: Matrix,
        b: Matrix,
        c: *mut f32,
        ldc: usize,
        k: usize,
        n: usize,
    ) {
        for column in (0..n).step_by(8) {
            let mut sums = [_mm256_setzero_ps(); M];
            // SAFETY: by the contract of this function.
            unsafe {
                for i in 0..k {
                    let b = _mm256_loadu_ps(b.data.add(i * b.stride + column));
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let a = _mm256_set1_ps(*a.data.add(m * a.stride + i));
                        *sum = _mm256_fmadd_ps(a, b, *sum);
                    }
                }
                for (m, sum) in sums.iter().enumerate() {
                    _mm256_storeu_ps(c.add(m * ldc + column), *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::general;
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocks_equal_the_general_form() {
        let random = |shape| Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap();
        for (t, len, heads, kv_heads, d) in [
            (1, 1, 2, 1, 16),
            (8, 8, 2, 2, 64),
            (77, 77, 9, 3, 64),
            (70, 203, 4, 2, 128),
            (33, 47, 2, 1, 48),
        ] {
            let q = random((t, heads, d));
            // As in the decode loop: a view of a cache that has room for more.
            let cache = || random((kv_heads, len + 5, d)).narrow(1, 0, len).unwrap();
            let (k, v) = (cache(), cache());
            for mask in [Mask::None, Mask::Causal, Mask::Window(3), Mask::Window(40)] {
                let scores = Scores {
                    scale: 0.2,
                    mask,
                    bias: None,
                };
                let whole = general(&q, &k, &v, scores).unwrap();
                let whole = whole.to_vec2::<f32>().unwrap();
                for way in ways().into_iter().flatten() {
                    let blocks = attention_by(way, &q, &k, &v, scores).unwrap().unwrap();
                    let blocks = blocks.to_vec2::<f32>().unwrap();
                    for (a, b) in blocks.iter().flatten().zip(whole.iter().flatten()) {
                        assert!((a - b).abs() < 1e-5, "{t} of {len}, {mask:?}: {a} {b}");
                    }
                }
            }
        }
    }
}

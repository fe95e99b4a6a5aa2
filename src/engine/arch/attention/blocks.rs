//! Attention of many tokens at once on a CPU with AVX2 or AVX-512: blocks of queries over the keys they see and no others,
//! whose scores never leave a core's cache.
//!
//! The general form makes a matrix of all scores, masks half of it away and passes over it four times.

use candle_core::{CpuStorage, DType, Result, Storage, Tensor};
use half::f16;
use rayon::prelude::*;

use super::lanes::{Element, Isa, Lanes};
use super::{Heads, Mask, Scores};
use crate::engine::arch::simd::{exp_less, largest};

/// Columns that a product is padded to: keys are computed in groups of so many.
const GROUP: usize = 16;
/// Queries that share a pass over keys.
const QUERIES: usize = 8;
/// Queries per task.
const TASK: usize = 64;

/// `c (m, n) = a (m, k) b (k, n)`, rows `lda`, `ldb` and `ldc` apart; `n` is a multiple of [`GROUP`].
type Product<E> =
    unsafe fn(a: Matrix<f32>, b: Matrix<E>, c: *mut f32, ldc: usize, k: usize, n: usize);

#[derive(Clone, Copy)]
struct Matrix<E> {
    data: *const E,
    stride: usize,
}

/// The products of a machine, for [`QUERIES`] rows and for one.
struct Products<E> {
    scores: [Product<f32>; 2],
    values: [Product<E>; 2],
    /// Exponentials of some scores less the largest, in place, and their sum.
    softmax: unsafe fn(&mut [f32]) -> f32,
}

/// What a task needs of a layer.
struct Work<'a, E> {
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a Heads<'a, E>,
    out: Output,
    /// Tokens, heads, heads that share keys, head size.
    sizes: (usize, usize, usize, usize),
    /// Keys, and keys padded to groups.
    len: (usize, usize),
    scale: f32,
    mask: Mask,
    products: Products<E>,
}

/// The result, of which tasks write disjoint parts.
struct Output(*mut f32);
// SAFETY: every task has queries or a head of its own.
unsafe impl Sync for Output {}
// SAFETY: as above; the pointer outlives the tasks.
unsafe impl Send for Output {}

/// [`super::attention`] where it can be done in blocks, else `None`.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scores: Scores,
    isa: Isa,
) -> Result<Option<Tensor>> {
    match k.dtype() {
        DType::F16 => attention_as::<f16>(q, k, v, scores, isa),
        _ => attention_as::<f32>(q, k, v, scores, isa),
    }
}

fn attention_as<E: Element>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scores: Scores,
    isa: Isa,
) -> Result<Option<Tensor>> {
    let (t, heads, d) = q.dims3()?;
    let (kv_heads, len, _) = k.dims3()?;
    let usable = q.device().is_cpu() && scores.bias.is_none() && d % GROUP == 0;
    let Some(products) = products::<E>(isa).filter(|_| usable) else {
        return Ok(None);
    };
    let q = q.contiguous()?;
    let (q_storage, q_layout) = q.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(q)) = &*q_storage else {
        return Ok(None);
    };
    let q = &q[q_layout.start_offset()..][..t * heads * d];
    let (k_storage, k_layout) = k.storage_and_layout();
    let (v_storage, v_layout) = v.storage_and_layout();
    let keys = Heads::<E>::new(&k_storage, k_layout)?;
    let values = Heads::<E>::new(&v_storage, v_layout)?;
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
fn transposed<E: Element>(
    keys: &Heads<E>,
    (kv_heads, len, padded, d): (usize, usize, usize, usize),
) -> Vec<f32> {
    let mut turned = vec![0f32; kv_heads * d * padded];
    let heads = turned.par_chunks_mut(d * padded).enumerate();
    heads.for_each(|(head, turned)| {
        let keys = keys.head(head);
        let mut wide = vec![0f32; GROUP * d];
        // Blocks of sixteen keys: what is written lies in as many cache lines as there are elements in a key.
        for start in (0..len).step_by(GROUP) {
            let end = len.min(start + GROUP);
            let wide = &mut wide[..(end - start) * d];
            E::widen(&keys[start * d..end * d], wide);
            for i in 0..d {
                let keys = wide[i..].iter().step_by(d);
                for (key, to) in keys.zip(&mut turned[i * padded + start..]) {
                    *to = *key;
                }
            }
        }
    });
    turned
}

impl<E: Element> Work<'_, E> {
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
        let one = usize::from(rows == 1);
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
        unsafe { (self.products.scores[one])(q, keys, scores.as_mut_ptr(), padded, d, columns) };
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
            (self.products.values[one])(weights, values, out, heads * d, to - from, d);
            for (r, sum) in sums.iter().enumerate().take(rows) {
                let row = std::slice::from_raw_parts_mut(out.add(r * heads * d), d);
                row.iter_mut().for_each(|x| *x /= sum);
            }
        }
    }
}

/// The products of these instructions; `None` where the general form is faster.
fn products<E: Element>(isa: Isa) -> Option<Products<E>> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(Products {
            scores: [
                x86::product_avx512::<f32, QUERIES>,
                x86::product_avx512::<f32, 1>,
            ],
            values: [
                x86::product_avx512::<E, QUERIES>,
                x86::product_avx512::<E, 1>,
            ],
            softmax: x86::softmax_avx512,
        }),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(Products {
            scores: [
                x86::product_avx2::<f32, QUERIES>,
                x86::product_avx2::<f32, 1>,
            ],
            values: [x86::product_avx2::<E, QUERIES>, x86::product_avx2::<E, 1>],
            softmax: x86::softmax_avx2,
        }),
        _ => None,
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32]) -> f32 {
    let largest = largest(scores);
    exp_less(scores, largest)
}

/// `V` registers of columns of [`Product`], `M` rows.
///
/// # Safety
/// As [`Product`]; the columns and the instructions of `L` are there.
#[inline(always)]
unsafe fn columns<L: Lanes, E: Element, const M: usize, const V: usize>(
    a: Matrix<f32>,
    b: Matrix<E>,
    c: *mut f32,
    ldc: usize,
    k: usize,
    column: usize,
) {
    // SAFETY: by the contract of this function.
    unsafe {
        let mut sums = [[L::splat(0.); V]; M];
        for i in 0..k {
            let from = b.data.add(i * b.stride + column);
            let mut row = [L::splat(0.); V];
            for (v, row) in row.iter_mut().enumerate() {
                *row = E::load::<L>(from.add(v * L::COUNT));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let a = L::splat(*a.data.add(m * a.stride + i));
                for (sum, b) in sums.iter_mut().zip(&row) {
                    *sum = sum.add_product(a, *b);
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(c.add(m * ldc + column + v * L::COUNT));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::engine::arch::attention::lanes::{Avx2, Avx512};

    /// # Safety
    /// AVX-512 F and AVX2 are there.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn softmax_avx512(scores: &mut [f32]) -> f32 {
        softmax(scores)
    }

    /// # Safety
    /// AVX2 and FMA are there.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn softmax_avx2(scores: &mut [f32]) -> f32 {
        softmax(scores)
    }

    /// # Safety
    /// AVX-512 F is there, and the matrices are as [`Product`] says, `M` rows each.
    #[target_feature(enable = "avx512f,avx2,fma,f16c")]
    pub unsafe fn product_avx512<E: Element, const M: usize>(
        a: Matrix<f32>,
        b: Matrix<E>,
        c: *mut f32,
        ldc: usize,
        k: usize,
        n: usize,
    ) {
        let mut column = 0;
        // SAFETY: by the contract of this function.
        unsafe {
            while column + 32 <= n {
                columns::<Avx512, E, M, 2>(a, b, c, ldc, k, column);
                column += 32;
            }
            if column < n {
                columns::<Avx512, E, M, 1>(a, b, c, ldc, k, column);
            }
        }
    }

    /// # Safety
    /// AVX2, FMA and F16C are there, and the matrices are as [`Product`] says, `M` rows each.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn product_avx2<E: Element, const M: usize>(
        a: Matrix<f32>,
        b: Matrix<E>,
        c: *mut f32,
        ldc: usize,
        k: usize,
        n: usize,
    ) {
        for column in (0..n).step_by(8) {
            // SAFETY: by the contract of this function.
            unsafe { columns::<Avx2, E, M, 1>(a, b, c, ldc, k, column) };
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
        for (t, len, heads, kv_heads, d, dtype) in [
            (1, 1, 2, 1, 16, DType::F32),
            (8, 8, 2, 2, 64, DType::F16),
            (77, 77, 9, 3, 64, DType::F32),
            (70, 203, 4, 2, 128, DType::F16),
            (33, 47, 2, 1, 48, DType::F32),
        ] {
            let q = random((t, heads, d));
            // As in the decode loop: a view of a cache that has room for more.
            let cache = || random((kv_heads, len + 5, d)).to_dtype(dtype).unwrap();
            let cache = || cache().narrow(1, 0, len).unwrap();
            let (k, v) = (cache(), cache());
            for mask in [Mask::None, Mask::Causal, Mask::Window(3), Mask::Window(40)] {
                let scores = Scores {
                    scale: 0.2,
                    mask,
                    bias: None,
                };
                let whole = general(&q, &k, &v, scores).unwrap();
                let whole = whole.to_vec2::<f32>().unwrap();
                let ways = Isa::ALL.into_iter().filter(|isa| isa.is_here());
                for isa in ways.filter(|isa| *isa != Isa::Plain) {
                    let blocks = attention(&q, &k, &v, scores, isa).unwrap().unwrap();
                    let blocks = blocks.to_vec2::<f32>().unwrap();
                    for (a, b) in blocks.iter().flatten().zip(whole.iter().flatten()) {
                        assert!((a - b).abs() < 1e-5, "{t} of {len}, {mask:?}: {a} {b}");
                    }
                }
            }
        }
    }
}

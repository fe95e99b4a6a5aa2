//! Attention of a BERT: every token of a text over all of that text, none over another's.
//!
//! Texts are sentences mostly, so one head's queries, keys, values and scores lie in a core's first cache. What would take longer than
//! the arithmetic is to make tensors of them.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::elementwise::read;
use crate::engine::arch::attention::{Mask, Scores, attention};
use crate::engine::arch::simd::exp;

/// Numbers that are computed at once: a register of 512 bits.
const LANES: usize = 16;
/// Queries that share a pass over keys.
const QUERIES: usize = 4;

/// `qkv` is `(T, 3 hidden)`: queries, keys and values of all heads, which lack their `bias` `(3 hidden)` yet.
/// `lengths` are those of the texts in `T`. Returns `(T, hidden)`.
pub fn within(qkv: &Tensor, bias: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
    let size = qkv.dim(1)? / 3 / heads;
    if qkv.device().is_cpu() && size.is_multiple_of(LANES) {
        let op = Within {
            lengths: lengths.to_vec(),
            heads,
            size,
        };
        return qkv.apply_op2_no_bwd(bias, &op);
    }
    general(&qkv.broadcast_add(bias)?, lengths, (heads, size))
}

/// The same in candle tensors, with the bias in them.
fn general(qkv: &Tensor, lengths: &[usize], (heads, size): (usize, usize)) -> Result<Tensor> {
    let scores = Scores {
        scale: (size as f32).sqrt().recip(),
        mask: Mask::None,
        bias: None,
    };
    let mut texts = Vec::with_capacity(lengths.len());
    let mut start = 0;
    for &len in lengths {
        let qkv = qkv.narrow(0, start, len)?.reshape((len, 3, heads, size))?;
        let part = |part| qkv.narrow(1, part, 1)?.squeeze(1)?.contiguous();
        let turned = |part: Result<Tensor>| part?.transpose(0, 1)?.contiguous();
        texts.push(attention(
            &part(0)?,
            &turned(part(1))?,
            &turned(part(2))?,
            scores,
        )?);
        start += len;
    }
    Tensor::cat(&texts, 0)
}

struct Within {
    lengths: Vec<usize>,
    heads: usize,
    size: usize,
}

impl CustomOp2 for Within {
    fn name(&self) -> &'static str {
        "attention-within"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut qkv, bias) = (read((qkv, layout))?, read((bias, bias_layout))?);
        let hidden = self.heads * self.size;
        let tokens = qkv.len() / (3 * hidden);
        let mut out = vec![0f32; tokens * hidden];
        let mut rest = &mut out[..];
        let mut texts = Vec::with_capacity(self.lengths.len());
        for len in &self.lengths {
            let text = qkv.split_off(..len * 3 * hidden).unwrap_or_default();
            let out = rest.split_off_mut(..len * hidden).unwrap_or_default();
            texts.push((text, out));
        }
        texts
            .into_par_iter()
            .for_each_init(Head::default, |head, (qkv, out)| {
                for index in 0..self.heads {
                    head.attend(qkv, bias, (index, self.size), out);
                }
            });
        Ok((CpuStorage::F32(out), Shape::from((tokens, hidden))))
    }
}

/// What is computed of one head in one text, kept for the next.
#[derive(Default)]
struct Head {
    /// `(len, size)`, to whole [`QUERIES`].
    q: Vec<f32>,
    /// `(size, len)`, columns to whole [`LANES`]: products then run along keys.
    k: Vec<f32>,
    /// `(len, size)`.
    v: Vec<f32>,
    /// `(QUERIES, len)`, as wide as `k`.
    scores: Vec<f32>,
}

impl Head {
    /// Head `index` of a text's `qkv` `(len, 3 hidden)`, to its columns of `out` `(len, hidden)`.
    fn attend(&mut self, qkv: &[f32], bias: &[f32], head: (usize, usize), out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe {
                match is_x86_feature_detected!("avx512f") && !avx512_is_hidden() {
                    true => self.attend_avx512(qkv, bias, head, out),
                    false => self.attend_avx2(qkv, bias, head, out),
                }
            };
        }
        self.attend_any::<false>(qkv, bias, head, out);
    }

    /// The same code, compiled for wider registers.
    ///
    /// # Safety
    /// AVX-512 F is there.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    unsafe fn attend_avx512(
        &mut self,
        qkv: &[f32],
        bias: &[f32],
        head: (usize, usize),
        out: &mut [f32],
    ) {
        self.attend_any::<true>(qkv, bias, head, out);
    }

    /// The same code, compiled for wider registers.
    ///
    /// # Safety
    /// AVX2 and FMA are there.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn attend_avx2(
        &mut self,
        qkv: &[f32],
        bias: &[f32],
        head: (usize, usize),
        out: &mut [f32],
    ) {
        self.attend_any::<true>(qkv, bias, head, out);
    }

    /// `FMA`: multiplication and addition are one instruction here.
    #[inline(always)]
    fn attend_any<const FMA: bool>(
        &mut self,
        qkv: &[f32],
        bias: &[f32],
        (index, size): (usize, usize),
        out: &mut [f32],
    ) {
        let hidden = bias.len() / 3;
        let len = qkv.len() / bias.len();
        let padded = len.next_multiple_of(LANES);
        self.gather(qkv, bias, index * size, size);
        for start in (0..len).step_by(QUERIES) {
            let q = &self.q[start * size..][..QUERIES * size];
            self.scores.resize(QUERIES * padded, 0.);
            product::<FMA>((q, size), (&self.k, padded), size, |r, column, sums| {
                self.scores[r * padded + column..][..LANES].copy_from_slice(sums);
            });
            let mut inverse = [0f32; QUERIES];
            for (scores, inverse) in self.scores.chunks_exact_mut(padded).zip(&mut inverse) {
                *inverse = 1. / softmax(&mut scores[..len]);
            }
            let rows = QUERIES.min(len - start);
            product::<FMA>(
                (&self.scores, padded),
                (&self.v, size),
                len,
                |r, column, sums| {
                    if r < rows {
                        let out = &mut out[(start + r) * hidden + index * size + column..][..LANES];
                        for (out, sum) in out.iter_mut().zip(sums) {
                            *out = sum * inverse[r];
                        }
                    }
                },
            );
        }
    }

    /// One head's columns with their bias. Queries are scaled as scores will have to be.
    #[inline(always)]
    fn gather(&mut self, qkv: &[f32], bias: &[f32], first: usize, size: usize) {
        let hidden = bias.len() / 3;
        let len = qkv.len() / bias.len();
        let padded = len.next_multiple_of(LANES);
        let scale = (size as f32).sqrt().recip();
        self.q.resize(len.next_multiple_of(QUERIES) * size, 0.);
        self.k.resize(size * padded, 0.);
        self.v.resize(len * size, 0.);
        for (i, row) in qkv.chunks_exact(bias.len()).enumerate() {
            let part = |part: usize| {
                let from = part * hidden + first;
                row[from..][..size].iter().zip(&bias[from..][..size])
            };
            for (q, (x, bias)) in self.q[i * size..][..size].iter_mut().zip(part(0)) {
                *q = (x + bias) * scale;
            }
            for (column, (x, bias)) in self.k.chunks_exact_mut(padded).zip(part(1)) {
                column[i] = x + bias;
            }
            for (v, (x, bias)) in self.v[i * size..][..size].iter_mut().zip(part(2)) {
                *v = x + bias;
            }
        }
    }
}

/// `a (QUERIES, k) b (k, n)`, given to `store` as row, column and the sixteen values from there on. Rows of both lie
/// as far apart as their strides say; that of `b` is `n`, whole [`LANES`].
#[inline(always)]
fn product<const FMA: bool>(
    (a, a_stride): (&[f32], usize),
    (b, n): (&[f32], usize),
    k: usize,
    mut store: impl FnMut(usize, usize, &[f32; LANES]),
) {
    let rows: [&[f32]; QUERIES] = std::array::from_fn(|r| &a[r * a_stride..][..k]);
    for column in (0..n).step_by(LANES) {
        let mut sums = [[0f32; LANES]; QUERIES];
        for (i, b) in b.chunks_exact(n).take(k).enumerate() {
            let b = &b[column..][..LANES];
            for (row, sums) in rows.iter().zip(&mut sums) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = match FMA {
                        true => row[i].mul_add(*b, *sum),
                        false => row[i] * b + *sum,
                    };
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            store(r, column, sums);
        }
    }
}

/// Scores to exponentials of them less the largest; returns their sum.
#[inline(always)]
fn softmax(scores: &mut [f32]) -> f32 {
    let largest = scores
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sums = [0f32; LANES];
    for chunk in scores.chunks_mut(LANES) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - largest);
            *sum += *x;
        }
    }
    sums.iter().sum()
}

#[cfg(target_arch = "x86_64")]
use crate::engine::arch::simd::avx512_is_hidden;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// A head's function: in the ways it is compiled.
    type Attend = fn(&mut Head, &[f32], &[f32], (usize, usize), &mut [f32]);

    #[test]
    fn every_text_is_attended_alone() {
        for (heads, size) in [(12, 32), (2, 64), (3, 16)] {
            let hidden = heads * size;
            let lengths = [1, 7, 2, 33, 16, 90, 4];
            let tokens = lengths.iter().sum::<usize>();
            let random = |shape| Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap();
            let (qkv, bias) = (random((tokens, 3 * hidden)), random((1, 3 * hidden)));
            let added = qkv.broadcast_add(&bias).unwrap();
            let reference = general(&added, &lengths, (heads, size)).unwrap();
            let found = within(&qkv, &bias.squeeze(0).unwrap(), &lengths, heads).unwrap();
            assert_eq!(found.dims(), reference.dims());
            let difference = (found - &reference).unwrap().abs().unwrap();
            let worst = difference.flatten_all().unwrap().max(0).unwrap();
            assert!(worst.to_scalar::<f32>().unwrap() < 1e-5);
        }
    }

    #[test]
    fn it_is_the_same_however_it_is_compiled() {
        let ways: [Attend; 2] = [Head::attend, Head::attend_any::<false>];
        let (len, size) = (21, 32);
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin());
        let qkv = values(len * 3 * size).collect::<Vec<_>>();
        let bias = values(3 * size).collect::<Vec<_>>();
        let [here, plain] = ways.map(|attend| {
            let mut out = vec![0.; len * size];
            attend(&mut Head::default(), &qkv, &bias, (0, size), &mut out);
            out
        });
        for (a, b) in here.iter().zip(&plain) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}

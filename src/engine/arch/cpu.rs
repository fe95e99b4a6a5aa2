//! What is between the products, on the CPU: norms, residual connections and rotations of contiguous f32 tensors, in place
//! where that is possible, each in one pass. In candle's own operations every step reads and writes a matrix of its own,
//! whose pages the system has to clear first, on threads that spin while they wait.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use super::attention::dot;
use super::simd::wide;

/// Numbers below which it costs more to wake other threads than it saves.
const INLINE: usize = 1 << 15;
/// Numbers per task.
const TASK: usize = 1 << 13;

/// Root mean square normalisation of rows.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub weight: &'a [f32],
    pub eps: f32,
}

impl Norm<'_> {
    /// What a row is multiplied with beside the weights.
    #[inline(always)]
    fn factor(&self, row: &[f32]) -> f32 {
        (dot(row, row) / row.len() as f32 + self.eps).sqrt().recip()
    }
}

/// Calls `f` with the numbers of a tensor.
pub fn read<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(data)), Some((from, to))) => f(&data[from..to]),
        _ => bail!("only contiguous f32 tensors on the CPU can be read as they are"),
    }
}

/// Lets `f` change the numbers of a tensor, and so of all that share them. It must not look at the tensor itself.
pub fn update(x: &Tensor, f: impl FnOnce(&mut [f32])) -> Result<()> {
    x.inplace_op1(&Update(Cell::new(Some(f))))
}

struct Update<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (storage, layout.contiguous_offsets(), self.0.take()) {
            (CpuStorage::F32(data), Some((from, to)), Some(f)) => f(&mut data[from..to]),
            _ => bail!("only contiguous f32 tensors can be changed in place"),
        }
        Ok(())
    }
}

/// Rows of a matrix, some at a time, on as many threads as it is worth.
fn each_rows(x: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (TASK / width).max(1);
    let run = |(task, x): (usize, &mut [f32])| {
        wide(|| f(task * rows, x));
    };
    match x.len() < INLINE {
        true => x.chunks_mut(rows * width).enumerate().for_each(run),
        false => x.par_chunks_mut(rows * width).enumerate().for_each(run),
    }
}

/// Rows `(.., norm.weight.len())`, normalised.
pub fn normed(x: &Tensor, norm: Norm) -> Result<Tensor> {
    let width = norm.weight.len();
    let y = read(x, |x| {
        let mut y = x.to_vec();
        each_rows(&mut y, width, |_, y| {
            for y in y.chunks_exact_mut(width) {
                let factor = norm.factor(y);
                for (y, weight) in y.iter_mut().zip(norm.weight) {
                    *y *= factor * weight;
                }
            }
        });
        Ok(y)
    })?;
    Tensor::from_vec(y, x.shape(), x.device())
}

/// `x += scale * after(added)` in place.
pub fn add(x: &Tensor, added: &Tensor, after: Option<Norm>, scale: f32) -> Result<()> {
    let width = x.dim(candle_core::D::Minus1)?;
    if x.shape() != added.shape() {
        bail!("{:?} cannot be added to {:?}", added.shape(), x.shape())
    }
    read(added, |added| {
        update(x, |x| {
            each_rows(x, width, |row, x| {
                let added = added[row * width..].chunks_exact(width);
                for (x, added) in x.chunks_exact_mut(width).zip(added) {
                    match after {
                        Some(norm) => {
                            let factor = scale * norm.factor(added);
                            for ((x, added), weight) in x.iter_mut().zip(added).zip(norm.weight) {
                                *x += factor * added * weight;
                            }
                        }
                        None => x.iter_mut().zip(added).for_each(|(x, y)| *x += scale * y),
                    }
                }
            });
        })
    })
}

/// `x *= scale` in place.
pub fn scale(x: &Tensor, scale: f32) -> Result<()> {
    update(x, |x| {
        each_rows(x, TASK, |_, x| x.iter_mut().for_each(|x| *x *= scale));
    })
}

/// Heads `(T, heads, d)` normalised each, and rotated by the angles of their tokens, `(T, rotated / 2)` cosines and sines; in
/// place. See [`super::rope::Rope::rotate`].
pub fn place(x: &Tensor, norm: Option<Norm>, angles: Option<(&Tensor, &Tensor)>) -> Result<()> {
    let (_, heads, d) = x.dims3()?;
    let run = |angles: Option<(&[f32], &[f32], usize)>| {
        update(x, |x| {
            each_rows(x, heads * d, |token, x| {
                for (token, x) in (token..).zip(x.chunks_exact_mut(heads * d)) {
                    let angles = angles.map(|(cos, sin, half)| {
                        let own = token * half..(token + 1) * half;
                        (&cos[own.clone()], &sin[own])
                    });
                    place_token(x, d, norm, angles);
                }
            });
        })
    };
    match angles {
        None => run(None),
        Some((cos, sin)) => {
            let half = cos.dim(1)?;
            read(cos, |cos| read(sin, |sin| run(Some((cos, sin, half)))))
        }
    }
}

/// The heads of one token.
#[inline(always)]
fn place_token(x: &mut [f32], d: usize, norm: Option<Norm>, angles: Option<(&[f32], &[f32])>) {
    for x in x.chunks_exact_mut(d) {
        if let Some(norm) = norm {
            let factor = norm.factor(x);
            for (x, weight) in x.iter_mut().zip(norm.weight) {
                *x *= factor * weight;
            }
        }
        if let Some((cos, sin)) = angles {
            let (first, second) = x.split_at_mut(cos.len());
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
        Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
    }

    fn same(a: &Tensor, b: &Tensor) {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        let worst = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-5, "{worst}");
    }

    #[test]
    fn rows_are_normalised_and_added_as_candle_does() {
        let weight = random(133);
        let plain = |x: &Tensor| candle_nn::ops::rms_norm(x, &weight, 1e-5).unwrap();
        let values = weight.to_vec1::<f32>().unwrap();
        let norm = Norm {
            weight: &values,
            eps: 1e-5,
        };
        // Few on this thread, many on several.
        for rows in [3, 300] {
            let (x, added) = (random((rows, 133)), random((rows, 133)));
            same(&normed(&x, norm).unwrap(), &plain(&x));
            for after in [None, Some(norm)] {
                let sum = match after {
                    Some(_) => plain(&added),
                    None => added.clone(),
                };
                let sum = (&x + (sum * 0.5).unwrap()).unwrap();
                let found = x.copy().unwrap();
                add(&found, &added, after, 0.5).unwrap();
                same(&found, &sum);
            }
            let found = x.copy().unwrap();
            scale(&found, 3.).unwrap();
            same(&found, &(x * 3.).unwrap());
        }
    }

    #[test]
    fn heads_are_normalised_and_rotated_as_candle_does() {
        for (t, heads, d, half) in [(5, 3, 64, 32), (200, 4, 128, 64), (7, 2, 20, 5)] {
            let x = random((t, heads, d));
            let (cos, sin) = (random((t, half)), random((t, half)));
            let weight = random(d);
            let plain = candle_nn::ops::rms_norm(&x, &weight, 1e-6).unwrap();
            let turned = plain.narrow(2, 0, 2 * half).unwrap().contiguous().unwrap();
            let turned = candle_nn::rotary_emb::rope_thd(&turned.unsqueeze(0).unwrap(), &cos, &sin);
            let rest = plain.narrow(2, 2 * half, d - 2 * half).unwrap();
            let plain = Tensor::cat(&[&turned.unwrap().squeeze(0).unwrap(), &rest], 2).unwrap();
            let weight = weight.to_vec1::<f32>().unwrap();
            let norm = Norm {
                weight: &weight,
                eps: 1e-6,
            };
            place(&x, Some(norm), Some((&cos, &sin))).unwrap();
            same(&x, &plain);
        }
    }
}

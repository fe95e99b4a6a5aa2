//! Matrix products of 4- and 8-bit weights with 8-bit activations on x86 with AVX2.
//!
//! candle's tile kernels need a width that is a multiple of 256; other widths (576 in SmolLM2) and the 32-wide
//! block types fall on scalar code there. Here weights are stored in tiles of eight output rows, so that one
//! `vpmaddubsw` multiplies four inputs of eight rows; activations are quantised to 8 bits in blocks of 32 as
//! llama.cpp does (`block_q8_1`). A row's result does not depend on how many rows run with it.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail};
use half::f16;
use rayon::prelude::*;

/// Values per quantisation block, of weights and of activations.
const BLOCK: usize = 32;
/// Output rows per tile: one 256-bit register of f32.
const TILE: usize = 8;
/// Input rows that share one pass over a tile.
const GROUP: usize = 4;

/// A weight matrix `(out, in)` in tiles, block after block along `in`.
pub struct PackedWeight {
    out: usize,
    input: usize,
    codes: Codes,
    /// Per tile and block, one value per output row.
    scales: Vec<[f32; TILE]>,
}

/// The integers of the weights.
enum Codes {
    /// `w = scale * code + min`, code in 0..16. Byte `4 r + c` of quarter `g` holds inputs `8 g + c` (low half)
    /// and `8 g + 4 + c` (high half) of output row `r`.
    Four {
        tiles: Vec<[[u8; 32]; 4]>,
        mins: Vec<[f32; TILE]>,
    },
    /// `w = scale * code`, code in -127..=127. Byte `4 r + c` of eighth `g` holds input `4 g + c` of row `r`.
    Eight { tiles: Vec<[[i8; 32]; 8]> },
}

/// One block of 32 weights, decoded from its GGUF form.
struct Block {
    codes: [i8; BLOCK],
    scale: f32,
    min: f32,
}

impl PackedWeight {
    /// Repacks the weight, or returns `None` where the general path has to serve: other types, shapes or devices.
    pub fn try_new(weight: &Arc<QTensor>) -> Result<Option<Self>> {
        let (out, input) = weight.shape().dims2()?;
        let four = match weight.dtype() {
            GgmlDType::Q4_0 | GgmlDType::Q4_1 => true,
            GgmlDType::Q5_0 | GgmlDType::Q8_0 => false,
            _ => return Ok(None),
        };
        let fits = out % TILE == 0 && input % BLOCK == 0 && weight.device().is_cpu();
        if !fits || !supported() {
            return Ok(None);
        }
        let (dtype, data) = (weight.dtype(), weight.data()?);
        let row_blocks = input / BLOCK;
        let block = |row: usize, b: usize| {
            let size = dtype.type_size();
            let at = (row * row_blocks + b) * size;
            decode(dtype, &data[at..at + size])
        };
        let mut scales = Vec::with_capacity(out / TILE * row_blocks);
        let mut mins = Vec::new();
        let (mut fours, mut eights) = (Vec::new(), Vec::new());
        for tile in 0..out / TILE {
            for b in 0..row_blocks {
                let blocks: [Block; TILE] = std::array::from_fn(|r| block(tile * TILE + r, b));
                scales.push(blocks.each_ref().map(|block| block.scale));
                if four {
                    mins.push(blocks.each_ref().map(|block| block.min));
                    fours.push(interleave_four(&blocks));
                } else {
                    eights.push(interleave_eight(&blocks));
                }
            }
        }
        let codes = match four {
            true => Codes::Four { tiles: fours, mins },
            false => Codes::Eight { tiles: eights },
        };
        Ok(Some(Self {
            out,
            input,
            codes,
            scales,
        }))
    }
}

/// Block layouts of `ggml-common.h`.
fn decode(dtype: GgmlDType, bytes: &[u8]) -> Block {
    let half_at = |i: usize| f16::from_le_bytes([bytes[i], bytes[i + 1]]).to_f32();
    let nibble = |qs: &[u8], i: usize| match i < 16 {
        true => (qs[i] & 15) as i8,
        false => (qs[i - 16] >> 4) as i8,
    };
    let scale = half_at(0);
    let (codes, min) = match dtype {
        GgmlDType::Q4_0 => {
            let codes = std::array::from_fn(|i| nibble(&bytes[2..], i));
            (codes, -8. * scale)
        }
        GgmlDType::Q4_1 => {
            let codes = std::array::from_fn(|i| nibble(&bytes[4..], i));
            (codes, half_at(2))
        }
        GgmlDType::Q5_0 => {
            let high = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
            let codes = std::array::from_fn(|i| {
                (nibble(&bytes[6..], i) | (((high >> i) & 1) << 4) as i8) - 16
            });
            (codes, 0.)
        }
        _ => (std::array::from_fn(|i| bytes[2 + i] as i8), 0.),
    };
    Block { codes, scale, min }
}

fn interleave_four(blocks: &[Block; TILE]) -> [[u8; 32]; 4] {
    std::array::from_fn(|g| {
        std::array::from_fn(|byte| {
            let (codes, k) = (&blocks[byte / 4].codes, 8 * g + byte % 4);
            codes[k] as u8 | (codes[k + 4] as u8) << 4
        })
    })
}

fn interleave_eight(blocks: &[Block; TILE]) -> [[i8; 32]; 8] {
    std::array::from_fn(|g| std::array::from_fn(|byte| blocks[byte / 4].codes[4 * g + byte % 4]))
}

/// Activations in 8 bits: `x = scale * code`, per block of 32.
struct Activations {
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// `scale` times the sum of the block's codes: what the weights' `min` is multiplied with.
    sums: Vec<f32>,
}

impl Activations {
    fn quantize(x: &[f32]) -> Self {
        /// Blocks per task.
        const TASK: usize = 256;
        let blocks = x.len() / BLOCK;
        let mut codes = vec![0; x.len()];
        let (mut scales, mut sums) = (vec![0.; blocks], vec![0.; blocks]);
        let tasks = (
            x.par_chunks(TASK * BLOCK),
            codes.par_chunks_mut(TASK * BLOCK),
            scales.par_chunks_mut(TASK),
            sums.par_chunks_mut(TASK),
        );
        if blocks <= TASK {
            quantize(x, &mut codes, &mut scales, &mut sums);
        } else {
            tasks
                .into_par_iter()
                .for_each(|(x, codes, scales, sums)| quantize(x, codes, scales, sums));
        }
        Self {
            codes,
            scales,
            sums,
        }
    }
}

/// Quantises whole blocks, with AVX2 where it is there.
fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if supported() {
        // SAFETY: the features are there.
        return unsafe { x86::quantize(x, codes, scales, sums) };
    }
    quantize_any(x, codes, scales, sums);
}

#[inline(always)]
fn quantize_any(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
    /// Adding it leaves no room for a fraction: the low bits of the sum are the number rounded to nearest even.
    const ROUND: f32 = 12_582_912.; // 1.5 * 2^23
    let blocks = x.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    for ((x, codes), (scale, sum)) in blocks.zip(scales.iter_mut().zip(sums)) {
        let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
        *scale = largest / 127.;
        let inverse = if *scale > 0. { 1. / *scale } else { 0. };
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x * inverse + ROUND).to_bits() as i8;
        }
        *sum = *scale * codes.iter().map(|code| i32::from(*code)).sum::<i32>() as f32;
    }
}

impl CustomOp1 for PackedWeight {
    fn name(&self) -> &'static str {
        "packed-matmul"
    }

    /// `(.., in) -> (.., out)`.
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let CpuStorage::F32(x) = storage else {
            bail!("packed-matmul needs f32 activations")
        };
        let Some((from, to)) = layout.contiguous_offsets() else {
            bail!("packed-matmul needs contiguous activations")
        };
        let x = &x[from..to];
        let mut dims = layout.dims().to_vec();
        if dims.pop() != Some(self.input) {
            bail!(
                "packed-matmul: {:?} times {} inputs",
                layout.dims(),
                self.input
            )
        }
        dims.push(self.out);
        let mut y = vec![0f32; x.len() / self.input * self.out];
        self.multiply(&Activations::quantize(x), &mut y);
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }
}

#[cfg(target_arch = "x86_64")]
fn supported() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn supported() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
impl PackedWeight {
    fn multiply(&self, _: &Activations, _: &mut [f32]) {
        unreachable!("try_new packs nothing where the kernel is not supported")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    /// The product with weights and activations dequantised, in plain f32.
    fn plain(weight: &QTensor, x: &Tensor) -> Vec<f32> {
        let activations = Activations::quantize(&x.flatten_all().unwrap().to_vec1().unwrap());
        let x = activations
            .codes
            .iter()
            .enumerate()
            .map(|(i, code)| f32::from(*code) * activations.scales[i / BLOCK])
            .collect::<Vec<_>>();
        let input = weight.shape().dims()[1];
        let x = Tensor::from_vec(x.clone(), (x.len() / input, input), &Device::Cpu).unwrap();
        let w = weight.dequantize(&Device::Cpu).unwrap();
        let y = x.matmul(&w.t().unwrap()).unwrap();
        y.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn random(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn every_packed_type_equals_the_plain_product() {
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q8_0,
        ] {
            for (out, input, rows) in [(8, 32, 1), (24, 576, 7), (192, 96, 45)] {
                let weight = Arc::new(QTensor::quantize(&random((out, input)), dtype).unwrap());
                let Some(packed) = PackedWeight::try_new(&weight).unwrap() else {
                    assert!(!supported(), "{dtype:?} is packed wherever AVX2 is");
                    continue;
                };
                let x = random((rows, input));
                let y = x.apply_op1_no_bwd(&packed).unwrap();
                assert_eq!(y.dims(), [rows, out]);
                let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (ours, reference) in y.iter().zip(plain(&weight, &x)) {
                    let close = (ours - reference).abs() < 1e-4 * (input as f32).sqrt();
                    assert!(close, "{dtype:?} {out}x{input}: {ours} and {reference}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let weight = Arc::new(QTensor::quantize(&random((64, 576)), GgmlDType::Q4_1).unwrap());
        let Some(packed) = PackedWeight::try_new(&weight).unwrap() else {
            return assert!(!supported());
        };
        let x = random((7, 576));
        let all = x
            .apply_op1_no_bwd(&packed)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (i, row) in all.iter().enumerate() {
            let alone = x
                .narrow(0, i, 1)
                .unwrap()
                .apply_op1_no_bwd(&packed)
                .unwrap();
            assert_eq!(&alone.to_vec2::<f32>().unwrap()[0], row);
        }
    }

    #[test]
    fn other_types_and_shapes_are_left_to_the_general_path() {
        for (dtype, shape) in [
            (GgmlDType::Q6K, (8, 256)),
            (GgmlDType::Q4_1, (7, 32)),
            (GgmlDType::F32, (8, 32)),
        ] {
            let weight = Arc::new(QTensor::quantize(&random(shape), dtype).unwrap());
            assert!(PackedWeight::try_new(&weight).unwrap().is_none());
        }
    }
}

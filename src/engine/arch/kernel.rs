//! Matrix products of quantised weights with 8-bit activations on x86.
//!
//! Weights are repacked when they are loaded, in tiles of sixteen output rows, so that one instruction multiplies four
//! inputs of all sixteen (`vpdpbusd` of AVX-512 VNNI) or of eight (`vpmaddubsw` of AVX2). Codes and scales are those of the
//! file, in as many bits: nothing is rounded again. Activations are quantised in blocks of 32 as llama.cpp does
//! (`block_q8_1`). A row's result does not depend on how many rows run with it.

mod activations;
mod pack;
mod rows;
#[cfg(target_arch = "x86_64")]
mod x86;

use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use half::f16;

use self::activations::Activations;
#[cfg(target_arch = "x86_64")]
use super::simd::avx512_is_hidden;

/// Values per block of activations; blocks of weights are as wide or half as wide.
const BLOCK: usize = 32;
/// Output rows per tile: one 512-bit register of f32, two of 256 bits.
const TILE: usize = 16;
/// Values per superblock of the K types.
const SUPER: usize = 256;

/// A quantised matrix `(out, in)` as a GGUF file stores it.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    pub dtype: GgmlDType,
    pub shape: (usize, usize),
    pub bytes: &'a [u8],
    /// The rows to take, where it is not all of them in their order.
    pub order: Option<&'a [usize]>,
}

/// A weight matrix `(out, in)` in tiles, block after block along `in`.
///
/// `w = scale * code + min`, where `code` is at least 0 and `min` is `-offset * scale` for types that have none of their own.
pub struct PackedWeight {
    out: usize,
    input: usize,
    isa: Isa,
    layout: Layout,
    /// Per tile and block, [`Width::lines`].
    codes: Vec<Line>,
    /// Per tile and block, or superblock of the K types: scales, then mins where the type has them.
    large: Vec<Halves>,
    /// Of the K types, per tile and block or half block: what the scale of the superblock is multiplied with, then the same
    /// for its min.
    small: Vec<Bytes>,
}

/// How a type is packed.
#[derive(Debug, Clone, Copy)]
struct Layout {
    width: Width,
    offset: f32,
    mins: bool,
    small: Small,
}

/// How many small scales there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Small {
    /// The type has no superblocks.
    None,
    PerBlock,
    PerHalf,
}

/// Four bytes of each of the sixteen rows of a tile. Aligned, because a load that crosses cache lines costs two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; TILE]);

/// One number per row of a tile.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Halves([f16; TILE]);

#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Bytes([i8; TILE]);

/// Bits per code. Byte `c` of number `r` in line `g` is of output row `r` and
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// of inputs `4 g + c` (low half) and `16 + 4 g + c` (high half), `g < 4`;
    Four,
    /// the same, and a fifth line of eight masks of 64 bits: bit `4 r + c` of mask `g` is the fifth of input `4 g + c`;
    Five,
    /// the same as `Four`, and two lines whose byte holds the upper two bits of inputs `4 g + c`, `g` from 0 to 3 in the
    /// first, from 4 to 7 in the second;
    Six,
    /// of input `4 g + c`, `g < 8`.
    Eight,
}

impl Width {
    /// Lines per block.
    const fn lines(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

/// The widest instructions that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    Avx512Vnni,
    Avx2,
}

impl Isa {
    /// What this machine has and may be used.
    #[cfg(target_arch = "x86_64")]
    fn here() -> Option<Self> {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        match (avx2, vnni && !avx512_is_hidden()) {
            (true, true) => Some(Self::Avx512Vnni),
            (true, false) => Some(Self::Avx2),
            _ => None,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn here() -> Option<Self> {
        None
    }
}

impl PackedWeight {
    /// Repacks a weight, or returns `None` where the general path has to serve: floats, odd shapes, other machines.
    pub fn new(weight: &Stored) -> Option<Self> {
        pack::pack(weight, Isa::here()?)
    }

    /// `(.., in) -> (.., out)`, for activations in f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut products = Self::forward_all(&[self], x)?;
        Ok(products.remove(0))
    }

    /// Products of several weights with the same activations, which are quantised once.
    pub fn forward_all(weights: &[&Self], x: &Tensor) -> Result<Vec<Tensor>> {
        let x = x.contiguous()?;
        let mut dims = x.dims().to_vec();
        let input = dims.pop().unwrap_or(0);
        if let Some(other) = weights.iter().find(|weight| weight.input != input) {
            bail!("{:?} activations for {} inputs", x.dims(), other.input)
        }
        let (storage, layout) = x.storage_and_layout();
        let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
            bail!("packed weights need f32 activations on the CPU")
        };
        let values = &values[layout.start_offset()..][..layout.shape().elem_count()];
        let rows = values.len() / input;
        let mut products = weights
            .iter()
            .map(|weight| Vec::with_capacity(rows * weight.out))
            .collect::<Vec<_>>();
        multiply(
            weights,
            &Activations::quantize(values, input),
            rows,
            &mut products,
        );
        let shaped = weights.iter().zip(products).map(|(weight, product)| {
            let shape = [&dims[..], &[weight.out]].concat();
            Tensor::from_vec(product, shape, x.device())
        });
        shaped.collect()
    }
}

#[cfg(target_arch = "x86_64")]
use x86::multiply;

#[cfg(not(target_arch = "x86_64"))]
fn multiply(_: &[&PackedWeight], _: &Activations, _: usize, _: &mut [Vec<f32>]) {
    unreachable!("nothing is packed where there is no kernel")
}

#[cfg(test)]
mod tests;

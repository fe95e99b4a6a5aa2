//! Matrix products of quantised weights with 8-bit activations on x86.
//!
//! Weights are repacked when they are loaded, in tiles of sixteen output rows, so that one instruction multiplies four
//! inputs of all sixteen (`vpdpbusd` of AVX-512 VNNI) or of eight (`vpmaddubsw` of AVX2). Codes of four bits stay so; all
//! other types become eight bits wide, those whose blocks are not 32 wide by a second rounding that is finer than their
//! first. Activations are quantised in blocks of 32 as llama.cpp does (`block_q8_1`). A row's result does not depend on
//! how many rows run with it.

mod activations;
mod pack;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail};
use half::f16;

use self::activations::Activations;
#[cfg(target_arch = "x86_64")]
use super::simd::avx512_is_hidden;

/// Values per quantisation block, of weights and of activations.
const BLOCK: usize = 32;
/// Output rows per tile: one 512-bit register of f32, two of 256 bits.
const TILE: usize = 16;

/// A weight matrix `(out, in)` in tiles, block after block along `in`.
///
/// `w = unit * (scale * (code - offset) + min)`, where `code` is at least 0.
pub struct PackedWeight {
    out: usize,
    input: usize,
    isa: Isa,
    codes: Codes,
    offset: i32,
    /// Per tile and block, one value per output row.
    scales: Vec<[f16; TILE]>,
    mins: Option<Vec<[f16; TILE]>>,
    /// A power of two that brings scales and mins into the range of 16 bits.
    unit: f32,
}

/// The integers of the weights, per tile and block.
enum Codes {
    /// Byte `4 r + c` of quarter `g` holds inputs `8 g + c` (low half) and `8 g + 4 + c` (high half) of output row `r`.
    Four(Vec<[[u8; 64]; 4]>),
    /// Byte `4 r + c` of eighth `g` holds input `4 g + c` of output row `r`.
    Eight(Vec<[[u8; 64]; 8]>),
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
    /// Repacks the weight, or returns `None` where the general path has to serve: floats, odd shapes, other devices.
    pub fn try_new(weight: &Arc<QTensor>) -> Result<Option<Self>> {
        match Isa::here() {
            Some(isa) => pack::pack(weight, isa),
            None => Ok(None),
        }
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

#[cfg(not(target_arch = "x86_64"))]
impl PackedWeight {
    fn multiply(&self, _: &Activations, _: &mut [f32]) {
        unreachable!("nothing is packed where there is no kernel")
    }
}

#[cfg(test)]
mod tests;

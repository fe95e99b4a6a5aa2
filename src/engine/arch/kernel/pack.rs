//! Weights as GGUF files store them to tiles. Block layouts: `ggml-common.h` and `ggml-quants.c` of llama.cpp.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result};
use half::f16;
use rayon::prelude::*;

use super::activations::quantize_any;
use super::{BLOCK, Codes, Isa, PackedWeight, TILE};

/// One block of 32 weights: `w = scale * (code - offset) + min`, with the offset of its type.
#[derive(Clone, Copy)]
struct Block {
    codes: [u8; BLOCK],
    scale: f32,
    min: f32,
}

/// How a type is packed.
struct Plan {
    four: bool,
    offset: i32,
    mins: bool,
}

impl Plan {
    fn of(dtype: GgmlDType) -> Option<Self> {
        let plan = |four, offset, mins| Some(Self { four, offset, mins });
        match dtype {
            GgmlDType::Q4_0 => plan(true, 8, false),
            GgmlDType::Q4_1 | GgmlDType::Q4K => plan(true, 0, true),
            GgmlDType::Q5_0 => plan(false, 16, false),
            GgmlDType::Q5_1 | GgmlDType::Q5K => plan(false, 0, true),
            GgmlDType::Q8_0 | GgmlDType::Q2K | GgmlDType::Q3K | GgmlDType::Q6K => {
                plan(false, 128, false)
            }
            _ => None,
        }
    }
}

/// Repacks a weight, or `None` where its type, shape or device is not for these kernels.
pub fn pack(weight: &Arc<QTensor>, isa: Isa) -> Result<Option<PackedWeight>> {
    let (out, input) = weight.shape().dims2()?;
    let dtype = weight.dtype();
    let fits = out % TILE == 0 && input % BLOCK == 0 && weight.device().is_cpu();
    let Some(plan) = Plan::of(dtype).filter(|_| fits) else {
        return Ok(None);
    };
    let rounded = matches!(dtype, GgmlDType::Q2K | GgmlDType::Q3K | GgmlDType::Q6K);
    let data = weight.data()?;
    let row_bytes = data.len() / out;
    let row_blocks = input / BLOCK;
    // The blocks of the sixteen rows of a tile, `(16, blocks)`.
    let tile = |tile: usize| -> Result<Vec<Block>> {
        let bytes = &data[tile * TILE * row_bytes..(tile + 1) * TILE * row_bytes];
        match rounded {
            true => round(bytes, dtype, input),
            false => Ok((0..TILE * row_blocks)
                .map(|b| decode(dtype, bytes, b))
                .collect()),
        }
    };
    let tiles = (0..out / TILE).into_par_iter();
    let tiles = tiles.map(tile).collect::<Result<Vec<_>>>()?;
    let largest = tiles.par_iter().flatten();
    let largest = largest.map(|block| block.scale.abs().max(block.min.abs()));
    let unit = unit(largest.reduce(|| 0., f32::max));
    let of_tiles = |of: fn(&Block) -> f32| {
        let values = tiles.par_iter().flat_map_iter(|blocks| {
            (0..row_blocks).map(move |b| {
                std::array::from_fn(|r| f16::from_f32(of(&blocks[r * row_blocks + b]) / unit))
            })
        });
        values.collect::<Vec<[f16; TILE]>>()
    };
    let interleaved = tiles.par_iter().flat_map_iter(|blocks| {
        (0..row_blocks)
            .map(move |b| std::array::from_fn::<_, TILE, _>(|r| &blocks[r * row_blocks + b].codes))
    });
    Ok(Some(PackedWeight {
        out,
        input,
        isa,
        offset: plan.offset,
        scales: of_tiles(|block| block.scale),
        mins: plan.mins.then(|| of_tiles(|block| block.min)),
        codes: match plan.four {
            true => Codes::Four(interleaved.map(|rows| four(&rows)).collect()),
            false => Codes::Eight(interleaved.map(|rows| eight(&rows)).collect()),
        },
        unit,
    }))
}

/// A power of two that brings numbers up to `largest` to 2^14, near the end of what 16 bits hold.
fn unit(largest: f32) -> f32 {
    match largest > 0. {
        true => (largest.log2().ceil() - 14.).exp2(),
        false => 1.,
    }
}

fn four(rows: &[&[u8; BLOCK]; TILE]) -> [[u8; 64]; 4] {
    std::array::from_fn(|g| {
        std::array::from_fn(|byte| {
            let (codes, k) = (rows[byte / 4], 8 * g + byte % 4);
            codes[k] | codes[k + 4] << 4
        })
    })
}

fn eight(rows: &[&[u8; BLOCK]; TILE]) -> [[u8; 64]; 8] {
    std::array::from_fn(|g| std::array::from_fn(|byte| rows[byte / 4][4 * g + byte % 4]))
}

/// Block `b` of some rows, for types that are packed as they are.
fn decode(dtype: GgmlDType, bytes: &[u8], b: usize) -> Block {
    match dtype {
        GgmlDType::Q4K | GgmlDType::Q5K => {
            let size = dtype.type_size();
            let parts = dtype.block_size() / BLOCK;
            decode_k(&bytes[b / parts * size..][..size], b % parts, dtype)
        }
        _ => {
            let size = dtype.type_size();
            decode_32(dtype, &bytes[b * size..][..size])
        }
    }
}

/// Types whose blocks are 32 wide.
fn decode_32(dtype: GgmlDType, bytes: &[u8]) -> Block {
    let half_at = |i: usize| f16::from_le_bytes([bytes[i], bytes[i + 1]]).to_f32();
    let nibble = |qs: &[u8], i: usize| match i < 16 {
        true => qs[i] & 15,
        false => qs[i - 16] >> 4,
    };
    let fifth = |at: usize, i: usize| {
        let bits = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (((bits >> i) & 1) << 4) as u8
    };
    let five = |at: usize| std::array::from_fn(|i| nibble(&bytes[at + 4..], i) | fifth(at, i));
    let (codes, min) = match dtype {
        GgmlDType::Q4_0 => (std::array::from_fn(|i| nibble(&bytes[2..], i)), 0.),
        GgmlDType::Q4_1 => (std::array::from_fn(|i| nibble(&bytes[4..], i)), half_at(2)),
        GgmlDType::Q5_0 => (five(2), 0.),
        GgmlDType::Q5_1 => (five(4), half_at(2)),
        _ => (std::array::from_fn(|i| bytes[2 + i] ^ 128), 0.),
    };
    Block {
        codes,
        scale: half_at(0),
        min,
    }
}

/// Part `part` of eight of a block of 256 in Q4_K or Q5_K: two f16 scales, twelve bytes of 6-bit scales and mins, Q5_K's
/// fifth bits, and nibbles of which each 32 bytes hold two parts.
fn decode_k(bytes: &[u8], part: usize, dtype: GgmlDType) -> Block {
    let half_at = |i: usize| f16::from_le_bytes([bytes[i], bytes[i + 1]]).to_f32();
    let packed = &bytes[4..16];
    let (scale, min) = match part < 4 {
        true => (packed[part] & 63, packed[part + 4] & 63),
        false => (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        ),
    };
    let five = dtype == GgmlDType::Q5K;
    let nibbles = &bytes[if five { 48 } else { 16 } + part / 2 * BLOCK..];
    let codes = std::array::from_fn(|i| {
        let low = nibbles[i] >> (part % 2 * 4) & 15;
        match five {
            true => low | (bytes[16 + i] >> part & 1) << 4,
            false => low,
        }
    });
    Block {
        codes,
        scale: half_at(0) * f32::from(scale),
        min: -half_at(2) * f32::from(min),
    }
}

/// Some rows of a type with other blocks, rounded to eight bits in blocks of 32.
fn round(bytes: &[u8], dtype: GgmlDType, input: usize) -> Result<Vec<Block>> {
    let storage = candle_core::quantized::QStorage::from_data(bytes.into(), &Device::Cpu, dtype)?;
    let rows = QTensor::new(storage, (TILE, input))?;
    let rows = rows
        .dequantize(&Device::Cpu)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let blocks = rows.chunks_exact(BLOCK).map(|x| {
        let (mut codes, mut scale, mut sum) = ([0i8; BLOCK], [0.], [0]);
        quantize_any(x, &mut codes, &mut scale, &mut sum);
        Block {
            codes: codes.map(|code| code as u8 ^ 128),
            scale: scale[0],
            min: 0.,
        }
    });
    Ok(blocks.collect())
}

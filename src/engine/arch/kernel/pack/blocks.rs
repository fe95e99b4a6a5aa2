//! The blocks of a row, as `ggml-common.h` and `ggml-quants.c` of llama.cpp lay them out, four codes at a time.

use candle_core::quantized::GgmlDType;
use half::f16;

use super::super::{BLOCK, Line, SUPER, Width};

/// One code per byte.
const LOW_4: u32 = 0x0f0f_0f0f;
const LOW_2: u32 = 0x0303_0303;
const LOW_1: u32 = 0x0101_0101;

/// Blocks per superblock.
const PARTS: usize = SUPER / BLOCK;

/// Writes the codes of a row, which is row `r` of its tile.
pub fn codes(dtype: GgmlDType, row: &[u8], width: Width, lines: &mut [Line], r: usize) {
    let each = width.lines();
    let stored = row.chunks_exact(dtype.type_size());
    if dtype.block_size() == BLOCK {
        for (bytes, block) in stored.zip(lines.chunks_exact_mut(each)) {
            codes_of_block(dtype, bytes, block, r);
        }
        return;
    }
    for (bytes, blocks) in stored.zip(lines.chunks_exact_mut(PARTS * each)) {
        for (part, block) in blocks.chunks_exact_mut(each).enumerate() {
            codes_of_part(dtype, bytes, part, block, r);
        }
    }
}

#[inline(always)]
fn codes_of_block(dtype: GgmlDType, bytes: &[u8], block: &mut [Line], r: usize) {
    if dtype == GgmlDType::Q8_0 {
        for (line, codes) in block.iter_mut().zip(quads::<8>(&bytes[2..])) {
            line.0[r] = codes ^ 0x8080_8080;
        }
        return;
    }
    let size = bytes.len();
    for (line, codes) in block.iter_mut().zip(quads::<4>(&bytes[size - 16..])) {
        line.0[r] = codes;
    }
    if let Some(line) = block.get_mut(4) {
        let [fifths] = quads(&bytes[size - 20..]);
        fifth_bits(line, r, |g| fifths >> (4 * g) & 15);
    }
}

/// A block within a superblock.
#[inline(always)]
fn codes_of_part(dtype: GgmlDType, bytes: &[u8], part: usize, block: &mut [Line], r: usize) {
    let size = bytes.len();
    // Halves of 128 codes, and a block's place in its half.
    let (half, j) = (part / 4, part % 4);
    // Four codes each, still without the bits that are stored apart.
    let low = match dtype {
        GgmlDType::Q4K | GgmlDType::Q5K => {
            let nibbles = quads::<8>(&bytes[size - 128 + part / 2 * BLOCK..]);
            nibbles.map(|quad| quad >> (part % 2 * 4) & LOW_4)
        }
        GgmlDType::Q6K => {
            let nibbles = quads::<8>(&bytes[half * 64 + j % 2 * BLOCK..]);
            nibbles.map(|quad| quad >> (j / 2 * 4) & LOW_4)
        }
        GgmlDType::Q2K => {
            let pairs = quads::<8>(&bytes[16 + half * BLOCK..]);
            pairs.map(|quad| quad >> (2 * j) & LOW_2)
        }
        _ => {
            let pairs = quads::<8>(&bytes[32 + half * BLOCK..]);
            let thirds = quads::<8>(bytes);
            std::array::from_fn(|g| pairs[g] >> (2 * j) & LOW_2 | (thirds[g] >> part & LOW_1) << 2)
        }
    };
    for (g, line) in block.iter_mut().enumerate().take(4) {
        line.0[r] = low[g] | low[4 + g] << 4;
    }
    match dtype {
        GgmlDType::Q5K => {
            let fifths = quads::<8>(&bytes[16..]);
            fifth_bits(&mut block[4], r, |g| gathered(fifths[g] >> part & LOW_1));
        }
        GgmlDType::Q6K => {
            let high = quads::<8>(&bytes[128 + half * BLOCK..]);
            let high = high.map(|quad| quad >> (2 * j) & LOW_2);
            for (line, high) in block[4..].iter_mut().zip(high.as_chunks::<4>().0) {
                line.0[r] = high[0] | high[1] << 2 | high[2] << 4 | high[3] << 6;
            }
        }
        _ => {}
    }
}

/// The first `4 N` bytes, four to a number.
fn quads<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (quads, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(quads[i]))
}

/// The lowest bits of four bytes, side by side.
fn gathered(bits: u32) -> u32 {
    (bits | bits >> 7 | bits >> 14 | bits >> 21) & 15
}

/// Writes the fifth bits of row `r`, four for each of the eight masks of a line.
fn fifth_bits(line: &mut Line, r: usize, bits: impl Fn(usize) -> u32) {
    // A mask of 64 bits is two numbers, of which the first has rows 0 to 7.
    for g in 0..8 {
        line.0[2 * g + r / 8] |= bits(g) << (r % 8 * 4);
    }
}

/// Calls `put` with the 16-bit scales of a row, each followed by what is multiplied with its mins, if it has any.
pub fn large(dtype: GgmlDType, row: &[u8], mut put: impl FnMut(usize, f16)) {
    for (i, bytes) in row.chunks_exact(dtype.type_size()).enumerate() {
        let half_at = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]);
        match dtype {
            GgmlDType::Q4_1 | GgmlDType::Q5_1 => {
                put(2 * i, half_at(0));
                put(2 * i + 1, half_at(2));
            }
            // Their mins are subtracted.
            GgmlDType::Q4K | GgmlDType::Q5K => {
                put(2 * i, half_at(0));
                put(2 * i + 1, -half_at(2));
            }
            GgmlDType::Q2K => {
                put(2 * i, half_at(80));
                put(2 * i + 1, -half_at(82));
            }
            GgmlDType::Q3K => put(i, half_at(108)),
            GgmlDType::Q6K => put(i, half_at(208)),
            _ => put(i, half_at(0)),
        }
    }
}

/// The same with the 8-bit factors of scales and mins.
pub fn small(dtype: GgmlDType, row: &[u8], mut put: impl FnMut(usize, i8)) {
    for (s, bytes) in row.chunks_exact(dtype.type_size()).enumerate() {
        match dtype {
            GgmlDType::Q4K | GgmlDType::Q5K => {
                for part in 0..PARTS {
                    let (scale, min) = six_bits(&bytes[4..16], part);
                    let i = s * PARTS + part;
                    put(2 * i, scale as i8);
                    put(2 * i + 1, min as i8);
                }
            }
            GgmlDType::Q2K => {
                for (half, both) in bytes[..2 * PARTS].iter().enumerate() {
                    let i = s * 2 * PARTS + half;
                    put(2 * i, (both & 15) as i8);
                    put(2 * i + 1, (both >> 4) as i8);
                }
            }
            GgmlDType::Q3K => {
                let packed = &bytes[96..108];
                for half in 0..2 * PARTS {
                    let low = packed[half % 8] >> (half / 8 * 4) & 15;
                    let high = packed[8 + half % 4] >> (half / 4 * 2) & 3;
                    put(s * 2 * PARTS + half, (low | high << 4) as i8 - 32);
                }
            }
            GgmlDType::Q6K => {
                for (half, scale) in bytes[192..208].iter().enumerate() {
                    put(s * 2 * PARTS + half, *scale as i8);
                }
            }
            _ => {}
        }
    }
}

/// Scale and min of a block in the twelve bytes of Q4_K and Q5_K.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    match part < 4 {
        true => (packed[part] & 63, packed[part + 4] & 63),
        false => (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        ),
    }
}

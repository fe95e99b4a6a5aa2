//! Rotary position embedding (Su et al. 2021), rotating halves, with the scalings of published checkpoints
//! (reference: `modeling_rope_utils.py` of transformers).
//!
//! Angles are made in f32 for the positions at hand, whatever the model's type: in 16 bits they drift past a few thousand
//! positions, and tables for a window of 131,072 would take more memory than a small model.

use std::f64::consts::PI;

use candle_core::{Device, Result, Tensor};

/// One way to turn positions into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    pub base: f64,
    /// Elements of a head that are rotated, counted from its first; the rest stays.
    pub dim: usize,
    pub scaling: Scaling,
}

/// How frequencies are stretched for windows longer than those trained on first.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    None,
    /// All frequencies divided by this.
    Linear(f64),
    /// Low frequencies divided, high ones kept, those between interpolated (Llama 3.1).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// Each frequency divided by its own number, as GGUF files store the above.
    Divisors(Vec<f32>),
    /// LongRoPE (Ding et al. 2024): one divisor per frequency for texts that fit the original window and another for longer
    /// ones; `attention` multiplies sine and cosine.
    Long {
        short: Vec<f32>,
        long: Vec<f32>,
        original: usize,
        attention: f32,
    },
}

/// A row of a packed batch: where its new tokens begin, how many they are, how long the text may become.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: usize,
    pub len: usize,
    pub capacity: usize,
}

/// Cosines and sines, `(T, rotated elements / 2)` each.
pub type Angles = (Tensor, Tensor);

pub struct Rope {
    /// `(1, rotated / 2)`, or with LongRoPE `(2, rotated / 2)`: short, long.
    inverse: Tensor,
    /// Texts longer than this use the second row.
    original: usize,
    attention: f32,
    pub dim: usize,
}

impl Rope {
    pub fn new(config: &RopeConfig, device: &Device) -> Result<Self> {
        let RopeConfig { base, dim, scaling } = config;
        let plain = (0..*dim)
            .step_by(2)
            .map(|i| 1. / base.powf(i as f64 / *dim as f64));
        let divided = |by: &[f32]| {
            let divided = plain.clone().zip(by).map(|(f, by)| f / f64::from(*by));
            divided.map(|f| f as f32).collect::<Vec<_>>()
        };
        let rows = match scaling {
            Scaling::None => vec![plain.map(|f| f as f32).collect()],
            Scaling::Linear(factor) => vec![plain.map(|f| (f / factor) as f32).collect()],
            Scaling::Divisors(by) => vec![divided(by)],
            Scaling::Long { short, long, .. } => vec![divided(short), divided(long)],
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => vec![
                plain
                    .map(|f| llama3(f, *factor, (*low, *high), *original) as f32)
                    .collect(),
            ],
        };
        let (original, attention) = match scaling {
            Scaling::Long {
                original,
                attention,
                ..
            } => (*original, *attention),
            _ => (usize::MAX, 1.),
        };
        Ok(Self {
            inverse: Tensor::new(rows, device)?,
            original,
            attention,
            dim: *dim,
        })
    }

    /// Angles of the new tokens of all rows.
    ///
    /// LongRoPE: transformers looks at the length so far and changes the frequencies in the middle of a text, with keys in the
    /// cache that were made with others. Here, as in llama.cpp, a text keeps those that suit the length it may reach.
    pub fn at(&self, spans: &[Span]) -> Result<Angles> {
        let device = self.inverse.device();
        let positions = spans
            .iter()
            .flat_map(|span| (span.start..span.start + span.len).map(|p| p as f32))
            .collect::<Vec<_>>();
        let count = positions.len();
        let positions = Tensor::from_vec(positions, (count, 1), device)?;
        let angles = match self.inverse.dim(0)? {
            1 => positions.matmul(&self.inverse)?,
            _ => {
                let long = |span: &Span| u32::from(span.capacity > self.original);
                let rows = spans
                    .iter()
                    .flat_map(|span| std::iter::repeat_n(long(span), span.len))
                    .collect::<Vec<_>>();
                let rows = Tensor::from_vec(rows, count, device)?;
                positions.broadcast_mul(&self.inverse.index_select(&rows, 0)?)?
            }
        };
        if device.is_cpu() {
            let (shape, scale) = (angles.shape(), self.attention);
            let of = |f: fn(f32) -> f32| {
                let numbers = angles.flatten_all()?.to_vec1::<f32>()?;
                let numbers = numbers
                    .into_iter()
                    .map(|angle| f(angle) * scale)
                    .collect::<Vec<_>>();
                Tensor::from_vec(numbers, shape, device)
            };
            return Ok((of(f32::cos)?, of(f32::sin)?));
        }
        let scale = f64::from(self.attention);
        Ok(((angles.cos()? * scale)?, (angles.sin()? * scale)?))
    }

    /// Rotates heads `(T, heads, head size)`.
    pub fn rotate(&self, x: &Tensor, (cos, sin): &Angles) -> Result<Tensor> {
        let head = x.dim(2)?;
        let rotate = |x: &Tensor| {
            let x = x.contiguous()?.unsqueeze(0)?;
            candle_nn::rotary_emb::rope_thd(&x, cos, sin)?.squeeze(0)
        };
        if self.dim == head {
            return rotate(x);
        }
        let rest = x.narrow(2, self.dim, head - self.dim)?;
        Tensor::cat(&[&rotate(&x.narrow(2, 0, self.dim)?)?, &rest], 2)
    }
}

/// A frequency as Llama 3.1 scales it.
fn llama3(frequency: f64, factor: f64, (low, high): (f64, f64), original: f64) -> f64 {
    let turns = original * frequency / (2. * PI);
    if turns < low {
        frequency / factor
    } else if turns > high {
        frequency
    } else {
        let smooth = (turns - low) / (high - low);
        (1. - smooth) * frequency / factor + smooth * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn angles(scaling: Scaling, span: Span) -> Vec<Vec<f32>> {
        let config = RopeConfig {
            base: 100.,
            dim: 4,
            scaling,
        };
        let rope = Rope::new(&config, &Device::Cpu).unwrap();
        let (_, sin) = rope.at(&[span]).unwrap();
        let angles = sin.to_vec2::<f32>().unwrap();
        angles
            .into_iter()
            .map(|row| row.into_iter().map(f32::asin).collect())
            .collect()
    }

    #[test]
    fn positions_become_angles_by_the_frequencies() {
        let span = Span {
            start: 1,
            len: 1,
            capacity: 9,
        };
        let close = |a: &[f32], b: [f32; 2]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6);
        assert!(close(&angles(Scaling::None, span)[0], [1., 0.1]));
        assert!(close(&angles(Scaling::Linear(2.), span)[0], [0.5, 0.05]));
        let divisors = Scaling::Divisors(vec![1., 4.]);
        assert!(close(&angles(divisors, span)[0], [1., 0.025]));
        let long = |capacity| {
            let scaling = Scaling::Long {
                short: vec![1., 1.],
                long: vec![2., 2.],
                original: 8,
                attention: 1.,
            };
            angles(scaling, Span { capacity, ..span })
        };
        assert!(close(&long(8)[0], [1., 0.1]));
        assert!(close(&long(9)[0], [0.5, 0.05]));
    }

    #[test]
    fn llama_3_keeps_high_frequencies_and_divides_low_ones() {
        let scaled = |f| llama3(f, 8., (1., 4.), 1000.);
        assert_eq!(scaled(1.), 1.);
        assert_eq!(scaled(0.001), 0.001 / 8.);
        let between = scaled(0.0125);
        assert!(between > 0.0125 / 8. && between < 0.0125, "{between}");
    }
}

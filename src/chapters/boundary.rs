//! The boundary model: how likely a chapter begins with each of the places where one can.
//!
//! A few small heads over the frozen sentence encoder, averaged: the embedding of the sentence at a place (projected to few dimensions)
//! and its signs, then dilated convolutions over neighbouring places (as WaveNet's, van den Oord et al. 2016, but looking both ways).
//! `scripts/train_boundaries.py` trains them; `models/boundaries.md` is the card.

use anyhow::{Context, Result, ensure};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::log_softmax;
use std::collections::HashMap;
use std::path::Path;

use super::embed::Embedding;
use super::reread::Reader;
use super::signs;
use crate::transcript::Sentence;

const WEIGHTS: &[u8] = include_bytes!("../../models/boundaries.safetensors");

/// Numbers of an embedding that the model was trained on.
const EMBEDDING: usize = 384;

/// Of the convolutions, in their order.
const DILATIONS: [usize; 3] = [1, 2, 4];

/// Signs are cut at so many standard deviations.
const MOST_DEVIATIONS: f64 = 4.;

/// What projected embeddings are multiplied by: components of a vector of unit length are small beside signs.
const PROJECTED: f64 = 4.;

/// The heads of the model, and what reads the likeliest places again.
pub struct Boundaries {
    heads: Vec<Head>,
    reader: Option<Reader>,
}

impl Boundaries {
    /// The model that is part of the program, on the CPU: it takes milliseconds. Errors: weights of other shapes than signs and encoder have.
    pub fn bundled() -> Result<Self> {
        Self::from_bytes(WEIGHTS).context("models/boundaries.safetensors")
    }

    /// A model that `scripts/train_boundaries.py` wrote. Errors: as above; no such file.
    pub fn from_file(path: &Path) -> Result<Self> {
        let weights = std::fs::read(path).context("cannot read");
        let model = weights.and_then(|weights| Self::from_bytes(&weights));
        model.with_context(|| path.display().to_string())
    }

    fn from_bytes(weights: &[u8]) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(weights, &Device::Cpu)?;
        let count = tensors
            .keys()
            .filter(|name| name.ends_with(".mean"))
            .count();
        let heads = (0..count).map(|i| Head::new(&tensors, i));
        let heads = heads.collect::<Result<Vec<_>>>()?;
        ensure!(count > 0, "has no heads");
        Ok(Self {
            heads,
            reader: None,
        })
    }

    /// With what reads places again, of the same encoder.
    pub fn with_reader(self, reader: Reader) -> Self {
        Self {
            reader: Some(reader),
            ..self
        }
    }

    /// What the heads tell of the places `firsts` ([`Boundaries::scores`]), and of the likeliest of them what reading them again does.
    pub fn of_places(
        &self,
        sentences: &[Sentence],
        firsts: &[usize],
        embeddings: &[Embedding],
        signs: &[[f32; signs::COUNT]],
    ) -> Result<Vec<f32>> {
        let mut scores = self.scores(embeddings, signs)?;
        if let Some(reader) = &self.reader {
            reader.weigh(&mut scores, sentences, firsts)?;
        }
        Ok(scores)
    }

    /// For each place the logarithm of the chance that a chapter begins there rather than at another, plus that of their number: 0 where
    /// nothing tells places apart, as for the model embeddings of another encoder than all-MiniLM-L6-v2 do not: those of another size have
    /// 0 everywhere. `embeddings` are of the sentences at the places.
    pub fn scores(
        &self,
        embeddings: &[Embedding],
        signs: &[[f32; signs::COUNT]],
    ) -> Result<Vec<f32>> {
        let places = signs.len();
        if embeddings
            .iter()
            .any(|embedding| embedding.len() != EMBEDDING)
        {
            return Ok(vec![0.; places]);
        }
        let embeddings = Tensor::from_vec(embeddings.concat(), (places, ()), &Device::Cpu)?;
        let signs = Tensor::from_vec(signs.concat(), (places, signs::COUNT), &Device::Cpu)?;
        let mut sum = vec![0.; places];
        for head in &self.heads {
            let scores = head.forward(&embeddings, &signs)?; // (places)
            let scores = log_softmax(&scores, 0)?.to_vec1::<f32>()?;
            sum.iter_mut()
                .zip(scores)
                .for_each(|(sum, score)| *sum += score);
        }
        ensure!(
            sum.iter().all(|score| score.is_finite()),
            "the boundary model gives scores that are not numbers; its weights are damaged"
        );
        let uniform = (places as f32).ln();
        let mean = sum
            .iter()
            .map(|sum| sum / self.heads.len() as f32 + uniform);
        Ok(mean.collect())
    }
}

struct Linear {
    /// (in, out)
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Head {
    mean: Tensor,
    deviation: Tensor,
    project: Linear,
    enter: Linear,
    /// Weights (width, width, 3) and biases.
    convolutions: Vec<(Tensor, Tensor)>,
    leave: Linear,
}

impl Head {
    fn new(tensors: &HashMap<String, Tensor>, head: usize) -> Result<Self> {
        let get = |name: &str| -> Result<Tensor> {
            let name = format!("{head}.{name}");
            let tensor = tensors
                .get(&name)
                .with_context(|| format!("has no {name}"))?;
            Ok(tensor.to_dtype(DType::F32)?)
        };
        let linear = |name: &str| -> Result<Linear> {
            Ok(Linear {
                weight: get(&format!("{name}.weight"))?.t()?.contiguous()?,
                bias: get(&format!("{name}.bias"))?,
            })
        };
        let convolution = |i: usize| -> Result<(Tensor, Tensor)> {
            let name = format!("convolutions.{i}");
            let bias = get(&format!("{name}.bias"))?;
            let width = bias.dim(0)?;
            Ok((
                get(&format!("{name}.weight"))?,
                bias.reshape((1, width, 1))?,
            ))
        };
        let mean = get("mean")?;
        ensure!(
            mean.dims() == [signs::COUNT],
            "reads {:?} signs; there are {}",
            mean.dims(),
            signs::COUNT
        );
        Ok(Self {
            mean,
            deviation: get("deviation")?,
            project: linear("project")?,
            enter: linear("enter")?,
            convolutions: (0..DILATIONS.len())
                .map(convolution)
                .collect::<Result<_>>()?,
            leave: linear("leave")?,
        })
    }

    /// `(places, size)` and `(places, signs)` to `(places)`.
    fn forward(&self, embeddings: &Tensor, signs: &Tensor) -> candle_core::Result<Tensor> {
        let signs = signs
            .broadcast_sub(&self.mean)?
            .broadcast_div(&self.deviation)?;
        let signs = signs.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)?;
        let embeddings = (self.project.forward(embeddings)? * PROJECTED)?;
        let x = Tensor::cat(&[embeddings, signs], D::Minus1)?;
        let x = self.enter.forward(&x)?.gelu_erf()?;
        let mut x = x.t()?.unsqueeze(0)?.contiguous()?; // (1, width, places)
        for ((weight, bias), dilation) in self.convolutions.iter().zip(DILATIONS) {
            let change = x.conv1d(weight, dilation, 1, dilation, 1)?;
            x = (&x + change.broadcast_add(bias)?.gelu_erf()?)?;
        }
        self.leave
            .forward(&x.squeeze(0)?.t()?.contiguous()?)?
            .squeeze(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_torch() {
        let fixture = include_bytes!("../../tests/fixtures/boundaries.safetensors");
        let tensors = candle_core::safetensors::load_buffer(fixture, &Device::Cpu).unwrap();
        let embeddings = tensors["embeddings"].to_vec2::<f32>().unwrap();
        let signs = tensors["signs"].to_vec2::<f32>().unwrap().into_iter();
        let signs = signs.map(|row| row.try_into().unwrap()).collect::<Vec<_>>();
        let scores = Boundaries::bundled()
            .unwrap()
            .scores(&embeddings, &signs)
            .unwrap();
        let expected = tensors["scores"].to_vec1::<f32>().unwrap();
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-3, "{score} {expected}");
        }
    }

    #[test]
    fn a_file_that_is_no_boundary_model_is_an_error_that_names_it() {
        let fixture = "tests/fixtures/boundaries.safetensors";
        for (path, problem) in [
            (fixture, "has no heads"),
            ("none.safetensors", "cannot read"),
        ] {
            let error = Boundaries::from_file(Path::new(path)).err().unwrap();
            assert!(
                format!("{error:#}").starts_with(&format!("{path}: {problem}")),
                "{error:#}"
            );
        }
    }

    #[test]
    fn embeddings_of_another_encoder_tell_nothing() {
        let scores = Boundaries::bundled()
            .unwrap()
            .scores(&[vec![1.; 5]], &[[0.; signs::COUNT]]);
        assert_eq!(scores.unwrap(), [0.]);
    }

    #[test]
    fn scores_of_any_number_of_places_are_finite_and_chances() {
        let model = Boundaries::bundled().unwrap();
        for places in [1, 3, 50] {
            let embeddings = vec![vec![0.05; 384]; places];
            let scores = model
                .scores(&embeddings, &vec![[0.1; signs::COUNT]; places])
                .unwrap();
            assert_eq!(scores.len(), places);
            // A mean of logarithms is at most the logarithm of a mean, whose chances have the sum 1.
            let sum = scores.iter().map(|score| score.exp()).sum::<f32>() / places as f32;
            assert!(sum > 0.5 && sum < 1.001, "{sum}");
        }
    }
}

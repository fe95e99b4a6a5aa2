//! Linear probes: what a decoder's hidden states tell of the text it writes.
//!
//! Whether a model makes something up shows in its inner state, too, and not only in its words and their probabilities (Azaria and Mitchell 2023). What is read is the
//! mean, over the tokens of an answer, of the hidden states behind one layer; the probes (Alain and Bengio 2016) are linear in it, and come with the adapter
//! whose states they were fitted on (`scripts/fit_trust.py`, `scripts/fit_titles.py`).

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use safetensors::SafeTensors;

/// The running mean of a text's hidden states.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Behind which layer, counted from 0.
    pub layer: usize,
    sum: Vec<f32>,
    tokens: usize,
}

impl Trace {
    pub fn new(layer: usize) -> Self {
        Self {
            layer,
            sum: Vec::new(),
            tokens: 0,
        }
    }

    /// Adds the state `(hidden)` of one more token.
    pub fn add(&mut self, state: &[f32]) {
        self.sum.resize(state.len(), 0.);
        for (sum, value) in self.sum.iter_mut().zip(state) {
            *sum += value;
        }
        self.tokens += 1;
    }

    /// `(hidden)`; `None` where nothing was written.
    pub fn mean(&self) -> Option<Vec<f32>> {
        let mean = |sum: &f32| sum / self.tokens as f32;
        (self.tokens > 0).then(|| self.sum.iter().map(mean).collect())
    }
}

/// The probes of an adapter.
#[derive(Debug, Clone)]
pub struct Probes {
    /// The layer whose states they read, counted from 0.
    pub layer: usize,
    /// By name: the weights `(hidden)` of each and what is added.
    probes: HashMap<String, Vec<(Vec<f32>, f32)>>,
}

impl Probes {
    /// From a safetensors file: by name a matrix `(probes, hidden + 1)`, whose last column is added; `layer` is among its metadata. Errors: it is no
    /// such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let layer = header.metadata().as_ref().and_then(|m| m.get("layer"));
        let layer = layer.context("says of no 'layer' that its probes read")?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let mut probes = HashMap::new();
        for (name, tensor) in tensors {
            ensure!(
                tensor.rank() == 2 && tensor.dim(1)? > 1,
                "'{name}' has the shape {:?}, which is no list of probes",
                tensor.dims()
            );
            let mut rows = tensor.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            let split = |row: &mut Vec<f32>| {
                let added = row.pop().unwrap_or_default();
                (std::mem::take(row), added)
            };
            probes.insert(name, rows.iter_mut().map(split).collect());
        }
        Ok(Self {
            layer: layer.parse().context("'layer' is no number")?,
            probes,
        })
    }

    /// What the probes of a name tell of a state; nothing where there are none, or where they are for another model.
    pub fn read(&self, name: &str, state: &[f32]) -> Vec<f32> {
        let probes = self.probes.get(name).into_iter().flatten();
        let fitting = probes.filter(|(weights, _)| weights.len() == state.len());
        let value = |(weights, added): &(Vec<f32>, f32)| {
            weights.iter().zip(state).map(|(w, x)| w * x).sum::<f32>() + added
        };
        fitting.map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Tensor;

    #[test]
    fn a_trace_is_the_mean_of_what_was_added() {
        let mut trace = Trace::new(3);
        assert_eq!(trace.mean(), None);
        trace.add(&[1., 2.]);
        trace.add(&[3., -2.]);
        assert_eq!(trace.mean(), Some(vec![2., 0.]));
    }

    fn file(metadata: &[(&str, &str)]) -> Vec<u8> {
        let rows = Tensor::new(&[[1f32, 2., 0.5], [0., -1., 0.]], &Device::Cpu).unwrap();
        let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        safetensors::serialize([("report", rows)], Some(metadata.collect())).unwrap()
    }

    #[test]
    fn probes_are_read_by_their_name_from_states_of_their_size() {
        let probes = Probes::from_bytes(&file(&[("layer", "21")])).unwrap();
        assert_eq!(probes.layer, 21);
        assert_eq!(probes.read("report", &[1., 1.]), [3.5, -1.]);
        assert!(probes.read("report", &[1.]).is_empty());
        assert!(probes.read("title", &[1., 1.]).is_empty());
    }

    #[test]
    fn a_file_without_its_layer_is_refused() {
        for metadata in [&[][..], &[("layer", "last")]] {
            let error = Probes::from_bytes(&file(metadata)).err().unwrap();
            assert!(error.to_string().contains("'layer'"), "{error}");
        }
        assert!(Probes::from_bytes(b"no such file").is_err());
    }
}

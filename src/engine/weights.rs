//! Weights from a GGUF file: metadata and tensors by name, memory-mapped while they are read.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{QStorage, QTensor};
use candle_core::{Device, Tensor};
use memmap2::Mmap;

/// An open GGUF file.
pub struct Gguf {
    path: PathBuf,
    content: Content,
    map: Mmap,
}

impl Gguf {
    /// Maps the file and reads its header. Errors: not a GGUF file, or shorter than its header says.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}: cannot open"))?;
        let len = file.metadata()?.len();
        ensure!(
            len > 0,
            "{name}: the model file is empty; delete it and get it again"
        );
        // SAFETY: the map is only read, and a model file is replaced by rename, never edited in place.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{name}: cannot map"))?;
        ensure!(
            map.starts_with(b"GGUF"),
            "{name}: not a GGUF model file (it does not start with 'GGUF')"
        );
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(|e| {
            anyhow::anyhow!("{name}: the GGUF header is damaged ({e}); get the file again")
        })?;
        let gguf = Self {
            path: path.to_path_buf(),
            content,
            map,
        };
        gguf.check_length()?;
        Ok(gguf)
    }

    /// A download that was cut off has a sound header and lacks its last tensors.
    fn check_length(&self) -> Result<()> {
        for (name, info) in &self.content.tensor_infos {
            let dtype = info.ggml_dtype;
            let bytes = info.shape.elem_count() / dtype.block_size() * dtype.type_size();
            let end = self.content.tensor_data_offset + info.offset + bytes as u64;
            ensure!(
                end <= self.map.len() as u64,
                "{}: truncated: tensor '{name}' ends at byte {end}, the file at byte {}; get the file again",
                self.path.display(),
                self.map.len()
            );
        }
        Ok(())
    }

    /// The type most weights are stored in: `Q4_1`.
    pub fn quantization(&self) -> String {
        let mut sizes = HashMap::<String, usize>::new();
        for info in self.content.tensor_infos.values() {
            let name = format!("{:?}", info.ggml_dtype).to_uppercase();
            *sizes.entry(name).or_default() += info.shape.elem_count();
        }
        let largest = sizes.into_iter().max_by_key(|(_, elements)| *elements);
        largest.map_or_else(String::new, |(name, _)| match name.split_at(2) {
            // candle writes Q4_1 and Q4K; the rest of the world Q4_1 and Q4_K.
            (bits, "K") => format!("{bits}_K"),
            _ => name,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// An integer of any GGUF width.
    pub fn u64(&self, key: &str) -> Result<u64> {
        let value = self.required(key)?;
        Ok(match value {
            Value::U8(v) => u64::from(*v),
            Value::U16(v) => u64::from(*v),
            Value::U32(v) => u64::from(*v),
            Value::U64(v) => *v,
            Value::I8(v) if *v >= 0 => *v as u64,
            Value::I16(v) if *v >= 0 => *v as u64,
            Value::I32(v) if *v >= 0 => *v as u64,
            Value::I64(v) if *v >= 0 => *v as u64,
            _ => bail!("{}: '{key}' is not a count", self.path.display()),
        })
    }

    pub fn usize(&self, key: &str) -> Result<usize> {
        Ok(usize::try_from(self.u64(key)?)?)
    }

    pub fn f32(&self, key: &str) -> Result<f32> {
        self.required(key)?
            .to_f32()
            .with_context(|| format!("{}: '{key}'", self.path.display()))
    }

    pub fn string(&self, key: &str) -> Result<&str> {
        Ok(self
            .required(key)?
            .to_string()
            .with_context(|| format!("{}: '{key}'", self.path.display()))?)
    }

    pub fn array(&self, key: &str) -> Result<&[Value]> {
        Ok(self
            .required(key)?
            .to_vec()
            .with_context(|| format!("{}: '{key}'", self.path.display()))?)
    }

    fn required(&self, key: &str) -> Result<&Value> {
        self.metadata(key)
            .with_context(|| format!("{}: metadata '{key}' is missing", self.path.display()))
    }

    pub fn has(&self, tensor: &str) -> bool {
        self.content.tensor_infos.contains_key(tensor)
    }

    /// A tensor as it is stored, checked against the shape the architecture expects.
    pub fn quantized(&self, name: &str, shape: &[usize], device: &Device) -> Result<QTensor> {
        let file = self.path.display();
        let Some(info) = self.content.tensor_infos.get(name) else {
            bail!("{file}: tensor '{name}' is missing");
        };
        ensure!(
            info.shape.dims() == shape,
            "{file}: tensor '{name}' has shape {:?}, expected {shape:?}",
            info.shape.dims()
        );
        let mut reader = Cursor::new(&self.map[..]);
        self.content
            .tensor(&mut reader, name, device)
            .with_context(|| format!("{file}: tensor '{name}'"))
    }

    /// A small tensor (norms, biases) as `f32`.
    pub fn float(&self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        Ok(self.quantized(name, shape, device)?.dequantize(device)?)
    }
}

/// Undoes the row order that llama.cpp's converter gives `attn_q` and `attn_k` of the Llama family.
///
/// The converter interleaves the two halves of each head, `(heads, 2, d/2) -> (heads, d/2, 2)`, for a RoPE that
/// rotates neighbours. Rows are independent under quantisation, so moving them back is exact, and one RoPE
/// (rotating halves, as in the original checkpoints) serves every family.
pub fn rotate_halves(weight: &QTensor, heads: usize, device: &Device) -> Result<QTensor> {
    let (rows, _) = weight.shape().dims2()?;
    let data = weight.data()?;
    let row_bytes = data.len() / rows;
    let half = rows / heads / 2;
    let mut moved = Vec::with_capacity(data.len());
    for head in 0..heads {
        for side in 0..2 {
            for i in 0..half {
                let from = head * 2 * half + 2 * i + side;
                moved.extend_from_slice(&data[from * row_bytes..(from + 1) * row_bytes]);
            }
        }
    }
    let storage = QStorage::from_data(Cow::Owned(moved), device, weight.dtype())?;
    Ok(QTensor::new(storage, weight.shape().clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::GgmlDType;

    #[test]
    fn rows_go_back_to_halves() {
        let device = Device::Cpu;
        // Two heads of size 4: rows are numbered as llama.cpp stores them, (head, i, side).
        let stored = Tensor::arange(0f32, 8., &device)
            .unwrap()
            .reshape((8, 1))
            .unwrap();
        let stored = QTensor::quantize(&stored, GgmlDType::F32).unwrap();
        let rows = rotate_halves(&stored, 2, &device)
            .unwrap()
            .dequantize(&device)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert_eq!(rows, [0., 2., 1., 3., 4., 6., 5., 7.]);
    }

    #[test]
    fn files_that_are_no_model_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        for (bytes, says) in [
            (&b""[..], "empty"),
            (b"hello", "not a GGUF"),
            (b"GGUF\x03\0\0\0", "damaged"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Gguf::open(&path).err().unwrap().to_string();
            assert!(error.contains("m.gguf") && error.contains(says), "{error}");
        }
    }
}

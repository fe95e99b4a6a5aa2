//! A GGUF file: metadata and tensors by name, memory-mapped while they are read.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

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
        let content = Content::read(&mut Cursor::new(&map[..])).map_err(|error| {
            let error = error.to_string();
            match unread_type(&error) {
                Some(dtype) => anyhow!(
                    "{name}: weights stored as {dtype} cannot be read; get the model as Q4_K_M, Q8_0 or another of \
                     F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K"
                ),
                None => anyhow!("{name}: the GGUF header is damaged ({error}); get the file again"),
            }
        })?;
        let gguf = Self {
            path: path.to_path_buf(),
            content,
            map,
        };
        gguf.check_length()?;
        let parts = gguf.usize("split.count").unwrap_or(1);
        ensure!(
            parts <= 1,
            "{name}: one of {parts} parts of a model; join them with llama.cpp's llama-gguf-split --merge"
        );
        Ok(gguf)
    }

    /// A download that was cut off has a sound header and lacks its last tensors.
    fn check_length(&self) -> Result<()> {
        for name in self.names() {
            let end = self.range(name).map_or(0, |range| range.end);
            ensure!(
                end <= self.map.len(),
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

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.content.tensor_infos.keys().map(String::as_str)
    }

    pub fn shape(&self, tensor: &str) -> Option<Vec<usize>> {
        let info = self.content.tensor_infos.get(tensor);
        info.map(|info| info.shape.dims().to_vec())
    }

    /// The type and the bytes of a tensor that is there.
    pub fn bytes(&self, name: &str) -> Option<(GgmlDType, &[u8])> {
        let range = self.range(name)?;
        Some((self.content.tensor_infos[name].ggml_dtype, &self.map[range]))
    }

    fn range(&self, name: &str) -> Option<Range<usize>> {
        let info = self.content.tensor_infos.get(name)?;
        let dtype = info.ggml_dtype;
        let bytes = info.shape.elem_count() / dtype.block_size() * dtype.type_size();
        let start = (self.content.tensor_data_offset + info.offset) as usize;
        Some(start..start + bytes)
    }

    /// Lets go of the memory that a tensor's part of the map takes. It is still there: the next look reads the file again.
    pub fn release(&self, name: &str) {
        #[cfg(unix)]
        if let Some(range) = self.range(name) {
            // The page it shares with its neighbour before goes with that one.
            // SAFETY: the map is of a file and only read, so that a page let go of comes back as it was.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        let _ = name;
    }

    /// A tensor as it is stored.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor> {
        let mut reader = Cursor::new(&self.map[..]);
        Ok(self.content.tensor(&mut reader, name, device)?)
    }
}

/// The name of the type that candle's error says it does not know, as `ggml.h` numbers them.
fn unread_type(error: &str) -> Option<String> {
    const NAMES: [(u32, &str); 13] = [
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
        (40, "NVFP4"),
    ];
    let (_, number) = error.split_once("unknown dtype for tensor ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit());
    let number: u32 = number[..digits.unwrap_or(number.len())].parse().ok()?;
    let found = NAMES.iter().find(|(known, _)| *known == number);
    Some(found.map_or_else(|| format!("type {number}"), |(_, name)| (*name).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_cannot_be_read_have_names() {
        let name = |n: u32| unread_type(&format!("unknown dtype for tensor {n}\n   0: frame"));
        assert_eq!(name(23).as_deref(), Some("IQ4_XS"));
        assert_eq!(name(99).as_deref(), Some("type 99"));
        assert_eq!(unread_type("unexpected end of file"), None);
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

//! The sentence encoder a command works with, and what belongs to it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;

use super::Usage;
use crate::chapters::boundary::Boundaries;
use crate::chapters::embed::{ENCODER_FILES, MiniLm};
use crate::hub::Hub;
use crate::progress::Progress;
use crate::registry::{self, ENCODER, Kind, ModelSpec};

/// What `--encoder` names.
pub(super) enum EncoderRef {
    Known(Box<ModelSpec>),
    Folder(PathBuf),
}

impl EncoderRef {
    /// A name of the registry, or a folder.
    pub(super) fn parse(text: &str) -> Result<Self, Usage> {
        let known = || {
            let all = registry::all().into_iter();
            let encoders = all.filter(|spec| spec.kind == Kind::Encoder);
            let names = encoders.map(|spec| format!("'{}'", spec.name));
            names.collect::<Vec<_>>().join(", ")
        };
        if let Ok(spec) = registry::find(text) {
            return match spec.kind {
                Kind::Encoder => Ok(Self::Known(Box::new(spec))),
                _ => Err(Usage(format!(
                    "--encoder: '{text}' writes text; expected {} or a folder",
                    known()
                ))),
            };
        }
        let folder = Path::new(text);
        match folder.is_dir() {
            true => Ok(Self::Folder(folder.to_path_buf())),
            false => Err(Usage(format!(
                "--encoder: there is no encoder and no folder '{text}'; expected {} or a folder with {}",
                known(),
                ENCODER_FILES.join(", ")
            ))),
        }
    }

    /// As results name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Known(spec) => spec.name.clone(),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }

    /// Whether it is known to read English only.
    pub(super) fn reads_english_only(&self) -> bool {
        self.is_default()
    }

    fn is_default(&self) -> bool {
        matches!(self, Self::Known(spec) if spec.name == ENCODER)
    }

    /// Fetches and loads it.
    pub(super) fn load(&self, hub: &Hub, device: &Device, progress: Progress) -> Result<MiniLm> {
        match self {
            Self::Known(spec) => {
                let files = hub.get(&spec.wanted()?, progress)?.paths();
                MiniLm::load(&files, spec.window, device)
            }
            Self::Folder(folder) => {
                MiniLm::load_folder(folder, device).with_context(|| folder.display().to_string())
            }
        }
    }

    /// The boundary model, if this is the encoder it was trained with; `loaded` is this encoder.
    pub(super) fn boundaries(&self, loaded: &MiniLm) -> Result<Option<Boundaries>> {
        if !self.is_default() {
            return Ok(None);
        }
        let heads = Boundaries::bundled()?;
        Ok(Some(heads.with_reader(loaded.reader()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::MULTILINGUAL;

    #[test]
    fn encoders_are_names_and_folders() {
        let of = |text: &str| EncoderRef::parse(text).map_err(|error| error.0);
        assert!(of(ENCODER).is_ok_and(|found| found.reads_english_only()));
        assert!(of(MULTILINGUAL).is_ok_and(|found| !found.reads_english_only()));
        assert!(of("src").is_ok_and(|found| found.name() == "src"));
        let error = of("smollm2-135m").err().unwrap();
        assert!(error.contains("writes text"), "{error}");
        let error = of("minilm").err().unwrap();
        assert!(
            error.contains("no folder 'minilm'") && error.contains(ENCODER),
            "{error}"
        );
    }
}

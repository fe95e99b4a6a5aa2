//! Which device runs the models: what `--device` says, and what `auto` makes of this machine.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use candle_core::Device;

/// A device as it was asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The fastest device this build and this machine have.
    #[default]
    Auto,
    Cpu,
    /// An NVIDIA GPU by its ordinal.
    Cuda(usize),
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => match s.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
                _ => Err("expected auto, cpu, cuda, cuda:N or metal".into()),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

/// An opened device, with the reason it was chosen in words for the user.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    pub device: Device,
    pub name: String,
    pub reason: String,
}

/// Opens the device. `auto` never fails; a device asked for by name that is not there is an error.
pub fn open(choice: DeviceChoice) -> Result<OpenDevice> {
    let opened = |device, name: String, reason: &str| OpenDevice {
        device,
        name,
        reason: reason.into(),
    };
    match choice {
        DeviceChoice::Cpu => Ok(opened(Device::Cpu, "cpu".into(), "asked for")),
        DeviceChoice::Cuda(ordinal) => match cuda(ordinal) {
            Ok(device) => Ok(opened(device, format!("cuda:{ordinal}"), "asked for")),
            Err(why) => bail!("--device cuda:{ordinal}: {why}; use --device cpu"),
        },
        DeviceChoice::Metal => match metal() {
            Ok(device) => Ok(opened(device, "metal".into(), "asked for")),
            Err(why) => bail!("--device metal: {why}; use --device cpu"),
        },
        DeviceChoice::Auto => Ok(match (cuda(0), metal()) {
            (Ok(device), _) => opened(device, "cuda:0".into(), "an NVIDIA GPU is here"),
            (_, Ok(device)) => opened(device, "metal".into(), "an Apple GPU is here"),
            (Err(why), _) if cfg!(feature = "cuda") => opened(Device::Cpu, "cpu".into(), &why),
            (_, Err(why)) if cfg!(feature = "metal") => opened(Device::Cpu, "cpu".into(), &why),
            _ => opened(Device::Cpu, "cpu".into(), "built without CUDA and Metal"),
        }),
    }
}

fn cuda(ordinal: usize) -> Result<Device, String> {
    if !cfg!(feature = "cuda") {
        return Err("this program was built without CUDA (cargo build --features cuda)".into());
    }
    // cudarc panics where the CUDA libraries cannot be loaded: to a user that is "no GPU", not a crash.
    std::panic::catch_unwind(|| Device::new_cuda(ordinal))
        .map_err(|_| "the CUDA libraries cannot be loaded".to_string())?
        .map_err(|e| format!("no usable CUDA device ({e})"))
}

fn metal() -> Result<Device, String> {
    if !cfg!(feature = "metal") {
        return Err("this program was built without Metal (cargo build --features metal)".into());
    }
    Device::new_metal(0).map_err(|e| format!("no usable Metal device ({e})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_as_they_print() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn auto_always_opens_and_says_why() {
        let opened = open(DeviceChoice::Auto).unwrap();
        assert!(!opened.reason.is_empty());
    }
}

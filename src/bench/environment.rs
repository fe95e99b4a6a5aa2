//! What figures were measured on and with: the machine, and how this program was built.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, RefreshKind, System};

use crate::machine::Machine;

/// The machine, as far as the system tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    pub os: String,
    pub arch: String,
    /// The processor's name; empty where it has none.
    pub cpu: String,
    /// Cores that are there, and threads that this program may run at once.
    pub cores: Option<usize>,
    pub threads: usize,
    /// Instruction sets that fast kernels are written for.
    pub features: Vec<String>,
    /// What the environment variable `CHAPTERIZE_ISA` says: `avx2` leaves the wider ones unused.
    pub isa: Option<String>,
    /// Bytes.
    pub memory: u64,
}

impl Host {
    pub fn this() -> Self {
        let what = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(what);
        let cpu = system.cpus().first().map(|cpu| cpu.brand().trim().into());
        Self {
            os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
            arch: std::env::consts::ARCH.into(),
            cpu: cpu.unwrap_or_default(),
            cores: System::physical_core_count(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            isa: std::env::var("CHAPTERIZE_ISA").ok(),
            memory: Machine::this().memory,
        }
    }
}

/// How this program was built.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Build {
    pub version: String,
    pub profile: String,
    /// Of this crate: devices beside the CPU.
    pub features: Vec<String>,
    pub target: String,
    /// What the environment variable `CHAPTERIZE_COMMIT` said when it was built.
    pub commit: Option<String>,
}

impl Build {
    pub fn this() -> Self {
        let devices = [
            ("cuda", cfg!(feature = "cuda")),
            ("metal", cfg!(feature = "metal")),
        ];
        let abi = match () {
            () if cfg!(target_env = "gnu") => "-gnu",
            () if cfg!(target_env = "musl") => "-musl",
            () if cfg!(target_env = "msvc") => "-msvc",
            () => "",
        };
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            profile: match cfg!(debug_assertions) {
                true => "debug".into(),
                false => "release".into(),
            },
            features: present(&devices),
            target: format!("{arch}-{os}{abi}"),
            commit: option_env!("CHAPTERIZE_COMMIT").map(String::from),
        }
    }
}

fn present(named: &[(&str, bool)]) -> Vec<String> {
    let there = named.iter().filter(|(_, there)| *there);
    there.map(|(name, _)| (*name).into()).collect()
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    present(&[
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ])
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<String> {
    use std::arch::is_aarch64_feature_detected as is;
    present(&[
        ("neon", is!("neon")),
        ("fp16", is!("fp16")),
        ("dotprod", is!("dotprod")),
        ("bf16", is!("bf16")),
        ("i8mm", is!("i8mm")),
        ("sve", is!("sve")),
    ])
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<String> {
    Vec::new()
}

/// The most memory that this process has held so far, in bytes: the high-water mark of its resident set, mapped files
/// included, as Linux counts it. `None` elsewhere.
pub fn peak_memory() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of `/proc/PID/status` (see proc(5)), which is in units of 1024 bytes.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        let status = "Name:\tchapterize\nVmPeak:\t  900 kB\nVmHWM:\t  536320 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_mark(status), Some(536_320 * 1024));
        assert_eq!(high_water_mark("Name:\tchapterize\n"), None);
        if cfg!(target_os = "linux") {
            assert!(peak_memory().unwrap() > 1 << 20);
        }
    }

    #[test]
    fn the_machine_and_the_build_are_known() {
        let host = Host::this();
        assert!(host.threads > 0 && host.memory > 0 && !host.os.is_empty());
        let build = Build::this();
        assert_eq!(build.version, env!("CARGO_PKG_VERSION"));
        assert!(build.target.starts_with(&host.arch), "{build:?}");
    }
}

//! What this machine has: asked before a model is fetched or loaded.

use std::path::Path;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Memory and disk, as far as they can be known.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Bytes of memory this program may use at most.
    pub memory: u64,
    /// Bytes free on whatever disk is asked about; `None` asks the disk.
    pub free_disk: Option<u64>,
}

impl Machine {
    /// This one. In a container with a limit of its own, that limit is its memory.
    pub fn this() -> Self {
        let system = System::new_with_specifics(
            RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()),
        );
        let limit = system
            .cgroup_limits()
            .map(|limits| limits.total_memory)
            .filter(|limit| *limit > 0);
        Self {
            memory: system.total_memory().min(limit.unwrap_or(u64::MAX)),
            free_disk: None,
        }
    }

    /// Bytes a user may still write where `folder` is or would be; `None` where the system does not say.
    pub fn free_at(&self, folder: &Path) -> Option<u64> {
        self.free_disk.or_else(|| free_at(folder))
    }
}

#[cfg(unix)]
fn free_at(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let disk = rustix::fs::statvfs(existing).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Elsewhere a full disk shows when it is full, which is reported too.
#[cfg(not(unix))]
fn free_at(_folder: &Path) -> Option<u64> {
    None
}

/// Bytes for people, in two or three digits: `98 MB`, `1.9 GB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        1_000_000_000..10_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.0} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_a_disk() {
        let machine = Machine::this();
        assert!(machine.memory > 100_000_000);
        let folder = std::env::temp_dir();
        let absent = folder.join("chapterize/not/there");
        if cfg!(unix) {
            assert!(machine.free_at(&folder).is_some());
            assert!(machine.free_at(&absent).is_some());
        }
    }

    #[test]
    fn sizes_are_written_for_people() {
        let sizes = [612, 98_362_432, 1_915_305_312, 17_000_000_000].map(size);
        assert_eq!(sizes, ["612 B", "98 MB", "1.9 GB", "17 GB"]);
        assert_eq!(size(466_247), "467 kB");
    }
}

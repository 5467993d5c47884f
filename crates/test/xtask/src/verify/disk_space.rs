//! Records the minimum of free disk space during a run, and the step: a full disk fails unrelated tests.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde::Serialize;

const INTERVAL: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// Polls until it is dropped.
pub struct DiskSpace(Arc<Mutex<Minimum>>);

#[derive(Default)]
struct Minimum {
    step: &'static str,
    least: Option<Least>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Least {
    pub mib: u64,
    pub step: &'static str,
}

impl DiskSpace {
    /// Watches the disk of `folder`.
    pub fn watch(folder: &Path) -> Self {
        let minimum = Arc::new(Mutex::new(Minimum::default()));
        let (weak, folder) = (Arc::downgrade(&minimum), folder.to_path_buf());
        thread::spawn(move || poll(&weak, &folder));
        Self(minimum)
    }

    pub fn set_step(&self, step: &'static str) {
        lock(&self.0).step = step;
    }

    pub fn least(&self) -> Option<Least> {
        lock(&self.0).least
    }
}

fn poll(minimum: &Weak<Mutex<Minimum>>, folder: &PathBuf) {
    while let Some(minimum) = minimum.upgrade() {
        if let Ok(disk) = statvfs(folder) {
            lock(&minimum).record(disk.blocks_available() * disk.fragment_size() / MIB);
        }
        drop(minimum);
        thread::sleep(INTERVAL);
    }
}

fn lock(minimum: &Mutex<Minimum>) -> MutexGuard<'_, Minimum> {
    // invariant: nothing under this lock panics.
    minimum.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Minimum {
    fn record(&mut self, mib: u64) {
        if self.least.is_none_or(|least| mib < least.mib) {
            self.least = Some(Least { mib, step: self.step });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_space_is_kept_with_its_step() {
        let mut minimum = Minimum { step: "tidy", least: None };
        minimum.record(9_000);
        minimum.step = "image";
        for mib in [7_000, 100, 8_000] {
            minimum.record(mib);
        }
        minimum.step = "docs";
        minimum.record(100);
        assert_eq!(minimum.least, Some(Least { mib: 100, step: "image" }));
    }

    #[test]
    fn the_disk_of_a_folder_is_polled() {
        let disk_space = DiskSpace::watch(Path::new("/"));
        while disk_space.least().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
